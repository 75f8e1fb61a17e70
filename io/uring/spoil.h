/* Spoiling operations, for tests (runtime/base/fault.h): the n-th one of a kind gets a result that
 * the test chose.
 *
 * A negative result: the operation is replaced by a NOP before it is submitted, and the result put
 * in place when that completes. So nothing was done to the socket, as the error says; but a close
 * is done, as the kernel does it in spite of an error, unless it was never begun (-ECANCELED). A
 * positive one: a receive or send is made shorter and really done: so every byte is accounted for.
 * Of several buffers only the first is left.
 */
#ifndef FILCH_IO_URING_SPOIL_H
#define FILCH_IO_URING_SPOIL_H

#include <stdbool.h>

#include "runtime/base/fault.h"

struct io_uring_sqe;

#ifdef FILCH_FAULTS

/* At each submission; what is to be put in place goes to *@ret_result, 0 for nothing. @is_event:
 * the read that waits for a worker's wake-up. */
void filch__spoil_begin(struct io_uring_sqe *sqe, bool is_event, int *ret_result);

static inline int filch__spoil_end(int result, int res)
{
    return result ? result : res;
}

#define FILCH__SPOILED int spoiled;
#define FILCH__SPOIL_BEGIN(sqe, op) filch__spoil_begin((sqe), false, &(op)->spoiled)
#define FILCH__SPOIL_BEGIN_EVENT(sqe, lane) filch__spoil_begin((sqe), true, &(lane)->spoiled)
#define FILCH__SPOIL_END(owner, res) filch__spoil_end((owner)->spoiled, (res))

#else
#define FILCH__SPOILED
#define FILCH__SPOIL_BEGIN(sqe, op) ((void)0)
#define FILCH__SPOIL_BEGIN_EVENT(sqe, lane) ((void)0)
#define FILCH__SPOIL_END(owner, res) (res)
#endif

#endif
