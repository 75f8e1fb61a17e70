/* What limits.c and limits_wake.c share. */
#ifndef BENCH_LIMITS_H
#define BENCH_LIMITS_H

#include <stdint.h>

uint64_t limits_now_ns(void);

/* Prints one result line. */
void limits_print(const char *metric, const char *unit, double value);

/* Ends the program: something that must work did not. */
__attribute__((noreturn)) void limits_fail(const char *what, int error);

double limits_median(double *values, unsigned n);

/* What it takes to get another core to do something. With one core they print nothing. */
void limits_of_wakes(void);

#endif
