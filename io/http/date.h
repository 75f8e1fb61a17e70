/* Dates as HTTP writes them: see date.c. */
#ifndef FILCH_IO_HTTP_DATE_H
#define FILCH_IO_HTTP_DATE_H

#include <stdint.h>

/* "Sun, 06 Nov 1994 08:49:37 GMT" */
#define HTTP_DATE_BYTES 29

/* Writes HTTP_DATE_BYTES and no zero. @seconds: since 1970, to the year 9999. */
void http_date_write(int64_t seconds, char *to);

/* Reads what http_date_write() writes. Return: seconds since 1970; -1: no such date. */
int64_t http_date_read(const char *text);

#endif
