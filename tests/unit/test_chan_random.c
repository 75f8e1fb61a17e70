/* Description: channels under random operations. Alone, against a model that is a plain array:
 * each result, each message. Together, many tasks and plain threads with all operations at once,
 * cancelled, out of time, and closed in the middle: each message that was sent is received once or
 * dropped once, no place is lost, and nobody waits for ever. FILCH_TEST_CHAN_OPS sets how many
 * operations; the seed is printed, and FILCH_TEST_SEED sets it. */
#include <errno.h>
#include <pthread.h>

#include <criterion/criterion.h>

#include "tests/runner/run.h"

TestSuite(chan_random, .timeout = 600);

/* Of 8 bytes, which channels move more quickly than others. */
typedef uint64_t message;

static unsigned number_from(const char *name, unsigned otherwise)
{
    const char *text = getenv(name);

    return text ? (unsigned)strtoul(text, NULL, 10) : otherwise;
}

static unsigned operations(void)
{
#ifdef T_SANITIZED
    return number_from("FILCH_TEST_CHAN_OPS", 30000);
#else
    return number_from("FILCH_TEST_CHAN_OPS", 1000000);
#endif
}

static uint32_t seed(void)
{
    uint32_t number = number_from("FILCH_TEST_SEED", (unsigned)filch_now());

    fprintf(stderr, "FILCH_TEST_SEED=%u\n", number);
    return number;
}

static uint32_t next_random(uint32_t *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 17;
    *state ^= *state << 5;
    return *state;
}

static unsigned choose(uint32_t *state, unsigned of)
{
    return (unsigned)(((uint64_t)next_random(state) * of) >> 32);
}

/* ---- alone ---- */

enum { PERMITS = 3, FUTURES = 2, BATCH = 80, QUEUE = 4096 };

struct model {
    uint32_t random;
    filch_chan *chan;
    size_t capacity;
    enum filch_chan_overflow overflow;
    bool closed, deserted;
    message next; /* to be sent */
    /* What there should be. */
    message queue[QUEUE]; /* a ring */
    size_t first, count;
    message dropped[QUEUE]; /* those that are to be dropped next */
    size_t dropped_first, dropped_count;
    uint64_t dropped_in_all;
    size_t sender_ends, receiver_ends;
    filch_chan_permit permit[PERMITS];
    size_t held;
};

static void expects_drop(void *context, const void *msg)
{
    struct model *model = context;

    T_CHECK(model->dropped_count > 0);
    T_IS(*(const message *)msg, model->dropped[model->dropped_first++ % QUEUE]);
    model->dropped_count--;
}

static void will_drop(struct model *model, message msg)
{
    T_CHECK(model->dropped_count < QUEUE);
    model->dropped[(model->dropped_first + model->dropped_count++) % QUEUE] = msg;
}

static message model_pop(struct model *model)
{
    T_CHECK(model->count-- > 0);
    return model->queue[model->first++ % QUEUE];
}

static void model_push(struct model *model, message msg)
{
    T_CHECK(model->count < QUEUE);
    model->queue[(model->first + model->count++) % QUEUE] = msg;
}

/* What a send without waiting is to return. */
static int model_send(struct model *model, message msg)
{
    if (model->closed)
        return -EPIPE;
    if (model->count + model->held < model->capacity) {
        model_push(model, msg);
        return 0;
    }
    switch (model->overflow) {
    case FILCH_CHAN_WAIT:
        return -ETIMEDOUT;
    case FILCH_CHAN_FAIL:
        return -ENOBUFS;
    case FILCH_CHAN_DROP_OLDEST:
        model->dropped_in_all++;
        if (model->count == 0) {
            will_drop(model, msg);
            return 1;
        }
        will_drop(model, model_pop(model));
        model_push(model, msg);
        return 1;
    case FILCH_CHAN_DROP_NEWEST:
        break;
    }
    model->dropped_in_all++;
    will_drop(model, msg);
    return 1;
}

/* What an empty channel says. */
static int model_empty(const struct model *model)
{
    return model->closed && (model->held == 0 || model->deserted) ? -EPIPE : -ETIMEDOUT;
}

