/* Dates as HTTP writes them (RFC 9110, 5.6.7), in the preferred form only: a condition with a date
 * in one of the two old forms is one that does not hold. No use is made of the C library, whose
 * functions take a lock and know locales. */
#include "io/http/date.h"

#include <stdbool.h>
#include <string.h>

#define DAY_S 86400
#define LAST_S 253402300799 /* of the year 9999 */

static const char day_names[] = "ThuFriSatSunMonTueWed"; /* from 1970-01-01 on */
static const char month_names[] = "JanFebMarAprMayJunJulAugSepOctNovDec";

/* Years are counted from March on, so that the day which some have is their last. */
static int64_t days_of(int64_t year, int month, int day)
{
    int64_t y = year - (month <= 2), era = y / 400, of_era = y - era * 400;
    int64_t of_year = (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1;

    return era * 146097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719468;
}

static void put_digits(char *to, int digits, int64_t number)
{
    while (digits--) {
        to[digits] = (char)('0' + number % 10);
        number /= 10;
    }
}

void http_date_write(int64_t seconds, char *to)
{
    int64_t days, era, of_era, year_of_era, of_year, second;
    int month_from_march, month;

    if (seconds < 0 || seconds > LAST_S)
        seconds = seconds < 0 ? 0 : LAST_S;
    days = seconds / DAY_S + 719468;
    second = seconds % DAY_S;
    era = days / 146097;
    of_era = days % 146097;
    year_of_era = (of_era - of_era / 1460 + of_era / 36524 - of_era / 146096) / 365;
    of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    month_from_march = (int)((5 * of_year + 2) / 153);
    month = month_from_march < 10 ? month_from_march + 3 : month_from_march - 9;

    memcpy(to, "Thu, 00 Jan 0000 00:00:00 GMT", HTTP_DATE_BYTES);
    memcpy(to, day_names + 3 * (seconds / DAY_S % 7), 3);
    put_digits(to + 5, 2, of_year - (153 * month_from_march + 2) / 5 + 1);
    memcpy(to + 8, month_names + (size_t)3 * (size_t)(month - 1), 3);
    put_digits(to + 12, 4, year_of_era + era * 400 + (month <= 2));
    put_digits(to + 17, 2, second / 3600);
    put_digits(to + 20, 2, second / 60 % 60);
    put_digits(to + 23, 2, second % 60);
}

static int64_t read_digits(const char *text, int digits)
{
    int64_t number = 0;

    for (int i = 0; i < digits; i++) {
        if (text[i] < '0' || text[i] > '9')
            return -1;
        number = number * 10 + (text[i] - '0');
    }
    return number;
}

int64_t http_date_read(const char *text)
{
    char back[HTTP_DATE_BYTES];
    int64_t seconds, day, year;
    int month = 0;

    if (strlen(text) != HTTP_DATE_BYTES)
        return -1;
    while (month < 12 && memcmp(month_names + (size_t)3 * (size_t)month, text + 8, 3) != 0)
        month++;
    day = read_digits(text + 5, 2);
    year = read_digits(text + 12, 4);
    if (month == 12 || day < 1 || year < 1970)
        return -1;
    seconds = days_of(year, month + 1, (int)day) * DAY_S + read_digits(text + 17, 2) * 3600 +
              read_digits(text + 20, 2) * 60 + read_digits(text + 23, 2);
    /* Whatever is wrong with it, it would be written differently. */
    http_date_write(seconds, back);
    return memcmp(back, text, HTTP_DATE_BYTES) == 0 ? seconds : -1;
}
