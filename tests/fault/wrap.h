/* Makes the n-th call of one function of the C library, or of liburing, fail.
 *
 * The program links the static library with -Wl,--wrap for each function of FAULT_FUNCTIONS, so
 * every call that filch makes comes through here; calls inside of other libraries do not. One
 * process injects one fault.
 *
 * not_wrapped.txt has the functions that are not here, with the reasons; check_calls.py compares
 * both with what the library calls, and with what the scenarios make it call.
 */
#ifndef FILCH_TESTS_FAULT_WRAP_H
#define FILCH_TESTS_FAULT_WRAP_H

#include <stdbool.h>

/* FUNCTION(name, errors). Each is tried; 0: no more. tests/meson.build makes the linker's options
 * from these very lines. */
#define FAULT_FUNCTIONS(FUNCTION)                                                                  \
    FUNCTION(malloc, ENOMEM, 0, 0)                                                                 \
    FUNCTION(calloc, ENOMEM, 0, 0)                                                                 \
    FUNCTION(realloc, ENOMEM, 0, 0)                                                                \
    FUNCTION(aligned_alloc, ENOMEM, 0, 0)                                                          \
    FUNCTION(strdup, ENOMEM, 0, 0)                                                                 \
    FUNCTION(strndup, ENOMEM, 0, 0)                                                                \
    FUNCTION(mmap64, ENOMEM, 0, 0)                                                                 \
    FUNCTION(mprotect, ENOMEM, 0, 0)                                                               \
    FUNCTION(madvise, ENOMEM, EAGAIN, 0)                                                           \
    FUNCTION(process_madvise, EPERM, ENOSYS, EINTR)                                                \
    FUNCTION(process_vm_readv, EPERM, ENOSYS, 0)                                                   \
    FUNCTION(pthread_create, EAGAIN, 0, 0)                                                         \
    FUNCTION(pthread_atfork, ENOMEM, 0, 0)                                                         \
    FUNCTION(pthread_setname_np, ENOENT, 0, 0)                                                     \
    FUNCTION(pthread_setaffinity_np, EINVAL, 0, 0)                                                 \
    FUNCTION(sched_getaffinity, EINVAL, 0, 0)                                                      \
    FUNCTION(prctl, EINVAL, 0, 0)                                                                  \
    FUNCTION(sigaltstack, ENOMEM, 0, 0)                                                            \
    FUNCTION(epoll_create1, EMFILE, ENOBUFS, 0)                                                    \
    FUNCTION(epoll_ctl, ENOMEM, ENOSPC, 0)                                                         \
    FUNCTION(epoll_wait, EINTR, 0, 0)                                                              \
    FUNCTION(epoll_pwait2, EINTR, ENOSYS, EPERM)                                                   \
    FUNCTION(poll, EINTR, ENOMEM, 0)                                                               \
    FUNCTION(ppoll, EINTR, ENOMEM, 0)                                                              \
    FUNCTION(timerfd_create, EMFILE, ENOBUFS, 0)                                                   \
    FUNCTION(eventfd, EMFILE, ENOBUFS, 0)                                                          \
    FUNCTION(io_uring_queue_init_params, ENOMEM, EMFILE, EPERM)                                    \
    FUNCTION(io_uring_register_ring_fd, EINVAL, 0, 0)                                              \
    FUNCTION(io_uring_enter2, EINTR, EAGAIN, EBUSY)                                                \
    FUNCTION(socket, EMFILE, ENOBUFS, 0)                                                           \
    FUNCTION(socketpair, EMFILE, ENOBUFS, 0)                                                       \
    FUNCTION(bind, EADDRINUSE, 0, 0)                                                               \
    FUNCTION(listen, EADDRINUSE, 0, 0)                                                             \
    FUNCTION(accept4, EMFILE, ENOBUFS, 0)                                                          \
    FUNCTION(connect, ECONNREFUSED, EINTR, 0)                                                      \
    FUNCTION(send, ECONNRESET, EINTR, EAGAIN)                                                      \
    FUNCTION(recv, ECONNRESET, EINTR, EAGAIN)                                                      \
    FUNCTION(sendmsg, ENOMEM, EINTR, EAGAIN)                                                       \
    FUNCTION(recvmsg, ENOMEM, EINTR, EAGAIN)                                                       \
    FUNCTION(sendmmsg, ENOMEM, EINTR, EAGAIN)                                                      \
    FUNCTION(recvmmsg, ENOMEM, EINTR, EAGAIN)                                                      \
    FUNCTION(shutdown, ENOTCONN, 0, 0)                                                             \
    FUNCTION(setsockopt, ENOBUFS, 0, 0)                                                            \
    FUNCTION(getsockopt, ENOBUFS, 0, 0)                                                            \
    FUNCTION(getsockname, ENOBUFS, 0, 0)                                                           \
    FUNCTION(getpeername, ENOTCONN, 0, 0)                                                          \
    FUNCTION(getaddrinfo, ENOMEM, 0, 0)                                                            \
    FUNCTION(pipe2, EMFILE, ENOBUFS, 0)                                                            \
    FUNCTION(splice, ENOMEM, EINTR, EAGAIN)                                                        \
    FUNCTION(sendfile64, EIO, EINTR, EAGAIN)                                                       \
    FUNCTION(copy_file_range, EIO, ENOSYS, EXDEV)                                                  \
    FUNCTION(open64, EMFILE, EINTR, 0)                                                             \
    FUNCTION(openat64, EMFILE, 0, 0)                                                               \
    FUNCTION(fopen64, EMFILE, 0, 0)                                                                \
    FUNCTION(opendir, EMFILE, 0, 0)                                                                \
    FUNCTION(close, EIO, EINTR, 0)                                                                 \
    FUNCTION(read, EIO, EINTR, 0)                                                                  \
    FUNCTION(write, ENOSPC, EINTR, 0)                                                              \
    FUNCTION(preadv64v2, EAGAIN, 0, 0)                                                             \
    FUNCTION(lseek64, EOVERFLOW, 0, 0)                                                             \
    FUNCTION(getdents64, EIO, 0, 0)                                                                \
    FUNCTION(readdir64, EIO, 0, 0)                                                                 \
    FUNCTION(__getdelim, ENOMEM, 0, 0)                                                             \
    FUNCTION(fstat64, ENOMEM, 0, 0)                                                                \
    FUNCTION(lstat64, ENOMEM, 0, 0)                                                                \
    FUNCTION(statx, ENOMEM, 0, 0)                                                                  \
    FUNCTION(faccessat, ENOMEM, 0, 0)                                                              \
    FUNCTION(chmod, EIO, 0, 0)                                                                     \
    FUNCTION(fchmod, EIO, 0, 0)                                                                    \
    FUNCTION(fchownat, EIO, 0, 0)                                                                  \
    FUNCTION(utimensat, EIO, 0, 0)                                                                 \
    FUNCTION(link, EIO, 0, 0)                                                                      \
    FUNCTION(linkat, EIO, 0, 0)                                                                    \
    FUNCTION(symlink, EIO, 0, 0)                                                                   \
    FUNCTION(symlinkat, EIO, 0, 0)                                                                 \
    FUNCTION(rename, EIO, 0, 0)                                                                    \
    FUNCTION(unlink, EIO, 0, 0)                                                                    \
    FUNCTION(unlinkat, EIO, 0, 0)                                                                  \
    FUNCTION(mkdir, EIO, 0, 0)                                                                     \
    FUNCTION(mkdirat, EIO, 0, 0)                                                                   \
    FUNCTION(readlink, EIO, 0, 0)                                                                  \
    FUNCTION(realpath, ENOMEM, 0, 0)                                                               \
    FUNCTION(mkostemp64, EMFILE, 0, 0)                                                             \
    FUNCTION(fsync, EIO, EINTR, 0)                                                                 \
    FUNCTION(fdatasync, EIO, EINTR, 0)                                                             \
    FUNCTION(fallocate64, ENOSPC, EINTR, 0)                                                        \
    FUNCTION(ftruncate64, EIO, EINTR, 0)                                                           \
    FUNCTION(flock, ENOLCK, 0, 0)                                                                  \
    FUNCTION(fcntl64, EMFILE, 0, 0)                                                                \
    FUNCTION(ioctl, ENOMEM, 0, 0)                                                                  \
    FUNCTION(getxattr, EIO, 0, 0)                                                                  \
    FUNCTION(lgetxattr, EIO, 0, 0)                                                                 \
    FUNCTION(listxattr, EIO, 0, 0)                                                                 \
    FUNCTION(llistxattr, EIO, 0, 0)                                                                \
    FUNCTION(setxattr, EIO, 0, 0)                                                                  \
    FUNCTION(lsetxattr, EIO, 0, 0)                                                                 \
    FUNCTION(removexattr, EIO, 0, 0)                                                               \
    FUNCTION(lremovexattr, EIO, 0, 0)                                                              \
    FUNCTION(inotify_init1, EMFILE, 0, 0)                                                          \
    FUNCTION(inotify_add_watch, ENOSPC, 0, 0)                                                      \
    FUNCTION(posix_spawnp, EAGAIN, 0, 0)                                                           \
    FUNCTION(posix_spawn_file_actions_adddup2, ENOMEM, 0, 0)                                       \
    FUNCTION(posix_spawn_file_actions_addclosefrom_np, ENOMEM, 0, 0)                               \
    FUNCTION(posix_spawn_file_actions_addchdir_np, ENOMEM, 0, 0)                                   \
    FUNCTION(kill, EPERM, 0, 0)