static void do_send(struct model *model)
{
    message msg = model->next++;
    int want = model_send(model, msg);

    if (choose(&model->random, 4)) {
        T_IS(filch_chan_send(model->chan, &msg, FILCH_NOW), want);
    } else {
        filch_case c = filch_case_send(model->chan, &msg);
        int winner = filch_select(&c, 1, 0, FILCH_NOW);

        T_IS(winner, want == -ETIMEDOUT ? -ETIMEDOUT : 0);
        if (winner == 0)
            T_IS(c.result, want);
    }
}

static void do_send_many(struct model *model)
{
    message msgs[BATCH];
    size_t n = choose(&model->random, BATCH), sent, want_sent = 0;
    int want = 0;

    for (size_t i = 0; i < n; i++)
        msgs[i] = model->next++;
    while (want_sent < n && (want = model_send(model, msgs[want_sent])) >= 0)
        want_sent++;
    T_IS(filch_chan_send_many(model->chan, msgs, n, &sent, FILCH_NOW), want < 0 ? want : 0);
    T_IS(sent, want_sent);
}

static void do_recv(struct model *model)
{
    message msg = 0;
    int r;

    if (choose(&model->random, 4)) {
        r = filch_chan_recv(model->chan, &msg, FILCH_NOW);
    } else {
        filch_case c = filch_case_recv(model->chan, &msg);

        r = filch_select(&c, 1, 0, FILCH_NOW);
        r = r < 0 ? r : c.result;
    }
    T_IS(r, model->count ? 0 : model_empty(model));
    if (r == 0)
        T_IS(msg, model_pop(model));
}

static void do_recv_many(struct model *model)
{
    message msgs[BATCH];
    size_t max = 1 + choose(&model->random, BATCH - 1);
    size_t want = model->count < max ? model->count : max;

    T_IS(filch_chan_recv_many(model->chan, msgs, max, FILCH_NOW),
         want ? (int)want : model_empty(model));
    for (size_t i = 0; i < want; i++)
        T_IS(msgs[i], model_pop(model));
}

static void do_reserve(struct model *model)
{
    filch_chan_permit *permit = &model->permit[choose(&model->random, PERMITS)];
    size_t n = 1 + choose(&model->random, choose(&model->random, 4) ? 3 : 100);
    int want = 0;

    if (permit->n)
        return;
    if (n > model->capacity)
        want = -EINVAL;
    else if (model->closed)
        want = -EPIPE;
    else if (model->count + model->held + n > model->capacity)
        want = -ETIMEDOUT;
    T_IS(filch_chan_reserve_many(model->chan, n, permit, FILCH_NOW), want);
    if (want == 0)
        model->held += n;
}

static void do_permit_send(struct model *model)
{
    filch_chan_permit *permit = &model->permit[choose(&model->random, PERMITS)];
    message msg = model->next++;

    if (!permit->n) {
        T_IS(filch_chan_permit_send(permit, &msg), -EINVAL);
    } else if (model->deserted) {
        T_IS(filch_chan_permit_send(permit, &msg), -EPIPE);
    } else {
        T_OK(filch_chan_permit_send(permit, &msg));
        model_push(model, msg);
        model->held--;
    }
}

static void do_release(struct model *model)
{
    filch_chan_permit *permit = &model->permit[choose(&model->random, PERMITS)];

    model->held -= permit->n;
    filch_chan_permit_release(permit);
    T_IS(permit->n, 0);
}

static void do_sender_end(struct model *model)
{
    if (choose(&model->random, 2)) {
        T_CHECK((filch_chan_sender_ref(model->chan) != NULL) == !model->closed);
        model->sender_ends += !model->closed;
    } else if (model->sender_ends > 1 || (model->sender_ends && !choose(&model->random, 50))) {
        filch_chan_sender_unref(model->chan);
        if (--model->sender_ends == 0)
            model->closed = true;
    }
}

