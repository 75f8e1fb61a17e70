/* Three tiers of checks, and the end of the line.
 *
 *   filch_assert(x)        preconditions; on unless built with -Dasserts=off
 *   filch_assert_state(x)  internal invariants; on with -Dasserts=full
 *   filch__throw("...")    fatal corruption: prints what broke and aborts
 */
#ifndef FILCH_BASE_ASSERT_H
#define FILCH_BASE_ASSERT_H

__attribute__((noreturn, cold)) void filch__throw(const char *what);
__attribute__((noreturn, cold)) void filch__assert_failed(const char *expression, const char *file,
                                                          int line);

#define FILCH__ASSERT_ON(x)                                                                        \
    (__builtin_expect(!(x), 0) ? filch__assert_failed(#x, __FILE__, __LINE__) : (void)0)

#if FILCH_ASSERTS >= 1
#define filch_assert(x) FILCH__ASSERT_ON(x)
#else
#define filch_assert(x) ((void)0)
#endif

#if FILCH_ASSERTS >= 2
#define filch_assert_state(x) FILCH__ASSERT_ON(x)
#else
#define filch_assert_state(x) ((void)0)
#endif

#endif