/* CALL(name, errors): system calls that are made by their numbers, with syscall(2). */
#define FAULT_CALLS(CALL)                                                                          \
    CALL(futex, EINTR, EAGAIN, 0)                                                                  \
    CALL(membarrier, ENOSYS, EPERM, ENOMEM)                                                        \
    CALL(sched_getattr, EPERM, 0, 0)                                                               \
    CALL(sched_setattr, EPERM, 0, 0)                                                               \
    CALL(io_uring_register, ENOMEM, EINVAL, 0)                                                     \
    CALL(pidfd_open, EMFILE, 0, 0)                                                                 \
    CALL(waitid, ECHILD, 0, 0)                                                                     \
    CALL(pidfd_send_signal, EPERM, 0, 0)                                                           \
    CALL(preadv2, EIO, EINTR, EAGAIN)                                                              \
    CALL(pwritev2, EIO, EINTR, EAGAIN)                                                             \
    CALL(recvfrom, ECONNRESET, EINTR, EAGAIN)                                                      \
    CALL(sendto, ECONNRESET, EINTR, EAGAIN)                                                        \
    CALL(recvmsg, ENOMEM, EINTR, EAGAIN)                                                           \
    CALL(sendmsg, ENOMEM, EINTR, EAGAIN)                                                           \
    CALL(accept4, EMFILE, EINTR, ECONNABORTED)                                                     \
    CALL(connect, ECONNREFUSED, EINTR, 0)                                                          \
    CALL(openat, EMFILE, EINTR, 0)                                                                 \
    CALL(openat2, EMFILE, EAGAIN, 0)                                                               \
    CALL(statx, ENOMEM, 0, 0)                                                                      \
    CALL(renameat2, EIO, 0, 0)

