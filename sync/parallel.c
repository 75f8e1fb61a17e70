/* Loops on forks: pieces, and who gets what is left (public contract: include/filch/parallel.h).
 *
 * A part is a range that one worker goes through, from its begin, chunk by chunk. While a chunk
 * runs, what is left behind it is forked:
 *
 *     done | chunk | rest, a private fork                           one store, and one to take it
 *                                                                   back: nobody was interested
 *
 * so if the body suspends, the rest goes on elsewhere, and by itself, as any fork does [no-private
 * in runtime/fork/fork.c]. And when somebody asks for work (runtime/fork/ask.h), which is seen
 * before each chunk, the part is split first, and its upper half is what the asker gets:
 *
 *     done | chunk | rest  |  upper half, shared                    joined when the lower half is
 *                                                                   done, or gone on with
 *
 * A part that was given away does the same. So pieces get smaller only as often as somebody came
 * for one, and halves are large when they are worth a wake-up, and small at the end.
 *
 * Invariants:
 *   [whole]  the ranges of a part, of its rest and of the upper halves of the frames below are
 *            disjoint, and are together what the part was given, less what is done;
 *   [order]  a value is combined with that of the range directly behind its own;
 *   [joined] a frame that has forked a part is left only after that has ended.
 *
 * A chunk has so many items as took 5 to 20 us last time: the clock is read once for each. One that
 * suspends seems long, and makes the next ones short. Items may get longer all of a sudden, so a
 * chunk is a small part of the whole loop in any case. While chunks are of one item, which may be
 * long, an asker who comes finds the rest in the queue too: there would be nothing to give him
 * until the item is done.
 *
 * Every 500 us others have their turn, though nobody may be there to tell that a task has used up
 * its share.
 *
 * A full fork stack, or no memory: no more forks, and the loop goes on alone.
 */
#include "sync/parallel.h"

#include <string.h>

#include <filch/task.h>
#include <filch/time.h>

#include "runtime/fork/fork.h"

#define CHUNK_SHORT_NS (5 * FILCH_MICROSECOND)
#define CHUNK_LONG_NS (20 * FILCH_MICROSECOND)
#define CHUNKS_LEAST 64 /* of a loop; or a chunk has no more items than the next */
#define CHUNK_ITEMS 8
#define LOOK 16 /* chunks between two looks at the clock, if they have a grain */
#define TURN_NS (500 * FILCH_MICROSECOND)

struct part {
    struct filch__fork fork;
    struct filch__loop *loop;
    size_t begin, end;
    size_t chunk;
    filch_time since; /* the last look at the clock */
    filch_time turn;  /* when others have last had theirs */
    unsigned looks;
    _Alignas(max_align_t) unsigned char value[FILCH_PARALLEL_VALUE_MAX];
};

static void go_on(struct part *part, filch__fork_top top, bool is_wanted);

bool filch__loop_is_over(filch_atomic_u32 *error)
{
    if (filch_load_relaxed(error))
        return true;
    if (!filch_task_is_cancelled())
        return false;
    filch__loop_fail(error, -ECANCELED);
    return true;
}

static void begin(struct part *part)
{
    if (part->loop->value_bytes)
        memcpy(part->value, part->loop->identity, part->loop->value_bytes);
    part->since = part->turn = filch_now();
    part->looks = 0;
}

/* The part runs in a task of its own, or at once where it was forked. */
static void run_forked(struct filch__fork *fork, filch__fork_top top)
{
    struct part *part = filch_container_of(fork, struct part, fork);

    begin(part);
    go_on(part, top, false);
}

static void init(struct part *part, const struct part *from, size_t begin, size_t end)
{
    part->fork.run = run_forked;
    part->loop = from->loop;
    part->begin = begin;
    part->end = end;
    part->chunk = from->chunk;
}

/* The part directly behind is joined: its range becomes ours, or its value. */
static void join(struct part *part, filch__fork_top top, struct part *behind)
{
    struct filch__loop *loop = part->loop;

    if (filch__fork_pop(top, &behind->fork).is_ours) {
        part->begin = behind->begin;
        part->end = behind->end;
        return;
    }
    part->begin = part->end;
    if (loop->value_bytes)
        loop->combine(loop->arg, part->value, behind->value); /* [order] */
}

static void call(struct part *part, size_t end)
{
    struct filch__loop *loop = part->loop;
    int r = loop->value_bytes ? loop->fold(loop->arg, part->begin, end, part->value)
                              : loop->range(loop->arg, part->begin, end);

    if (r < 0)
        filch__loop_fail(&loop->error, r);
}

static void adapt(struct part *part, filch_time span)
{
    if (span < CHUNK_SHORT_NS && part->chunk <= part->loop->chunk_most / 2)
        part->chunk *= 2;
    else if (span > CHUNK_LONG_NS && part->chunk > 1)
        part->chunk /= 2;
}