static void do_receiver_end(struct model *model)
{
    if (choose(&model->random, 2)) {
        T_CHECK((filch_chan_receiver_ref(model->chan) != NULL) == !model->deserted);
        model->receiver_ends += !model->deserted;
    } else if (model->receiver_ends > 1 || (model->receiver_ends && !choose(&model->random, 50))) {
        if (--model->receiver_ends == 0) {
            model->closed = model->deserted = true;
            while (model->count)
                will_drop(model, model_pop(model));
        }
        filch_chan_receiver_unref(model->chan);
    }
}

static void do_something(struct model *model)
{
    switch (choose(&model->random, 16)) {
    case 0 ... 3:
        do_send(model);
        break;
    case 4:
        do_send_many(model);
        break;
    case 5 ... 8:
        do_recv(model);
        break;
    case 9:
        do_recv_many(model);
        break;
    case 10:
        do_reserve(model);
        break;
    case 11 ... 12:
        do_permit_send(model);
        break;
    case 13:
        do_release(model);
        break;
    case 14:
        if (!choose(&model->random, 8))
            do_sender_end(model);
        break;
    case 15:
        if (!choose(&model->random, 8))
            do_receiver_end(model);
        break;
    }
    T_IS(filch_chan_len(model->chan), model->count);
    T_IS(filch_chan_is_closed(model->chan), model->closed);
    T_IS(filch_chan_closed(model->chan, FILCH_NOW), model->closed ? 0 : -ETIMEDOUT);
    T_IS(filch_chan_dropped(model->chan), model->dropped_in_all);
    T_IS(model->dropped_count, 0); /* what should have been dropped was */
}

/* One channel, from its making to its end. */
static void live(struct model *model, unsigned steps)
{
    static const size_t capacities[] = {1, 2, 3, 64, 100, FILCH_CHAN_UNBOUNDED};
    filch_chan_opts opts = {.drop = expects_drop, .drop_context = model};

    T_IS(model->held + model->sender_ends + model->receiver_ends, 0); /* as it was left */
    model->closed = model->deserted = false;
    model->count = 0;
    model->dropped_in_all = 0;
    model->overflow = FILCH_CHAN_WAIT;
    model->capacity = capacities[choose(&model->random, 6)];
    if (model->capacity != FILCH_CHAN_UNBOUNDED)
        opts.overflow = model->overflow = (enum filch_chan_overflow)choose(&model->random, 4);
    T_OK(filch_chan_new_opts(sizeof(message), model->capacity, &opts, &model->chan));
    for (unsigned i = 0; i < steps && model->count < QUEUE - BATCH; i++)
        do_something(model);
    if (choose(&model->random, 2)) {
        T_OK(filch_chan_close(model->chan));
        model->closed = true;
        while (model->count)
            do_recv(model);
        do_recv(model);
    }
    for (int i = 0; i < PERMITS; i++) {
        model->held -= model->permit[i].n;
        filch_chan_permit_release(&model->permit[i]);
    }
    for (; model->sender_ends; model->sender_ends--)
        filch_chan_sender_unref(model->chan);
    for (; model->receiver_ends; model->receiver_ends--) {
        if (model->receiver_ends == 1)
            while (model->count)
                will_drop(model, model_pop(model));
        filch_chan_receiver_unref(model->chan);
    }
    while (model->count)
        will_drop(model, model_pop(model));
    filch_chan_unref(model->chan);
    T_IS(model->dropped_count, 0);
}

static int alone(void *arg)
{
    static struct model model;
    unsigned left = operations();

    (void)arg;
    model.random = seed() | 1;
    while (left) {
        unsigned steps = 1 + choose(&model.random, choose(&model.random, 8) ? 200 : 5000);

        if (steps > left)
            steps = left;
        live(&model, steps);
        left -= steps;
    }
    return 0;
}

Test(chan_random, as_a_plain_array_in_a_thread)
{
    T_OK(alone(NULL));
}

Test(chan_random, as_a_plain_array_in_a_task)
{
    T_OK(run_in_runtime(0, alone, NULL));
}

/* ---- together ---- */

enum { TASKS = 8, THREADS = 2, MANY = 12 };

