/* See in_flight.h. */
#include "io/in_flight.h"

#include <stdint.h>
#include <sys/socket.h>

#include "runtime/base/assert.h"
#include "runtime/task/switch.h"

#if __has_include(<valgrind/memcheck.h>)
#include <valgrind/memcheck.h>
#else
#define VALGRIND_MAKE_MEM_DEFINED(p, n) ((void)(p), (void)(n))
#endif

#ifdef FILCH__TSAN
void __tsan_write_range(void *addr, size_t bytes);
#endif

#ifdef FILCH__ASAN
void __asan_poison_memory_region(const volatile void *addr, size_t bytes);
void __asan_unpoison_memory_region(const volatile void *addr, size_t bytes);
void __asan_get_shadow_mapping(size_t *ret_shift, size_t *ret_offset);

/* What the shadow of memory says that was poisoned by hand; freed memory has another value. */
#define POISONED_BY_HAND 0xf7

/* Looks at whole granules only: the ends may be shared with neighbours. */
__attribute__((no_sanitize("address"), noinline)) static int is_still_poisoned(const void *buf,
                                                                               size_t bytes)
{
    size_t shift, offset, granule;
    uintptr_t at, end = (uintptr_t)buf + bytes;

    __asan_get_shadow_mapping(&shift, &offset);
    granule = (size_t)1 << shift;
    for (at = ((uintptr_t)buf + granule - 1) & ~(granule - 1); at + granule <= end; at += granule)
        if (*(const unsigned char *)((at >> shift) + offset) != POISONED_BY_HAND)
            return 0;
    return 1;
}
#endif

void filch__in_flight_begin(void *buf, size_t bytes)
{
#ifdef FILCH__ASAN
    __asan_poison_memory_region(buf, bytes);
#else
    (void)buf;
    (void)bytes;
#endif
}

void filch__in_flight_end(void *buf, size_t bytes, ssize_t moved)
{
#ifdef FILCH__ASAN
    if (!is_still_poisoned(buf, bytes))
        filch__throw("a buffer was freed, or used by two reads, while the kernel wrote into it");
    __asan_unpoison_memory_region(buf, bytes);
#else
    (void)bytes;
#endif
    if (moved > 0) {
#ifdef FILCH__TSAN
        __tsan_write_range(buf, (size_t)moved);
#endif
        VALGRIND_MAKE_MEM_DEFINED(buf, (size_t)moved);
    }
}

void filch__in_flight_forget(void *buf, size_t bytes)
{
#ifdef FILCH__ASAN
    __asan_unpoison_memory_region(buf, bytes);
#else
    (void)buf;
    (void)bytes;
#endif
}

void filch__in_flight_begin_message(const struct msghdr *message)
{
    for (size_t i = 0; i < message->msg_iovlen; i++)
        filch__in_flight_begin(message->msg_iov[i].iov_base, message->msg_iov[i].iov_len);
}

void filch__in_flight_end_message(const struct msghdr *message, ssize_t moved)
{
    for (size_t i = 0; i < message->msg_iovlen; i++) {
        size_t bytes = message->msg_iov[i].iov_len;
        ssize_t here = moved > 0 && (size_t)moved > bytes ? (ssize_t)bytes : moved;

        filch__in_flight_end(message->msg_iov[i].iov_base, bytes, here);
        if (moved > 0)
            moved -= here;
    }
}
