/* Handles: what users hold instead of pointers to our objects.
 *
 * A handle is the object's address with a 16-bit generation in the upper bits, which user-space
 * addresses leave free: mmap stays below 2^47 on x86-64 and below 2^48 on aarch64, also where the
 * kernel knows larger address spaces (5-level paging, 52-bit addresses), unless a hint above asks
 * for more, which we never give. The upper byte that aarch64 ignores on access (TBI) may carry tags
 * in other people's pointers (MTE, HWASan), but not in those of mmap, and handles are never
 * followed before the upper bits are removed. Objects live in pools whose memory is never unmapped,
 * and their generation changes when they are recycled: so a stale handle is found out by one load
 * and compare, with a chance of 1 in 65,536 to miss it.
 */
#ifndef FILCH_BASE_HANDLE_H
#define FILCH_BASE_HANDLE_H

#include <stdint.h>

#define FILCH__HANDLE_SHIFT 48

static inline void *filch__handle_make(void *object, uint64_t generation)
{
    return (void *)((uintptr_t)object | (uintptr_t)(generation << FILCH__HANDLE_SHIFT));
}

static inline void *filch__handle_object(const void *handle)
{
    return (void *)((uintptr_t)handle & (((uintptr_t)1 << FILCH__HANDLE_SHIFT) - 1));
}

static inline uint64_t filch__handle_generation(const void *handle)
{
    return (uint64_t)(uintptr_t)handle >> FILCH__HANDLE_SHIFT;
}

#endif