struct crowd {
    uint32_t seed;
    filch_chan *chan;
    unsigned operations;
    size_t most;      /* places that may be reserved at once */
    bool counts_ends; /* players have ends, and come and go */
    atomic_uint done, next_message, next_player;
    atomic_uchar *sent, *received; /* by message; dropped ones are received, too */
    _Atomic(filch_task *) player[TASKS];
    atomic_bool over;
};

struct player {
    struct crowd *crowd;
    uint32_t random;
    filch_chan_permit permit;
};

static void take(void *context, const void *msg)
{
    struct crowd *crowd = context;

    T_IS(atomic_fetch_add(&crowd->received[*(const message *)msg], 1), 0);
}

static filch_time some_time(struct player *player)
{
    switch (choose(&player->random, 4)) {
    case 0:
        return FILCH_NOW;
    case 1:
        return filch_after(choose(&player->random, 50) * FILCH_MICROSECOND);
    default:
        return filch_after(FILCH_MILLISECOND);
    }
}

static unsigned new_messages(struct player *player, message *msgs, unsigned n)
{
    unsigned first = atomic_fetch_add(&player->crowd->next_message, n);

    for (unsigned i = 0; i < n; i++)
        msgs[i] = first + i;
    return first;
}

static void were_sent(struct player *player, const message *msgs, size_t n)
{
    for (size_t i = 0; i < n; i++)
        T_IS(atomic_fetch_add(&player->crowd->sent[msgs[i]], 1), 0);
}

static void check_result(int r)
{
    T_CHECK(r >= 0 || r == -ETIMEDOUT || r == -ECANCELED || r == -EPIPE || r == -ENOBUFS);
}

static void sends(struct player *player)
{
    message msg;
    int r;

    new_messages(player, &msg, 1);
    r = filch_chan_send(player->crowd->chan, &msg, some_time(player));
    check_result(r);
    if (r >= 0)
        were_sent(player, &msg, 1);
}

static void sends_many(struct player *player)
{
    message msgs[MANY], n = choose(&player->random, MANY);
    size_t sent;

    new_messages(player, msgs, n);
    check_result(filch_chan_send_many(player->crowd->chan, msgs, n, &sent, some_time(player)));
    were_sent(player, msgs, sent);
}

static void receives(struct player *player)
{
    message msg;
    int r = filch_chan_recv(player->crowd->chan, &msg, some_time(player));

    check_result(r);
    if (r == 0)
        take(player->crowd, &msg);
}

static void receives_many(struct player *player)
{
    message msgs[MANY];
    ssize_t n = filch_chan_recv_many(player->crowd->chan, msgs, 1 + choose(&player->random, MANY),
                                     some_time(player));

    check_result((int)n);
    for (ssize_t i = 0; i < n; i++)
        take(player->crowd, &msgs[i]);
}

static void reserves(struct player *player)
{
    size_t n = 1 + choose(&player->random, (unsigned)player->crowd->most);

    if (!player->permit.n)
        check_result(
            filch_chan_reserve_many(player->crowd->chan, n, &player->permit, some_time(player)));
}

static void uses_permit(struct player *player)
{
    message msg;

    if (!player->permit.n)
        return;
    new_messages(player, &msg, 1);
    if (filch_chan_permit_send(&player->permit, &msg) == 0)
        were_sent(player, &msg, 1);
    if (choose(&player->random, 2))
        filch_chan_permit_release(&player->permit);
}

static void selects(struct player *player)
{
    filch_chan *chan = player->crowd->chan;
    message in, out;
    filch_chan_permit permit = {0};
    filch_case cases[4];
    int winner;

    new_messages(player, &out, 1);
    cases[0] = filch_case_if(choose(&player->random, 3), filch_case_recv(chan, &in));
    cases[1] = filch_case_if(choose(&player->random, 3), filch_case_send(chan, &out));
    cases[2] = filch_case_if(choose(&player->random, 3),
                             filch_case_reserve(chan, player->crowd->most, &permit));
    cases[3] = filch_case_if(choose(&player->random, 2), filch_case_closed(chan));
    winner = filch_select(cases, 4, 0, some_time(player));
    T_CHECK(winner >= 0 || winner == -ETIMEDOUT || winner == -ECANCELED || winner == -EINVAL);
    T_CHECK((permit.n > 0) == (winner == 2 && cases[2].result == 0));
    if (winner == 0 && cases[0].result == 0)
        take(player->crowd, &in);
    if (winner == 1 && cases[1].result >= 0)
        were_sent(player, &out, 1);
    filch_chan_permit_release(&permit);
}

