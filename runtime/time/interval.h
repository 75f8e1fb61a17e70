/* What is pure about intervals, for their test: no clock. */
#ifndef FILCH_TIME_INTERVAL_H
#define FILCH_TIME_INTERVAL_H

#include <filch/time.h>

/* A tick that was due at @due is taken at @now, not before it: when is the next one? */
filch_time filch__interval_next(enum filch_missed missed, filch_time due, filch_time now,
                                filch_time period_ns);

#endif
