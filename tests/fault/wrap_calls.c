/* The wrappers of wrap.h that only count and fail: WRAP(), and below those that do more. */
#include "tests/fault/wrap.h"
#include "tests/runner/check.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <liburing.h>
#include <netdb.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <spawn.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/file.h>
#include <sys/inotify.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/timerfd.h>
#include <sys/uio.h>
#include <sys/xattr.h>
#include <unistd.h>

/* WRAP(function, type, parameters, arguments, what it returns on failure, when errno is set) */
#define WRAP(name, type, parameters, arguments, failure)                                           \
    type __real_##name parameters;                                                                 \
    type __wrap_##name parameters;                                                                 \
    type __wrap_##name parameters                                                                  \
    {                                                                                              \
        return fault_fails(FAULT_##name) ? failure : __real_##name arguments;                      \
    }

WRAP(mmap64, void *, (void *at, size_t bytes, int prot, int flags, int fd, off_t offset),
     (at, bytes, prot, flags, fd, offset), MAP_FAILED)
WRAP(mprotect, int, (void *at, size_t bytes, int prot), (at, bytes, prot), -1)
WRAP(madvise, int, (void *at, size_t bytes, int advice), (at, bytes, advice), -1)
WRAP(process_madvise, ssize_t,
     (int pidfd, const struct iovec *iov, size_t count, int advice, unsigned flags),
     (pidfd, iov, count, advice, flags), -1)
WRAP(process_vm_readv, ssize_t,
     (pid_t id, const struct iovec *local, unsigned long locals, const struct iovec *remote,
      unsigned long remotes, unsigned long flags),
     (id, local, locals, remote, remotes, flags), -1)
WRAP(pthread_create, int,
     (pthread_t * thread, const pthread_attr_t *attr, void *(*fn)(void *), void *arg),
     (thread, attr, fn, arg), errno)
WRAP(pthread_atfork, int, (void (*before)(void), void (*parent)(void), void (*child)(void)),
     (before, parent, child), errno)
WRAP(pthread_setname_np, int, (pthread_t thread, const char *name), (thread, name), errno)
WRAP(pthread_setaffinity_np, int, (pthread_t thread, size_t bytes, const cpu_set_t *set),
     (thread, bytes, set), errno)
WRAP(sched_getaffinity, int, (pid_t id, size_t bytes, cpu_set_t *ret_set), (id, bytes, ret_set), -1)
#if defined(__clang__) && defined(T_SANITIZED)
/* clang's sanitizers are a part of the program, and call it as each thread begins and ends: they do
 * not stand its failure. */
int __real_sigaltstack(const stack_t *stack, stack_t *ret_old);
int __wrap_sigaltstack(const stack_t *stack, stack_t *ret_old);
int __wrap_sigaltstack(const stack_t *stack, stack_t *ret_old)
{
    return __real_sigaltstack(stack, ret_old);
}
#else
WRAP(sigaltstack, int, (const stack_t *stack, stack_t *ret_old), (stack, ret_old), -1)
#endif

WRAP(eventfd, int, (unsigned initial, int flags), (initial, flags), -1)
WRAP(timerfd_create, int, (int clock, int flags), (clock, flags), -1)
WRAP(epoll_create1, int, (int flags), (flags), -1)
WRAP(epoll_ctl, int, (int epoll, int what, int fd, struct epoll_event *event),
     (epoll, what, fd, event), -1)
WRAP(epoll_wait, int, (int epoll, struct epoll_event *events, int most, int ms),
     (epoll, events, most, ms), -1)
WRAP(epoll_pwait2, int,
     (int epoll, struct epoll_event *events, int most, const struct timespec *span,
      const sigset_t *mask),
     (epoll, events, most, span, mask), -1)
WRAP(poll, int, (struct pollfd * fds, nfds_t count, int ms), (fds, count, ms), -1)
WRAP(ppoll, int,
     (struct pollfd * fds, nfds_t count, const struct timespec *span, const sigset_t *mask),
     (fds, count, span, mask), -1)
WRAP(io_uring_queue_init_params, int,
     (unsigned entries, struct io_uring *ring, struct io_uring_params *params),
     (entries, ring, params), -errno)
WRAP(io_uring_register_ring_fd, int, (struct io_uring * ring), (ring), -errno)
WRAP(io_uring_enter2, int,
     (unsigned fd, unsigned submit, unsigned wait, unsigned flags, sigset_t *arg, size_t bytes),
     (fd, submit, wait, flags, arg, bytes), -errno)

WRAP(socket, int, (int domain, int type, int protocol), (domain, type, protocol), -1)
WRAP(socketpair, int, (int domain, int type, int protocol, int ends[2]),
     (domain, type, protocol, ends), -1)
WRAP(bind, int, (int fd, const struct sockaddr *addr, socklen_t bytes), (fd, addr, bytes), -1)
WRAP(listen, int, (int fd, int backlog), (fd, backlog), -1)
WRAP(accept4, int, (int fd, struct sockaddr *addr, socklen_t *bytes, int flags),
     (fd, addr, bytes, flags), -1)
WRAP(connect, int, (int fd, const struct sockaddr *addr, socklen_t bytes), (fd, addr, bytes), -1)
WRAP(send, ssize_t, (int fd, const void *buf, size_t bytes, int flags), (fd, buf, bytes, flags), -1)
WRAP(recv, ssize_t, (int fd, void *buf, size_t bytes, int flags), (fd, buf, bytes, flags), -1)
WRAP(sendmsg, ssize_t, (int fd, const struct msghdr *message, int flags), (fd, message, flags), -1)
WRAP(recvmsg, ssize_t, (int fd, struct msghdr *message, int flags), (fd, message, flags), -1)
WRAP(sendmmsg, int, (int fd, struct mmsghdr *messages, unsigned count, int flags),
     (fd, messages, count, flags), -1)
WRAP(recvmmsg, int,
     (int fd, struct mmsghdr *messages, unsigned count, int flags, struct timespec *span),
     (fd, messages, count, flags, span), -1)
WRAP(setsockopt, int, (int fd, int level, int name, const void *value, socklen_t bytes),
     (fd, level, name, value, bytes), -1)
WRAP(getsockopt, int, (int fd, int level, int name, void *value, socklen_t *bytes),
     (fd, level, name, value, bytes), -1)
WRAP(getsockname, int, (int fd, struct sockaddr *addr, socklen_t *bytes), (fd, addr, bytes), -1)
WRAP(getpeername, int, (int fd, struct sockaddr *addr, socklen_t *bytes), (fd, addr, bytes), -1)
WRAP(getaddrinfo, int,
     (const char *host, const char *service, const struct addrinfo *hints,
      struct addrinfo **ret_list),
     (host, service, hints, ret_list), EAI_SYSTEM)

WRAP(pipe2, int, (int ends[2], int flags), (ends, flags), -1)
WRAP(splice, ssize_t,
     (int from, off_t *from_offset, int to, off_t *to_offset, size_t bytes, unsigned flags),
     (from, from_offset, to, to_offset, bytes, flags), -1)
WRAP(sendfile64, ssize_t, (int to, int from, off_t *offset, size_t bytes),
     (to, from, offset, bytes), -1)
WRAP(copy_file_range, ssize_t,
     (int from, off_t *from_offset, int to, off_t *to_offset, size_t bytes, unsigned flags),
     (from, from_offset, to, to_offset, bytes, flags), -1)
WRAP(read, ssize_t, (int fd, void *buf, size_t bytes), (fd, buf, bytes), -1)
WRAP(preadv64v2, ssize_t, (int fd, const struct iovec *iov, int count, off_t offset, int flags),
     (fd, iov, count, offset, flags), -1)
WRAP(lseek64, off_t, (int fd, off_t offset, int whence), (fd, offset, whence), -1)
WRAP(fopen64, FILE *, (const char *path, const char *mode), (path, mode), NULL)
WRAP(opendir, DIR *, (const char *path), (path), NULL)
WRAP(readdir64, struct dirent *, (DIR * dir), (dir), NULL)
WRAP(getdents64, ssize_t, (int fd, void *entries, size_t bytes), (fd, entries, bytes), -1)
WRAP(fstat64, int, (int fd, struct stat *ret_stat), (fd, ret_stat), -1)
WRAP(lstat64, int, (const char *path, struct stat *ret_stat), (path, ret_stat), -1)
WRAP(statx, int, (int fd, const char *path, int flags, unsigned mask, struct statx *ret_stat),
     (fd, path, flags, mask, ret_stat), -1)
WRAP(faccessat, int, (int fd, const char *path, int mode, int flags), (fd, path, mode, flags), -1)
WRAP(chmod, int, (const char *path, mode_t mode), (path, mode), -1)
WRAP(fchmod, int, (int fd, mode_t mode), (fd, mode), -1)
WRAP(fchownat, int, (int fd, const char *path, uid_t uid, gid_t gid, int flags),
     (fd, path, uid, gid, flags), -1)
WRAP(utimensat, int, (int fd, const char *path, const struct timespec *times, int flags),
     (fd, path, times, flags), -1)
WRAP(link, int, (const char *from, const char *to), (from, to), -1)
WRAP(linkat, int, (int from_fd, const char *from, int to_fd, const char *to, int flags),
     (from_fd, from, to_fd, to, flags), -1)
WRAP(symlinkat, int, (const char *target, int fd, const char *path), (target, fd, path), -1)
WRAP(mkdirat, int, (int fd, const char *path, mode_t mode), (fd, path, mode), -1)
WRAP(symlink, int, (const char *target, const char *path), (target, path), -1)
WRAP(rename, int, (const char *from, const char *to), (from, to), -1)
WRAP(unlink, int, (const char *path), (path), -1)
WRAP(unlinkat, int, (int fd, const char *path, int flags), (fd, path, flags), -1)
WRAP(mkdir, int, (const char *path, mode_t mode), (path, mode), -1)
WRAP(readlink, ssize_t, (const char *path, char *text, size_t bytes), (path, text, bytes), -1)
WRAP(mkostemp64, int, (char *path, int flags), (path, flags), -1)
WRAP(fsync, int, (int fd), (fd), -1)
WRAP(fdatasync, int, (int fd), (fd), -1)
WRAP(fallocate64, int, (int fd, int mode, off_t offset, off_t bytes), (fd, mode, offset, bytes), -1)
WRAP(ftruncate64, int, (int fd, off_t bytes), (fd, bytes), -1)
WRAP(flock, int, (int fd, int how), (fd, how), -1)
WRAP(getxattr, ssize_t, (const char *path, const char *name, void *value, size_t bytes),
     (path, name, value, bytes), -1)
WRAP(lgetxattr, ssize_t, (const char *path, const char *name, void *value, size_t bytes),
     (path, name, value, bytes), -1)
WRAP(listxattr, ssize_t, (const char *path, char *names, size_t bytes), (path, names, bytes), -1)
WRAP(llistxattr, ssize_t, (const char *path, char *names, size_t bytes), (path, names, bytes), -1)
WRAP(setxattr, int,
     (const char *path, const char *name, const void *value, size_t bytes, int flags),
     (path, name, value, bytes, flags), -1)
WRAP(lsetxattr, int,
     (const char *path, const char *name, const void *value, size_t bytes, int flags),
     (path, name, value, bytes, flags), -1)
WRAP(removexattr, int, (const char *path, const char *name), (path, name), -1)
WRAP(lremovexattr, int, (const char *path, const char *name), (path, name), -1)
WRAP(inotify_init1, int, (int flags), (flags), -1)
WRAP(inotify_add_watch, int, (int fd, const char *path, uint32_t mask), (fd, path, mask), -1)

WRAP(posix_spawnp, int,
     (pid_t * id, const char *program, const posix_spawn_file_actions_t *actions,
      const posix_spawnattr_t *attr, char *const argv[], char *const env[]),
     (id, program, actions, attr, argv, env), errno)
WRAP(posix_spawn_file_actions_adddup2, int,
     (posix_spawn_file_actions_t * actions, int from, int to), (actions, from, to), errno)
WRAP(posix_spawn_file_actions_addclosefrom_np, int,
     (posix_spawn_file_actions_t * actions, int from), (actions, from), errno)
WRAP(posix_spawn_file_actions_addchdir_np, int,
     (posix_spawn_file_actions_t * actions, const char *path), (actions, path), errno)
WRAP(kill, int, (pid_t id, int signal), (id, signal), -1)

/* ---- with something else ---- */

/* Done all the same: a descriptor is closed, and who waits for a socket is woken. */
#define WRAP_DONE(name, parameters, arguments)                                                     \
    int __real_##name parameters;                                                                  \
    int __wrap_##name parameters;                                                                  \
    int __wrap_##name parameters                                                                   \
    {                                                                                              \
        bool fails = fault_fails(FAULT_##name);                                                    \
        int error = errno, r = __real_##name arguments;                                            \
                                                                                                   \
        if (!fails)                                                                                \
            return r;                                                                              \
        errno = error;                                                                             \
        return -1;                                                                                 \
    }

WRAP_DONE(close, (int fd), (fd))
WRAP_DONE(shutdown, (int fd, int how), (fd, how))

/* An eventfd takes its eight bytes always: nobody writes so much to one that it would be full. */
ssize_t __real_write(int fd, const void *buf, size_t bytes);
ssize_t __wrap_write(int fd, const void *buf, size_t bytes);
ssize_t __wrap_write(int fd, const void *buf, size_t bytes)
{
    return bytes != sizeof(uint64_t) && fault_fails(FAULT_write) ? -1
                                                                 : __real_write(fd, buf, bytes);
}

/* ---- with a variable argument, of which nobody passes two ---- */

int __real_open64(const char *path, int flags, ...);
int __wrap_open64(const char *path, int flags, ...);
int __wrap_open64(const char *path, int flags, ...)
{
    va_list args;
    unsigned mode;

    va_start(args, flags);
    mode = va_arg(args, unsigned);
    va_end(args);
    return fault_fails(FAULT_open64) ? -1 : __real_open64(path, flags, mode);
}

int __real_openat64(int fd, const char *path, int flags, ...);
int __wrap_openat64(int fd, const char *path, int flags, ...);
int __wrap_openat64(int fd, const char *path, int flags, ...)
{
    va_list args;
    unsigned mode;

    va_start(args, flags);
    mode = va_arg(args, unsigned);
    va_end(args);
    return fault_fails(FAULT_openat64) ? -1 : __real_openat64(fd, path, flags, mode);
}

/* Flags of a descriptor of ours can always be had and set. */
int __real_fcntl64(int fd, int command, ...);
int __wrap_fcntl64(int fd, int command, ...);
int __wrap_fcntl64(int fd, int command, ...)
{
    bool can_fail =
        command != F_GETFL && command != F_SETFL && command != F_GETFD && command != F_SETFD;
    va_list args;
    long argument;

    va_start(args, command);
    argument = va_arg(args, long);
    va_end(args);
    return can_fail && fault_fails(FAULT_fcntl64) ? -1 : __real_fcntl64(fd, command, argument);
}

int __real_ioctl(int fd, unsigned long request, ...);
int __wrap_ioctl(int fd, unsigned long request, ...);
int __wrap_ioctl(int fd, unsigned long request, ...)
{
    va_list args;
    long argument;

    va_start(args, request);
    argument = va_arg(args, long);
    va_end(args);
    return fault_fails(FAULT_ioctl) ? -1 : __real_ioctl(fd, request, argument);
}

int __real_prctl(int what, unsigned long a, unsigned long b, unsigned long c, unsigned long d);
int __wrap_prctl(int what, unsigned long a, unsigned long b, unsigned long c, unsigned long d);
int __wrap_prctl(int what, unsigned long a, unsigned long b, unsigned long c, unsigned long d)
{
    return fault_fails(FAULT_prctl) ? -1 : __real_prctl(what, a, b, c, d);
}
