/* See spoil.h. */
#include "io/uring/spoil.h"

#include <errno.h>
#include <liburing.h>
#include <string.h>
#include <sys/socket.h>

static enum filch__fault point_of(const struct io_uring_sqe *sqe)
{
    switch (sqe->opcode) {
    case IORING_OP_ACCEPT:
        return FILCH_FAULT_OP_ACCEPT;
    case IORING_OP_CONNECT:
        return FILCH_FAULT_OP_CONNECT;
    case IORING_OP_RECV:
    case IORING_OP_RECVMSG:
        return FILCH_FAULT_OP_RECV;
    case IORING_OP_SEND:
    case IORING_OP_SENDMSG:
        return FILCH_FAULT_OP_SEND;
    case IORING_OP_POLL_ADD:
        return FILCH_FAULT_OP_POLL;
    default:
        return FILCH_FAULT_OP_OTHER;
    }
}

static void shorten(struct io_uring_sqe *sqe, unsigned most)
{
    if (sqe->opcode == IORING_OP_RECVMSG || sqe->opcode == IORING_OP_SENDMSG)
        ((struct msghdr *)(uintptr_t)sqe->addr)->msg_iovlen = 1;
    else if ((sqe->opcode == IORING_OP_RECV || sqe->opcode == IORING_OP_SEND) && sqe->len > most)
        sqe->len = most;
}

void filch__spoil_begin(struct io_uring_sqe *sqe, bool is_event, int *ret_result)
{
    int fault = filch__fault_at(is_event ? FILCH_FAULT_OP_EVENT : point_of(sqe));

    *ret_result = fault < 0 ? fault : 0;
    if (fault > 0) {
        shorten(sqe, (unsigned)fault);
    } else if (fault < 0 && (sqe->opcode != IORING_OP_CLOSE || fault == -ECANCELED)) {
        uint64_t user_data = sqe->user_data;

        memset(sqe, 0, sizeof *sqe);
        io_uring_prep_nop(sqe);
        sqe->user_data = user_data;
    }
}
