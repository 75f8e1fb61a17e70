/* Makes the n-th call of one function of the C library, or of liburing, fail.
 *
 * The program links the static library with -Wl,--wrap for each function of FAULT_FUNCTIONS, so
 * every call that filch makes comes through here; calls inside of other libraries do not. One
 * process injects one fault.
 */
#ifndef FILCH_TESTS_FAULT_WRAP_H
#define FILCH_TESTS_FAULT_WRAP_H

#include <stdbool.h>

/* X(function). tests/meson.build makes the linker's options from the same names. */
#define FAULT_FUNCTIONS(X)                                                                         \
    X(malloc)                                                                                      \
    X(calloc)                                                                                      \
    X(realloc)                                                                                     \
    X(aligned_alloc)                                                                               \
    X(strdup)                                                                                      \
    X(strndup)                                                                                     \
    X(mmap64)                                                                                      \
    X(mprotect)                                                                                    \
    X(madvise)                                                                                     \
    X(epoll_create1)                                                                               \
    X(epoll_ctl)                                                                                   \
    X(timerfd_create)                                                                              \
    X(eventfd)                                                                                     \
    X(pthread_create)                                                                              \
    X(socket)                                                                                      \
    X(socketpair)                                                                                  \
    X(pipe2)                                                                                       \
    X(posix_spawnp)                                                                                \
    X(bind)                                                                                        \
    X(listen)                                                                                      \
    X(accept4)                                                                                     \
    X(connect)                                                                                     \
    X(send)                                                                                        \
    X(recv)                                                                                        \
    X(sendmsg)                                                                                     \
    X(recvmsg)                                                                                     \
    X(setsockopt)                                                                                  \
    X(getsockname)                                                                                 \
    X(io_uring_queue_init_params)                                                                  \
    X(io_uring_register_ring_fd)                                                                   \
    X(io_uring_enter2)

enum fault_function {
#define X(name) FAULT_##name,
    FAULT_FUNCTIONS(X)
#undef X
        FAULT_N
};

extern const char *const fault_names[FAULT_N];

/* From now on the @nth call of @function, counted from 1, gives @error (its own way), and all later
 * ones too if @always. FAULT_N: only counts. */
void fault_arm(enum fault_function function, unsigned nth, bool always, int error);

/* Is there one to come? */
bool fault_is_armed(void);

/* Calls so far. */
unsigned fault_calls(enum fault_function function);

/* Did the fault happen? */
bool fault_happened(void);

/* Allocations of the library and of the test that were not freed. */
long fault_live_allocations(void);

#endif
