/* Operations, carried out by system calls.
 *
 * An operation on a descriptor is first tried. What would wait stays in the list of the
 * descriptor's record, whose events are asked for then, edge-triggered and once for good: from then
 * on a message costs no epoll_ctl. Whoever takes an event out of an epoll carries out what waits:
 * the owner of that lane, or a worker that rescues it. So a task is woken when its operation has
 * ended, not to try again, and all that is known of io_uring's completions holds here.
 *
 *     stage       list it; ready, and nobody busy? be busy and carry out
 *     event       ready = true, edges + 1; something listed, and nobody busy? the same
 *     carry out   while ready and something is listed, each direction by one at a time:
 *                   take it out, try it without the lock
 *                   would wait?    register; no new edge since the try? ready = false, back into
 *                                  the list
 *                   got less than asked for, and no new edge? ready = false: the next one need not
 *                                  try (TCP, until the other side closes or sends urgent data; and
 *                                  only if events of this direction are told)
 *     cancel      listed? take it out, it ends; else it is being tried: a flag, seen when it would
 *                 wait
 *
 * Invariant: an op is in a list, or one thread has it, which completes it or puts it back. Who
 * completes it touches it no more: its frame may be gone.
 *
 *   [edges] An edge that comes between a try and the decision to wait has counted `edges` up under
 * the lock, so the decision sees it and tries again. One that comes between a first try and the
 * registration is reported by epoll_ctl, which looks at the descriptor's state.
 *
 * Polls wait beside the lists, all at once; their registration is renewed each time, which makes
 * the kernel look: so they work on descriptors of others too, that were closed and opened anew
 * without our knowledge. An accept and a connect renew it as well.
 *
 * What has no readiness goes to a blocking thread, and so does a file that is not in the page cache
 * and whose kind epoll refuses. Such an op ends when the call does; a cancel only prevents what has
 * not begun. When there is no thread to be had it is done in place.
 */
#include <errno.h>
#include <fcntl.h>
#include <liburing.h>
#include <netinet/in.h>
#include <poll.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include <filch/blocking.h>

#include "io/epoll/call.h"
#include "io/epoll/lane.h"

#define MORE IORING_CQE_F_MORE
#define POLL_EVENTS 0x7fffu /* without what epoll_ctl takes for orders */

_Static_assert(sizeof(struct io_uring_sqe) == sizeof((struct filch__epoll_op *)0)->entry,
               "an entry fits");

static struct io_uring_sqe *entry_of(struct filch__op *op)
{
    return (struct io_uring_sqe *)op->epoll.entry;
}

static struct filch__op *op_of(struct filch__list *link)
{
    return filch_container_of(link, struct filch__op, epoll.link);
}

static struct filch__epoll_lane *lane_of(struct filch__op *op)
{
    return filch_container_of(op->lane, struct filch__epoll_lane, base);
}

struct io_uring_sqe *filch__epoll_sqe_of(struct filch__op *op)
{
    memset(op->epoll.entry, 0, sizeof op->epoll.entry);
    return entry_of(op);
}

/* ---- the end ---- */

/* The socket is as it was, and not registered: the kernel may say more of it than its next user
 * wants to know. */
static void end_connect(struct filch__op *op)
{
    struct filch__record *record = op->epoll.record;
    int epoll_fd = -1;

    if (op->epoll.flags_before < 0)
        return;
    fcntl(record->fd, F_SETFL, op->epoll.flags_before);
    filch_spinlock_lock(&record->lock);
    if (record->registered)
        epoll_fd = record->home->epoll_fd;
    record->registered = false;
    filch_spinlock_unlock(&record->lock);
    if (epoll_fd >= 0)
        (void)filch__epoll_ctl(epoll_fd, EPOLL_CTL_DEL, record->fd, 0, NULL);
}

/* Completes an op, or with MORE, says something of it. @self: the op that the caller is about to
 * wait for, which needs no wake-up. */