enum fault_function {
#define FUNCTION(name, ...) FAULT_##name,
    FAULT_FUNCTIONS(FUNCTION)
#undef FUNCTION
#define CALL(name, ...) FAULT_CALL_##name,
        FAULT_CALLS(CALL)
#undef CALL
            FAULT_N
};

#define FAULT_ERRORS 3

struct fault_kind {
    const char *name;
    int errors[FAULT_ERRORS]; /* 0: no more */
};

extern const struct fault_kind fault_kinds[FAULT_N];

/* From now on the @nth call of @function, counted from 1, gives @error (its own way), and all later
 * ones too if @always. FAULT_N: only counts, and the fault is somebody else's. */
void fault_arm(enum fault_function function, unsigned nth, bool always, int error);

/* Is there one to come? */
bool fault_is_armed(void);

/* Calls so far. */
unsigned fault_calls(enum fault_function function);

/* The scenario has started its runtime. */
void fault_mark_start(void);

/* Calls before that. */
unsigned fault_calls_of_start(enum fault_function function);

/* Did the fault happen? */
bool fault_happened(void);

/* Allocations of the library and of the test that were not freed. */
long fault_live_allocations(void);

/* ---- for the wrappers ---- */

/* One more call. Return: is it to fail? Then errno is set. */
bool fault_fails(enum fault_function function);

#endif
