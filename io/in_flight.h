/* Buffers that the kernel fills while a task sleeps: no tool sees those writes by itself.
 *
 *   AddressSanitizer     the buffer is poisoned while it is in flight, so whoever touches it is
 *                        reported; and when the op has ended it must still be poisoned, else it was
 *                        freed meanwhile and the kernel wrote into somebody else's memory
 *   ThreadSanitizer      what arrived counts as written by the task that waited for it
 *   Valgrind             what arrived counts as initialised
 *
 * In other builds nothing is left of it but Valgrind's few instructions.
 */
#ifndef FILCH_IO_IN_FLIGHT_H
#define FILCH_IO_IN_FLIGHT_H

#include <stddef.h>
#include <sys/types.h>

struct msghdr;

/* One buffer, or those of a message. Before the op is committed. */
void filch__in_flight_begin(void *buf, size_t bytes);
void filch__in_flight_begin_message(const struct msghdr *message);

/* After its last completion. @moved: its result, bytes or -errno. */
void filch__in_flight_end(void *buf, size_t bytes, ssize_t moved);
void filch__in_flight_end_message(const struct msghdr *message, ssize_t moved);

/* A buffer that may be in flight goes, with its memory: nothing will be moved any more. */
void filch__in_flight_forget(void *buf, size_t bytes);

#endif
