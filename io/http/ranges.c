/* The field Range (RFC 9110, 14): "bytes=0-99, 200-, -100".
 *
 * Ranges that overlap or touch become one, where the first of them stands, so however often a peer
 * names a byte it is sent once, and an answer is never much longer than the file. A field that is
 * wrong anywhere, or names more ranges than HTTP_RANGES_MAX, is not minded, as it may be: the peer
 * gets the whole. Those that lie behind the end are left out; if all do, it is 416. Pure: no I/O.
 */
#include "io/http/ranges.h"

#include <stdbool.h>
#include <string.h>
#include <strings.h>

/* Return: false: no number there, or one too large. */
static bool take_number(const char **at, uint64_t *ret_number)
{
    uint64_t number = 0;
    const char *begin = *at;

    for (; **at >= '0' && **at <= '9'; ++*at) {
        if (*at - begin >= 18)
            return false;
        number = number * 10 + (uint64_t)(**at - '0');
    }
    *ret_number = number;
    return *at > begin;
}

/* "0-99", "100-", "-100". Return: 206; 416: behind the end; 200: it is wrong. */
static int take_range(const char **at, uint64_t size, struct http_range *ret_range)
{
    uint64_t first = 0, last = 0;
    bool has_first = take_number(at, &first), has_last;

    if (**at != '-')
        return 200;
    ++*at;
    has_last = take_number(at, &last);
    if ((!has_first && !has_last) || (has_first && has_last && first > last))
        return 200;
    if (!has_first) {
        if (!last || !size)
            return 416;
        first = last < size ? size - last : 0;
        last = size - 1;
    } else if (first >= size) {
        return 416;
    } else if (!has_last || last >= size) {
        last = size - 1;
    }
    *ret_range = (struct http_range){first, last - first + 1};
    return 206;
}

static bool touch(struct http_range a, struct http_range b)
{
    return a.first <= b.first + b.bytes && b.first <= a.first + a.bytes;
}

static struct http_range join(struct http_range a, struct http_range b)
{
    uint64_t end_a = a.first + a.bytes, end_b = b.first + b.bytes;
    uint64_t first = a.first < b.first ? a.first : b.first;

    return (struct http_range){first, (end_a > end_b ? end_a : end_b) - first};
}

/* Puts one to the others. Those that it joins may touch more of them then. */
static void add(struct http_ranges *ranges, struct http_range range)
{
    size_t place = ranges->count;

    for (size_t i = 0; i < ranges->count;) {
        if (!touch(ranges->at[i], range)) {
            i++;
            continue;
        }
        range = join(ranges->at[i], range);
        place = i < place ? i : place;
        ranges->count--;
        memmove(&ranges->at[i], &ranges->at[i + 1], (ranges->count - i) * sizeof(ranges->at[0]));
        i = 0;
    }
    memmove(&ranges->at[place + 1], &ranges->at[place],
            (ranges->count - place) * sizeof(ranges->at[0]));
    ranges->at[place] = range;
    ranges->count++;
}

int http_ranges_parse(struct http_ranges *ranges, const char *text, uint64_t size)
{
    struct http_range range;

    ranges->count = 0;
    if (!text || strncasecmp(text, "bytes=", 6) != 0)
        return 200;
    text += 6;
    for (unsigned named = 0;; named++) {
        int status;

        text += strspn(text, " \t,"); /* elements of a list may be empty */
        if (!*text)
            return !named ? 200 : ranges->count ? 206 : 416;
        status = named < HTTP_RANGES_MAX ? take_range(&text, size, &range) : 200;
        if (status == 200)
            return 200;
        if (status == 206)
            add(ranges, range);
        text += strspn(text, " \t");
        if (*text && *text != ',')
            return 200;
    }
}