static void finish(struct filch__op *op, int res, unsigned flags, const struct filch__op *self)
{
    struct filch__lane *lane = op->lane;

    if (entry_of(op)->opcode == IORING_OP_CONNECT)
        end_connect(op);
    res = FILCH__SPOIL_END(op, res);
    if (op->complete) {
        if (!(flags & MORE)) /* relaxed: who looks has joined all who complete */
            filch_fetch_sub_relaxed(&lane->standing, 1);
        op->keep(op, res, flags);
        op->complete(op, res, flags);
    } else if (op == self) {
        op->res = res;
        filch_plain_write(&op->res);
        filch_store_release(&op->done, 1); /* [op-done] */
    } else {
        filch__op_finish(op, res);
    }
}

static bool is_cancelled(struct filch__op *op)
{
    return filch_load_relaxed(&op->epoll.cancelled);
}

/* ---- on a blocking thread ---- */

static int job_main(void *arg)
{
    struct filch__op *op = arg;

    finish(op, is_cancelled(op) ? -ECANCELED : filch__call_wait(entry_of(op), &op->epoll.cancelled),
           0, NULL);
    return 0;
}

static void give_to_thread(struct filch__op *op, const struct filch__op *self)
{
    if (filch_blocking_spawn(job_main, op, NULL, NULL) < 0)
        finish(op, filch__call_wait(entry_of(op), &op->epoll.cancelled), 0, self);
}

/* ---- registration ---- */

static bool is_tcp(int fd)
{
    int protocol = 0;
    socklen_t bytes = sizeof protocol;

    return getsockopt(fd, SOL_SOCKET, SO_PROTOCOL, &protocol, &bytes) == 0 &&
           protocol == IPPROTO_TCP;
}

static int add_or_change(struct filch__record *record, int epoll_fd, bool registered,
                         uint32_t events)
{
    int how = registered ? EPOLL_CTL_MOD : EPOLL_CTL_ADD;
    int r = filch__epoll_ctl(epoll_fd, how, record->fd, events | EPOLLET, record);

    if (r == -EEXIST)
        r = filch__epoll_ctl(epoll_fd, EPOLL_CTL_MOD, record->fd, events | EPOLLET, record);
    else if (r == -ENOENT)
        r = filch__epoll_ctl(epoll_fd, EPOLL_CTL_ADD, record->fd, events | EPOLLET, record);
    return r;
}

/* What the kernel was not told after all: who wants it next has to tell it. */
static void forget(struct filch__record *record, uint32_t epoch, uint32_t events)
{
    filch_spinlock_lock(&record->lock);
    if (record->epoch == epoch)
        record->interest &= ~events;
    filch_spinlock_unlock(&record->lock);
}

/* Has the kernel tell of @events; with @renew also if it should do so already. Two may do this at
 * once: what one of them has set too low it sets again. Return: 0; -EPERM (a file: it is always
 * ready); -errno. */
static int watch(struct filch__record *record, struct filch__epoll_lane *lane, uint32_t events,
                 bool renew)
{
    bool known, first, tcp = false;
    uint32_t epoch, wanted, told = 0;
    int epoll_fd, r;

    filch_spinlock_lock(&record->lock);
    if (!record->home)
        record->home = lane;
    epoll_fd = record->home->epoll_fd;
    epoch = record->epoch;
    known = record->registered;
    first = !known;
    if (known && !renew)
        told = record->interest;
    wanted = record->interest |= events;
    filch_spinlock_unlock(&record->lock);
    while (wanted != told) {
        r = add_or_change(record, epoll_fd, known, wanted);
        if (r < 0) {
            forget(record, epoch, wanted & ~told);
            return r;
        }
        if (first)
            tcp = is_tcp(record->fd);
        first = false;
        known = true;
        told = wanted;
        filch_spinlock_lock(&record->lock);
        if (record->epoch == epoch) {
            record->registered = true;
            record->tcp |= tcp;
            wanted = record->interest;
        }
        filch_spinlock_unlock(&record->lock);
    }
    return 0;
}