/* Polls once or twice, and drops it. */
static void receives_by_future(struct player *player)
{
    filch_waker nobody = {0};
    filch_cx cx = {.waker = &nobody};
    filch_recv_future recv;
    message msg;
    filch_poll poll;

    T_OK(filch_recv_future_init(&recv, player->crowd->chan, &msg));
    poll = recv.base.poll(&recv.base, &cx);
    if (poll == FILCH_PENDING) {
        filch_task_yield();
        if (choose(&player->random, 2))
            poll = recv.base.poll(&recv.base, &cx);
    }
    if (poll == FILCH_PENDING)
        recv.base.drop(&recv.base);
    else if (recv.base.result == 0)
        take(player->crowd, &msg);
}

static void sends_by_future(struct player *player)
{
    filch_waker nobody = {0};
    filch_cx cx = {.waker = &nobody};
    filch_send_future send;
    message msg;

    new_messages(player, &msg, 1);
    T_OK(filch_send_future_init(&send, player->crowd->chan, &msg));
    if (send.base.poll(&send.base, &cx) == FILCH_PENDING) {
        filch_task_yield();
        send.base.drop(&send.base);
    }
    if (send.base.result >= 0)
        were_sent(player, &msg, 1);
}

static void plays_once(struct player *player)
{
    static void (*const moves[])(struct player *) = {
        sends,    sends,       receives, receives,           sends_many,      receives_many,
        reserves, uses_permit, selects,  receives_by_future, sends_by_future, uses_permit,
    };

    moves[choose(&player->random, sizeof(moves) / sizeof(*moves))](player);
}

static void plays(struct crowd *crowd)
{
    uint32_t random = crowd->seed ^ (atomic_fetch_add(&crowd->next_player, 1) * 2654435761u);
    struct player player = {.crowd = crowd, .random = random | 1};
    bool sends = crowd->counts_ends && filch_chan_sender_ref(crowd->chan);
    bool receives = crowd->counts_ends && filch_chan_receiver_ref(crowd->chan);

    while (atomic_fetch_add(&crowd->done, 1) < crowd->operations) {
        plays_once(&player);
        if (filch_task_is_cancelled())
            break;
    }
    if (choose(&player.random, 2))
        uses_permit(&player);
    filch_chan_permit_release(&player.permit);
    if (sends)
        filch_chan_sender_unref(crowd->chan);
    if (receives)
        filch_chan_receiver_unref(crowd->chan);
}

static int plays_in_task(void *arg)
{
    plays(arg);
    return 0;
}

static void *plays_in_thread(void *arg)
{
    plays(arg);
    return NULL;
}

/* Cancels players as fast as they get on. */
static int disturbs(void *arg)
{
    struct crowd *crowd = arg;
    uint32_t random = crowd->seed | 1;
    unsigned last = 0;

    while (!atomic_load(&crowd->over)) {
        unsigned done = atomic_load(&crowd->done);

        if (done - last >= 100) {
            filch_task *victim = atomic_load(&crowd->player[choose(&random, TASKS)]);

            last = done;
            if (victim)
                (void)filch_task_cancel(victim); /* which may have been replaced meanwhile */
        }
        filch_task_yield();
    }
    return 0;
}

/* Replaces players that were cancelled, until all is done. */
static void supervise(struct crowd *crowd)
{
    filch_case cases[TASKS];
    unsigned left = TASKS;

    for (int i = 0; i < TASKS; i++) {
        atomic_store(&crowd->player[i], spawn(plays_in_task, crowd));
        cases[i] = filch_case_join(atomic_load(&crowd->player[i]), NULL);
    }
    while (left) {
        int i = filch_select(cases, TASKS, 0, FILCH_NEVER);

        T_CHECK(i >= 0);
        T_OK(cases[i].result);
        if (atomic_load(&crowd->done) < crowd->operations) {
            atomic_store(&crowd->player[i], spawn(plays_in_task, crowd));
            cases[i] = filch_case_join(atomic_load(&crowd->player[i]), NULL);
        } else {
            atomic_store(&crowd->player[i], NULL);
            cases[i] = filch_case_if(false, cases[i]);
            left--;
        }
    }
}

