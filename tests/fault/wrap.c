/* See wrap.h. Each wrapper counts its calls and, when it is its turn, fails as the real function
 * does. */
#include "tests/fault/wrap.h"

#include <errno.h>
#include <liburing.h>
#include <pthread.h>
#include <spawn.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <unistd.h>

const char *const fault_names[FAULT_N] = {
#define X(name) #name,
    FAULT_FUNCTIONS(X)
#undef X
};

static _Atomic unsigned calls[FAULT_N];
static enum fault_function target = FAULT_N;
static unsigned target_call;
static bool target_always;
static int target_error;
static atomic_bool happened;
static _Atomic long live;

void fault_arm(enum fault_function function, unsigned nth, bool always, int error)
{
    target = function;
    target_call = nth;
    target_always = always;
    target_error = error;
}

bool fault_is_armed(void)
{
    return target != FAULT_N;
}

unsigned fault_calls(enum fault_function function)
{
    return calls[function];
}

bool fault_happened(void)
{
    return happened;
}

long fault_live_allocations(void)
{
    return live;
}

static bool fails(enum fault_function function)
{
    unsigned call = atomic_fetch_add(&calls[function], 1) + 1;

    if (function != target || (target_always ? call < target_call : call != target_call))
        return false;
    happened = true;
    return true;
}

static void *counted(void *memory)
{
    if (memory)
        live++;
    return memory;
}

/* WRAP(function, type, parameters, arguments, what it returns on failure) */
#define WRAP(name, type, parameters, arguments, failure)                                           \
    type __real_##name parameters;                                                                 \
    type __wrap_##name parameters;                                                                 \
    type __wrap_##name parameters                                                                  \
    {                                                                                              \
        if (fails(FAULT_##name)) {                                                                 \
            errno = target_error;                                                                  \
            return failure;                                                                        \
        }                                                                                          \
        return __real_##name arguments;                                                            \
    }

#define WRAP_ALLOC(name, parameters, arguments)                                                    \
    void *__real_##name parameters;                                                                \
    void *__wrap_##name parameters;                                                                \
    void *__wrap_##name parameters                                                                 \
    {                                                                                              \
        if (fails(FAULT_##name)) {                                                                 \
            errno = ENOMEM;                                                                        \
            return NULL;                                                                           \
        }                                                                                          \
        return counted(__real_##name arguments);                                                   \
    }

WRAP_ALLOC(malloc, (size_t bytes), (bytes))
WRAP_ALLOC(calloc, (size_t n, size_t bytes), (n, bytes))
WRAP_ALLOC(aligned_alloc, (size_t alignment, size_t bytes), (alignment, bytes))
WRAP_ALLOC(strdup, (const char *text), (text))
WRAP_ALLOC(strndup, (const char *text, size_t bytes), (text, bytes))

void *__real_realloc(void *memory, size_t bytes);
void *__wrap_realloc(void *memory, size_t bytes);
void *__wrap_realloc(void *memory, size_t bytes)
{
    void *moved;

    if (fails(FAULT_realloc)) {
        errno = ENOMEM;
        return NULL;
    }
    moved = __real_realloc(memory, bytes);
    if (moved && !memory)
        live++;
    return moved;
}

void __real_free(void *memory);
void __wrap_free(void *memory);
void __wrap_free(void *memory)
{
    if (memory)
        live--;
    __real_free(memory);
}

WRAP(mmap64, void *, (void *at, size_t bytes, int prot, int flags, int fd, off_t offset),
     (at, bytes, prot, flags, fd, offset), MAP_FAILED)
WRAP(mprotect, int, (void *at, size_t bytes, int prot), (at, bytes, prot), -1)
WRAP(madvise, int, (void *at, size_t bytes, int advice), (at, bytes, advice), -1)
WRAP(eventfd, int, (unsigned initial, int flags), (initial, flags), -1)
WRAP(epoll_create1, int, (int flags), (flags), -1)
WRAP(epoll_ctl, int, (int epoll, int what, int fd, struct epoll_event *event),
     (epoll, what, fd, event), -1)
WRAP(timerfd_create, int, (int clock, int flags), (clock, flags), -1)
WRAP(pthread_create, int,
     (pthread_t * thread, const pthread_attr_t *attr, void *(*fn)(void *), void *arg),
     (thread, attr, fn, arg), target_error)
WRAP(socket, int, (int domain, int type, int protocol), (domain, type, protocol), -1)
WRAP(socketpair, int, (int domain, int type, int protocol, int ends[2]),
     (domain, type, protocol, ends), -1)
WRAP(pipe2, int, (int ends[2], int flags), (ends, flags), -1)
WRAP(posix_spawnp, int,
     (pid_t * id, const char *program, const posix_spawn_file_actions_t *actions,
      const posix_spawnattr_t *attr, char *const argv[], char *const env[]),
     (id, program, actions, attr, argv, env), target_error)
WRAP(bind, int, (int fd, const struct sockaddr *addr, socklen_t bytes), (fd, addr, bytes), -1)
WRAP(listen, int, (int fd, int backlog), (fd, backlog), -1)
WRAP(accept4, int, (int fd, struct sockaddr *addr, socklen_t *bytes, int flags),
     (fd, addr, bytes, flags), -1)
WRAP(connect, int, (int fd, const struct sockaddr *addr, socklen_t bytes), (fd, addr, bytes), -1)
WRAP(send, ssize_t, (int fd, const void *buf, size_t bytes, int flags), (fd, buf, bytes, flags), -1)
WRAP(recv, ssize_t, (int fd, void *buf, size_t bytes, int flags), (fd, buf, bytes, flags), -1)
WRAP(sendmsg, ssize_t, (int fd, const struct msghdr *message, int flags), (fd, message, flags), -1)
WRAP(recvmsg, ssize_t, (int fd, struct msghdr *message, int flags), (fd, message, flags), -1)
WRAP(setsockopt, int, (int fd, int level, int name, const void *value, socklen_t bytes),
     (fd, level, name, value, bytes), -1)
WRAP(getsockname, int, (int fd, struct sockaddr *addr, socklen_t *bytes), (fd, addr, bytes), -1)
WRAP(io_uring_queue_init_params, int,
     (unsigned entries, struct io_uring *ring, struct io_uring_params *params),
     (entries, ring, params), -target_error)
WRAP(io_uring_register_ring_fd, int, (struct io_uring * ring), (ring), -target_error)
WRAP(io_uring_enter2, int,
     (unsigned fd, unsigned submit, unsigned wait, unsigned flags, sigset_t *arg, size_t bytes),
     (fd, submit, wait, flags, arg, bytes), -target_error)