static uint32_t interest_of(enum filch__direction way)
{
    return way == FILCH_IN ? EPOLLIN | EPOLLRDHUP | EPOLLPRI : EPOLLOUT;
}

/* ---- carrying out ---- */

static struct filch__op *pop_locked(struct filch__list *list)
{
    struct filch__list *link = filch__list_pop_front(list);
    struct filch__op *op = link ? op_of(link) : NULL;

    if (op)
        op->epoll.waits = false;
    return op;
}

/* A regular file always is. */
static bool is_ready(int fd, enum filch__direction way)
{
    struct pollfd poll_fd = {.fd = fd, .events = way == FILCH_IN ? POLLIN : POLLOUT};

    return poll(&poll_fd, 1, 0) > 0;
}

static int try_now(struct filch__op *op, enum filch__direction way)
{
    struct io_uring_sqe *sqe = entry_of(op);
    int r;

    if (sqe->opcode != IORING_OP_CONNECT) {
        /* Large transfers of files are not for a worker. */
        if (sqe->flags & IOSQE_ASYNC) {
            sqe->flags &= (uint8_t)~IOSQE_ASYNC;
            return -EAGAIN;
        }
        r = filch__call_try(sqe);
        return r == -EOPNOTSUPP && filch__call_is_file(sqe) && !is_ready(sqe->fd, way) ? -EAGAIN
                                                                                       : r;
    }
    r = filch__call_connect(sqe, op->epoll.begun);
    op->epoll.begun = r == -EINPROGRESS;
    return r == -EINPROGRESS ? -EAGAIN : r;
}

/* A connect that has not begun though nothing is wrong: the queue of a Unix socket is full. */
static bool needs_patience(struct filch__op *op, int r)
{
    return r == -EAGAIN && entry_of(op)->opcode == IORING_OP_CONNECT && !op->epoll.begun;
}

/* It would wait. Return: did it end? Else it is listed again; or is to be tried again, with the
 * record still ready. */
static bool wait_again(struct filch__record *record, enum filch__direction way,
                       struct filch__op *op, uint32_t edges, const struct filch__op *self)
{
    int r = watch(record, lane_of(op), interest_of(way), false);
    bool cancelled;

    if (r == -EPERM && filch__call_is_file(entry_of(op))) {
        give_to_thread(op, self);
        return true;
    }
    if (r < 0) {
        finish(op, r, 0, self);
        return true;
    }
    filch_spinlock_lock(&record->lock);
    cancelled = is_cancelled(op);
    if (!cancelled) {
        filch__list_push_front(&record->ops[way], &op->epoll.link);
        op->epoll.waits = true;
        if (record->edges == edges) /* [edges] */
            record->ready[way] = false;
    }
    filch_spinlock_unlock(&record->lock);
    if (cancelled)
        finish(op, -ECANCELED, 0, self);
    return cancelled;
}

/* A result of an op that goes on after it, or goes elsewhere. Return: it does; else it has ended.
 */
static bool goes_on(struct filch__record *record, enum filch__direction way, struct filch__op *op,
                    int res, const struct filch__op *self, unsigned *ended)
{
    struct io_uring_sqe *sqe = entry_of(op);
    bool cancelled;

    if (res == -EOPNOTSUPP && filch__call_is_file(sqe)) {
        /* It is ready, or never was anything else. */
        give_to_thread(op, self);
        ++*ended;
        return true;
    }
    if (sqe->opcode != IORING_OP_ACCEPT || !(sqe->ioprio & IORING_ACCEPT_MULTISHOT) || res < 0)
        return false;
    finish(op, res, MORE, self);
    filch_spinlock_lock(&record->lock);
    cancelled = is_cancelled(op);
    if (!cancelled) {
        filch__list_push_front(&record->ops[way], &op->epoll.link);
        op->epoll.waits = true;
    }
    filch_spinlock_unlock(&record->lock);
    if (cancelled)
        finish(op, -ECANCELED, 0, self);
    *ended += cancelled;
    return true;
}

