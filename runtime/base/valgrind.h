/* Do we run under Valgrind? Its headers are optional; a request costs a few instructions elsewhere,
 * so not where it is hot. */
#ifndef FILCH_BASE_VALGRIND_H
#define FILCH_BASE_VALGRIND_H

#if defined(__has_include)
#if __has_include(<valgrind/memcheck.h>)
#include <valgrind/memcheck.h>
#endif
#endif

#ifndef RUNNING_ON_VALGRIND
#define RUNNING_ON_VALGRIND 0
#define VALGRIND_MAKE_MEM_UNDEFINED(p, bytes) 0
#define VALGRIND_STACK_REGISTER(low, high) 0
#define VALGRIND_STACK_DEREGISTER(id) ((void)(id))
#endif

#endif