/* After a chunk that is not the last. */
static void look_at_clock(struct part *part)
{
    filch_time now;

    if (part->loop->grain && ++part->looks % LOOK != 0)
        return;
    now = filch_now();
    if (!part->loop->grain)
        adapt(part, now - part->since);
    if (now - part->turn > TURN_NS && !filch__rcu_nesting()) {
        filch__fork_keep();
        filch__yield_late();
        part->turn = now = filch_now();
    }
    part->since = now;
}

/* The last chunk has nothing behind it. */
static void run_last(struct part *part)
{
    call(part, part->end);
    part->begin = part->end;
}

static void run_chunk(struct part *part, filch__fork_top top, bool is_wanted)
{
    struct part rest;
    size_t end = part->begin + part->chunk;

    init(&rest, part, end, part->end);
    top = filch__fork_push(top, &rest.fork);
    if (is_wanted && part->chunk == 1)
        filch__fork_share_all();
    call(part, end);
    look_at_clock(part);
    join(part, top, &rest);
}

static void run_chunk_alone(struct part *part)
{
    size_t end = part->begin + part->chunk;

    call(part, end);
    part->begin = end;
    look_at_clock(part);
}

static void split(struct part *part, filch__fork_top top)
{
    struct part upper;
    size_t middle = part->begin + (part->end - part->begin) / 2;

    init(&upper, part, middle, part->end);
    part->end = middle;
    top = filch__fork_push(top, &upper.fork);
    go_on(part, top, true);
    join(part, top, &upper);
}

/* @is_wanted: somebody asked, and has just got the other half. */
static void go_on(struct part *part, filch__fork_top top, bool is_wanted)
{
    while (part->begin < part->end && !filch__loop_is_over(&part->loop->error)) {
        if (part->end - part->begin <= part->chunk) {
            run_last(part);
            return;
        }
        switch (filch__fork_look(top)) {
        case FILCH_FORK_QUIET:
            run_chunk(part, top, is_wanted);
            break;
        case FILCH_FORK_ASKED:
            split(part, top);
            break;
        case FILCH_FORK_FULL:
            run_chunk_alone(part);
            break;
        }
        is_wanted = false;
    }
}

int filch__loop_run(struct filch__loop *loop, size_t from, size_t end, void *ret_value)
{
    struct part part;
    uint32_t error;

    if (from > end)
        return -EINVAL;
    if (!filch__fork_may())
        return -EPERM;
    filch_atomic_init(&loop->error, 0);
    loop->chunk_most = (end - from) / CHUNKS_LEAST;
    if (loop->chunk_most < CHUNK_ITEMS)
        loop->chunk_most = CHUNK_ITEMS;
    part.loop = loop;
    part.begin = from;
    part.end = end;
    part.chunk = loop->grain ? loop->grain : 1;
    begin(&part);
    go_on(&part, filch__fork_here(), false);
    error = filch_load_relaxed(&loop->error);
    if (error)
        return -(int)error;
    if (loop->value_bytes)
        memcpy(ret_value, part.value, loop->value_bytes);
    return 0;
}

int filch_parallel_for(size_t begin, size_t end, filch_range_fn body, void *arg,
                       const filch_parallel_opts *opts)
{
    struct filch__loop loop = {.range = body, .arg = arg, .grain = filch__loop_grain(opts)};

    return body ? filch__loop_run(&loop, begin, end, NULL) : -EINVAL;
}

/* ---- map ---- */

struct map {
    const unsigned char *in;
    unsigned char *out;
    size_t in_bytes, out_bytes;
    int (*fn)(void *arg, const void *in, void *out);
    void *arg;
};

static int map_range(void *arg, size_t begin, size_t end)
{
    struct map *map = arg;

    for (size_t i = begin; i < end; i++) {
        int r = map->fn(map->arg, map->in + i * map->in_bytes, map->out + i * map->out_bytes);

        if (r < 0)
            return r;
    }
    return 0;
}

int filch_parallel_map(const void *in, size_t in_bytes, void *out, size_t out_bytes, size_t count,
                       int (*fn)(void *arg, const void *in, void *out), void *arg,
                       const filch_parallel_opts *opts)
{
    struct map map = {in, out, in_bytes, out_bytes, fn, arg};

    if (!fn || (count && (!in || !out)) || (in == out && in_bytes != out_bytes))
        return -EINVAL;
    return filch_parallel_for(0, count, map_range, &map, opts);
}

/* ---- invoke: a loop over functions ---- */

static int invoke_range(void *arg, size_t begin, size_t end)
{
    const filch_call *calls = arg;
    int r = 0;

    for (size_t i = begin; i < end && r >= 0; i++)
        r = calls[i].fn(calls[i].arg);
    return r;
}

int filch_parallel_invoke(const filch_call calls[], size_t count)
{
    if (count && !calls)
        return -EINVAL;
    for (size_t i = 0; i < count; i++)
        if (!calls[i].fn)
            return -EINVAL;
    return filch_parallel_for(0, count, invoke_range, (void *)(uintptr_t)calls,
                              &(filch_parallel_opts){.grain = 1});
}