/* Only where an event will say when it is worth while again: it may be registered for the other
 * direction alone. */
static bool is_told_locked(const struct filch__record *record, enum filch__direction way)
{
    uint32_t told = interest_of(way);

    return record->tcp && !record->ended && record->registered && (record->interest & told) == told;
}

/* The caller has made itself busy in this direction, and taken @op out. Return: ops that ended. */
static unsigned carry_out(struct filch__record *record, enum filch__direction way,
                          struct filch__op *op, uint32_t edges, const struct filch__op *self)
{
    unsigned ended = 0;

    while (op) {
        int res = is_cancelled(op) ? -ECANCELED : try_now(op, way);
        struct filch__op *done = NULL, *next;
        bool took_all = false;

        if (needs_patience(op, res)) {
            give_to_thread(op, self);
            ended++;
        } else if (res == -EAGAIN) {
            ended += wait_again(record, way, op, edges, self);
        } else if (!goes_on(record, way, op, res, self, &ended)) {
            done = op;
            took_all = res > 0 && (size_t)res < filch__call_bytes(entry_of(op));
        }
        filch_spinlock_lock(&record->lock);
        if (took_all && record->edges == edges && is_told_locked(record, way)) /* [edges] */
            record->ready[way] = false;
        edges = record->edges;
        next = record->ready[way] ? pop_locked(&record->ops[way]) : NULL;
        if (!next)
            record->busy[way] = false;
        filch_spinlock_unlock(&record->lock);
        /* Not earlier: its end may be that of the descriptor, and the number another one's. */
        if (done)
            finish(done, res, 0, self);
        ended += done != NULL;
        op = next;
    }
    return ended;
}

/* An op to be carried out by the caller, who is busy then. NULL: none, or somebody else is. */
static struct filch__op *begin_locked(struct filch__record *record, enum filch__direction way)
{
    struct filch__op *op;

    if (!record->ready[way] || record->busy[way])
        return NULL;
    op = pop_locked(&record->ops[way]);
    record->busy[way] = op != NULL;
    return op;
}

/* ---- polls ---- */

/* Looks at a descriptor for a poll that is in no list; lists it if it must wait. Return: did it
 * end? */
static bool look(struct filch__record *record, struct filch__op *op, const struct filch__op *self)
{
    struct io_uring_sqe *sqe = entry_of(op);
    struct pollfd poll_fd = {.fd = record->fd, .events = (short)sqe->poll32_events};

    for (;;) {
        bool cancelled, again;
        uint32_t edges;

        filch_spinlock_lock(&record->lock);
        edges = record->edges;
        filch_spinlock_unlock(&record->lock);
        poll_fd.revents = 0;
        if (poll(&poll_fd, 1, 0) > 0) {
            finish(op, poll_fd.revents & POLLNVAL ? -EBADF : poll_fd.revents, 0, self);
            return true;
        }
        filch_spinlock_lock(&record->lock);
        cancelled = is_cancelled(op);
        again = record->edges != edges; /* [edges] */
        if (!cancelled && !again) {
            filch__list_push_back(&record->polls, &op->epoll.link);
            op->epoll.waits = true;
        }
        filch_spinlock_unlock(&record->lock);
        if (cancelled)
            finish(op, -ECANCELED, 0, self);
        if (!again || cancelled)
            return cancelled;
    }
}

static void stage_poll(struct filch__record *record, struct filch__op *op)
{
    int r = watch(record, lane_of(op), entry_of(op)->poll32_events & POLL_EVENTS, true);

    if (r < 0 && r != -EPERM)
        finish(op, r, 0, op);
    else
        (void)look(record, op, op);
}

