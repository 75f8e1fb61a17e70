/* filch: a work-stealing task runtime for C on Linux. This header includes all of it. */
#ifndef FILCH_FILCH_H
#define FILCH_FILCH_H

#include <filch/base.h>
#include <filch/blocking.h>
#include <filch/cancel.h>
#include <filch/chan.h>
#include <filch/future.h>
#include <filch/local.h>
#include <filch/log.h>
#include <filch/runtime.h>
#include <filch/scope.h>
#include <filch/select.h>
#include <filch/task.h>
#include <filch/tcp.h>
#include <filch/time.h>

#endif