static int gathers(void *arg)
{
    struct crowd *crowd = arg;
    filch_task *disturber = spawn(disturbs, crowd);
    pthread_t thread[THREADS];

    for (int i = 0; i < THREADS; i++)
        T_OK(pthread_create(&thread[i], NULL, plays_in_thread, crowd));
    supervise(crowd);
    for (int i = 0; i < THREADS; i++)
        T_OK(pthread_join(thread[i], NULL));
    atomic_store(&crowd->over, true);
    return join(disturber);
}

/* No place was lost: the channel takes in what it can hold, and no more. */
static void check_places(struct crowd *crowd, size_t capacity)
{
    filch_chan_permit permit;

    if (filch_chan_is_closed(crowd->chan) || capacity == FILCH_CHAN_UNBOUNDED)
        return;
    T_OK(filch_chan_reserve_many(crowd->chan, capacity - filch_chan_len(crowd->chan), &permit,
                                 FILCH_NOW));
    filch_chan_permit_release(&permit);
}

/* One channel for all of them. */
static void one_crowd(size_t capacity, enum filch_chan_overflow overflow, unsigned operations,
                      bool counts_ends, uint32_t number)
{
    struct crowd crowd = {
        .seed = number,
        .operations = operations,
        .most = capacity < 5 ? capacity : 5,
        .counts_ends = counts_ends,
    };
    filch_chan_opts opts = {.overflow = overflow, .drop = take, .drop_context = &crowd};
    size_t messages = (size_t)MANY * (operations + 1000);
    unsigned moved = 0;

    crowd.sent = calloc(messages, 1);
    crowd.received = calloc(messages, 1);
    T_OK(filch_chan_new_opts(sizeof(message), capacity, &opts, &crowd.chan));
    T_OK(run_in_runtime(0, gathers, &crowd));
    if (filch_chan_len(crowd.chan) < capacity)
        check_places(&crowd, capacity);
    filch_chan_unref(crowd.chan); /* drops what is left */
    for (size_t i = 0; i < atomic_load(&crowd.next_message); i++) {
        T_IS(atomic_load(&crowd.received[i]), atomic_load(&crowd.sent[i]));
        moved += atomic_load(&crowd.sent[i]);
    }
    T_CHECK(counts_ends || moved > operations / 100); /* it was about something */
    free(crowd.sent);
    free(crowd.received);
}

Test(chan_random, nothing_is_lost_or_doubled)
{
    unsigned share = operations() / 32; /* which take so much longer */
    uint32_t number = seed();

    one_crowd(1, FILCH_CHAN_WAIT, share, false, number);
    one_crowd(4, FILCH_CHAN_WAIT, share, false, number + 1);
    one_crowd(FILCH_CHAN_UNBOUNDED, FILCH_CHAN_WAIT, share, false, number + 2);
    one_crowd(3, FILCH_CHAN_DROP_OLDEST, share, false, number + 3);
    one_crowd(3, FILCH_CHAN_DROP_NEWEST, share, false, number + 4);
    one_crowd(3, FILCH_CHAN_FAIL, share, false, number + 5);
}

/* Short lives: closed by the last of those who are cancelled and replaced. */
Test(chan_random, nothing_is_lost_when_ends_come_and_go)
{
    unsigned rounds = operations() / 4000;
    uint32_t number = seed();

    for (unsigned i = 0; i < rounds / 10 + 1; i++) {
        one_crowd(1 + i % 4, FILCH_CHAN_WAIT, 1000, true, number + 2 * i);
        one_crowd(FILCH_CHAN_UNBOUNDED, FILCH_CHAN_WAIT, 1000, true, number + 2 * i + 1);
    }
}