/* Takes out those that may be ready. */
static void move_polls_locked(struct filch__record *record, uint32_t events, struct filch__list *to)
{
    struct filch__list *next;

    for (struct filch__list *link = record->polls.next; link != &record->polls; link = next) {
        struct filch__op *op = op_of(link);

        next = link->next;
        if (events & (entry_of(op)->poll32_events | EPOLLERR | EPOLLHUP)) {
            op->epoll.waits = false;
            filch__list_remove(link);
            filch__list_push_back(to, link);
        }
    }
}

unsigned filch__epoll_event(struct filch__record *record, uint32_t events)
{
    struct filch__op *in = NULL, *out = NULL;
    struct filch__list polls, *link;
    unsigned ended = 0;
    uint32_t edges;

    filch__list_init(&polls);
    filch_spinlock_lock(&record->lock);
    edges = ++record->edges;
    if (events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR | EPOLLPRI))
        record->ended = true;
    if (events & (EPOLLIN | EPOLLRDHUP | EPOLLHUP | EPOLLERR | EPOLLPRI)) {
        record->ready[FILCH_IN] = true;
        in = begin_locked(record, FILCH_IN);
    }
    if (events & (EPOLLOUT | EPOLLHUP | EPOLLERR)) {
        record->ready[FILCH_OUT] = true;
        out = begin_locked(record, FILCH_OUT);
    }
    if (!filch__list_is_empty(&record->polls))
        move_polls_locked(record, events, &polls);
    filch_spinlock_unlock(&record->lock);
    if (in)
        ended += carry_out(record, FILCH_IN, in, edges, NULL);
    if (out)
        ended += carry_out(record, FILCH_OUT, out, edges, NULL);
    while ((link = filch__list_pop_front(&polls)))
        ended += look(record, op_of(link), NULL);
    return ended;
}

/* ---- the beginning ---- */

/* The number has become that of something else: what waits here was for what it stood for before,
 * and would take what is not its own. Moves it to @stale. */
static void renew_locked(struct filch__record *record, uint32_t epoch, struct filch__list *stale)
{
    struct filch__list *lists[] = {&record->ops[FILCH_IN], &record->ops[FILCH_OUT], &record->polls};

    for (unsigned i = 0; i < 3; i++) {
        struct filch__op *op;

        while ((op = pop_locked(lists[i])))
            filch__list_push_back(stale, &op->epoll.link);
    }
    record->epoch = epoch;
    record->home = NULL;
    record->registered = false;
    record->interest = 0;
    record->ended = record->tcp = false;
    record->ready[FILCH_IN] = record->ready[FILCH_OUT] = true;
}

/* With the lock, which it takes. */
static void look_at_epoch(struct filch__record *record, struct filch__list *stale)
{
    uint32_t epoch = filch__fd_epoch(record->fd);

    filch__list_init(stale);
    filch_spinlock_lock(&record->lock);
    if (record->epoch != epoch)
        renew_locked(record, epoch, stale);
}

static void end_stale(struct filch__list *stale)
{
    struct filch__list *link;

    while ((link = filch__list_pop_front(stale)))
        finish(op_of(link), -EBADF, 0, NULL);
}

static void stage_on(struct filch__record *record, struct filch__op *op, enum filch__direction way,
                     bool renew)
{
    struct filch__list stale;
    struct filch__op *first;
    uint32_t edges;

    look_at_epoch(record, &stale);
    if (renew) {
        record->registered = false;
        record->ready[way] = true;
    }
    filch__list_push_back(&record->ops[way], &op->epoll.link);
    op->epoll.waits = true;
    edges = record->edges;
    first = begin_locked(record, way);
    filch_spinlock_unlock(&record->lock);
    end_stale(&stale);
    if (first)
        (void)carry_out(record, way, first, edges, op);
}

/* Not in blocking mode: between an event and the accept somebody else may take the connection. It
 * stays so, for a mode that is switched to and fro is none that others can rely on. */
