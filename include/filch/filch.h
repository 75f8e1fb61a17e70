/* filch: a work-stealing task runtime for C on Linux. This header includes all of it. */
#ifndef FILCH_FILCH_H
#define FILCH_FILCH_H

#include <filch/async.h>
#include <filch/barrier.h>
#include <filch/base.h>
#include <filch/blocking.h>
#include <filch/cancel.h>
#include <filch/chan.h>
#include <filch/combine.h>
#include <filch/cond.h>
#include <filch/delay_queue.h>
#include <filch/flight.h>
#include <filch/future.h>
#include <filch/join.h>
#include <filch/join_set.h>
#include <filch/limiter.h>
#include <filch/local.h>
#include <filch/log.h>
#include <filch/mutex.h>
#include <filch/notify.h>
#include <filch/once.h>
#include <filch/rcu.h>
#include <filch/retry.h>
#include <filch/runtime.h>
#include <filch/rwlock.h>
#include <filch/scope.h>
#include <filch/select.h>
#include <filch/semaphore.h>
#include <filch/stream.h>
#include <filch/task.h>
#include <filch/tcp.h>
#include <filch/time.h>
#include <filch/tracker.h>
#include <filch/waitgroup.h>

#endif
