/* Code addresses, as tools read them. */
#ifndef FILCH_BASE_PLACE_H
#define FILCH_BASE_PLACE_H

#include <stddef.h>

/* Enough for most; what does not fit is cut. */
#define FILCH__PLACE_BYTES 160

/* Where a call returns to, as addr2line wants the call itself: module and offset, or the address
 * alone. @place: NULL is written as 0. */
void filch__place_name(const void *place, char *to, size_t bytes);

#endif
