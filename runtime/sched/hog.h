/* Naming the task that keeps a worker for long. Part of the watch's look (watch.c): nothing is paid
 * where tasks run and switch. */
#ifndef FILCH_SCHED_HOG_H
#define FILCH_SCHED_HOG_H

#include <stdbool.h>

#include <filch/base.h>

struct filch__worker;

/* By the watch, at each look, when watched.tick is that of now. @frozen: the worker has not
 * switched tasks since the last look, is not parked, and has not said that it would block. */
void filch__hog_look(struct filch__worker *victim, bool frozen, filch_time now);

#endif