static void make_nonblocking(int fd)
{
    int flags = fcntl(fd, F_GETFL);

    if (flags >= 0 && !(flags & O_NONBLOCK))
        fcntl(fd, F_SETFL, flags | O_NONBLOCK);
}

static void begin_connect(struct filch__op *op)
{
    int fd = entry_of(op)->fd;

    op->epoll.flags_before = fcntl(fd, F_GETFL);
    if (op->epoll.flags_before >= 0)
        fcntl(fd, F_SETFL, op->epoll.flags_before | O_NONBLOCK);
}

/* Before the descriptor is made non-blocking: the end of a connect sets its mode, too. */
static void forget_stale(struct filch__record *record)
{
    struct filch__list stale;

    look_at_epoch(record, &stale);
    filch_spinlock_unlock(&record->lock);
    end_stale(&stale);
}

static void stage_with_record(struct filch__op *op, enum filch__call_kind kind)
{
    struct filch__record *record = op->epoll.record;

    if (kind != FILCH_CALL_IN && kind != FILCH_CALL_OUT)
        forget_stale(record);
    switch (kind) {
    case FILCH_CALL_POLL:
        stage_poll(record, op);
        break;
    case FILCH_CALL_ACCEPT:
        make_nonblocking(record->fd);
        stage_on(record, op, FILCH_IN, true);
        break;
    case FILCH_CALL_CONNECT:
        begin_connect(op);
        stage_on(record, op, FILCH_OUT, true);
        break;
    default:
        stage_on(record, op, kind == FILCH_CALL_IN ? FILCH_IN : FILCH_OUT, false);
        break;
    }
}

void filch__epoll_stage(struct filch__lane *base, struct filch__op *op)
{
    struct filch__epoll_lane *lane = filch_container_of(base, struct filch__epoll_lane, base);
    struct io_uring_sqe *sqe = entry_of(op);
    enum filch__call_kind kind;

    op->lane = base;
    op->epoll.record = NULL;
    op->epoll.waits = op->epoll.begun = false;
    op->epoll.flags_before = -1;
    filch_atomic_init(&op->epoll.cancelled, 0);
    if (op->complete)
        filch_fetch_add_relaxed(&base->standing, 1);
    filch_counter_add(&base->stats.submitted, 1);
    FILCH__SPOIL_BEGIN(sqe, op);
    kind = filch__call_kind(sqe);
    if (kind == FILCH_CALL_UNKNOWN) {
        finish(op, -ENOSYS, 0, op);
    } else if (kind == FILCH_CALL_DIRECT) {
        finish(op, filch__call_wait(sqe, &op->epoll.cancelled), 0, op);
    } else if (kind == FILCH_CALL_JOB) {
        give_to_thread(op, op);
    } else {
        op->epoll.record = filch__record_get(lane->records, sqe->fd);
        if (op->epoll.record)
            stage_with_record(op, kind);
        else
            finish(op, sqe->fd < 0 ? -EBADF : -ENOMEM, 0, op);
    }
}

void filch__epoll_op_cancel(struct filch__op *op)
{
    struct filch__record *record = op->epoll.record;
    bool waited;

    if (!record) {
        filch_store_relaxed(&op->epoll.cancelled, 1);
        return;
    }
    filch_spinlock_lock(&record->lock);
    waited = op->epoll.waits;
    op->epoll.waits = false;
    filch_store_relaxed(&op->epoll.cancelled, 1);
    if (waited)
        filch__list_remove(&op->epoll.link);
    filch_spinlock_unlock(&record->lock);
    if (waited)
        finish(op, -ECANCELED, 0, NULL);
}

void filch__epoll_end_ops(struct filch__record *record)
{
    struct filch__list stale, *link;

    filch__list_init(&stale);
    filch_spinlock_lock(&record->lock);
    renew_locked(record, record->epoch, &stale);
    filch_spinlock_unlock(&record->lock);
    while ((link = filch__list_pop_front(&stale)))
        finish(op_of(link), -ECANCELED, 0, NULL);
}
