/* Description: the tree of cancellation tokens (runtime/task/token.c): cancel against the growth of
 * children, against their end, against a second cancel below, against hooks and waiters that leave;
 * everything is freed once, and nothing is used after that. */
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "tests/model/explore.h"

static void *model_alloc(size_t bytes);
static void model_free(void *object);

#define pthread_self() ((pthread_t)(1 + xp_thread()))
#define malloc(bytes) model_alloc(bytes)
#define free(object) model_free(object)
#define BATCH 1
#include "runtime/task/token.c"
#undef malloc
#undef free

#define OBJECTS 8

static filch_token objects[OBJECTS];
static bool freed[OBJECTS];
static unsigned allocated;

static void *model_alloc(size_t bytes)
{
    xp_assert(bytes == sizeof(filch_token) && allocated < OBJECTS);
    freed[allocated] = false;
    return &objects[allocated++];
}

/* What is used after that goes astray. */
static void model_free(void *object)
{
    filch_token *token = object;
    ptrdiff_t i = token - objects;

    xp_assert(i >= 0 && i < (ptrdiff_t)allocated && !freed[i]);
    freed[i] = true;
    token->link.next = token->link.prev = NULL;
    token->children.next = token->children.prev = NULL;
    token->waiters.next = token->hooks.next = NULL;
}

/* What token.c needs of the runtime, for plain threads. */
struct filch__task *filch__fork_root(struct filch__task *task)
{
    return task;
}

struct filch__task *filch__task_current(void)
{
    return NULL;
}

struct filch__task *filch__blocking_owner(void)
{
    return NULL;
}

int filch__task_defer(struct filch__task *task, void (*fn)(void *arg), void *arg)
{
    (void)task;
    (void)fn;
    (void)arg;
    return -ENOMEM;
}

int filch_task_cancel_cause(filch_task *task, int error)
{
    (void)task;
    return error;
}

bool filch__waiter_group_claim(struct filch__waiter_group *group, uint32_t winner)
{
    (void)group;
    (void)winner;
    return true;
}

void filch__waiter_init(struct filch__waiter *waiter, enum filch__wait reason)
{
    filch__list_init(&waiter->link);
    waiter->task = NULL;
    waiter->reason = (uint16_t)reason;
    waiter->group = NULL;
    filch_atomic_init(&waiter->woken, 0);
}

static bool is_woken(void *arg)
{
    return xp_peek(&((struct filch__waiter *)arg)->woken.location) != 0;
}

void filch__waiter_wait_shielded(struct filch__waiter *waiter)
{
    while (!filch_load_acquire(&waiter->woken))
        xp_block_until(is_woken, waiter);
    filch_plain_read(&waiter->data);
}

int filch__waiter_wait(struct filch__waiter *waiter, filch_time until)
{
    if (until != FILCH_NEVER)
        return filch_load_acquire(&waiter->woken) ? 0 : -ETIMEDOUT;
    filch__waiter_wait_shielded(waiter);
    return 0;
}

/* Futures: their waiters have no wakers here. */
filch_waker filch__future_waiter_listen(struct filch__future_waiter *waiter,
                                        const filch_waker *waker)
{
    (void)waiter;
    return *waker;
}

void filch_waker_drop(filch_waker waker)
{
    (void)waker;
}

void filch__waiter_wake(struct filch__waiter *waiter)
{
    filch_plain_write(&waiter->data);
    filch_store_release(&waiter->woken, 1);
}

/* ---- the models: a reference for each thread on what it uses ---- */

static filch_token *root, *mid, *leaf;
static filch_hook hook;
static int calls;
static int unhooked;

static void has_called(void *arg)
{
    (void)arg;
    filch_plain_write(&calls);
    calls++;
}

static filch_token *plant(filch_token *parent, uint32_t refs)
{
    filch_token *token = token_alloc(parent);

    filch_atomic_init(&token->refs, refs);
    if (parent)
        filch__list_push_back(&parent->children, &token->link);
    return token;
}

static void reset_bare(void)
{
    allocated = 0;
    calls = 0;
    unhooked = 1;
    mid = leaf = NULL;
}

static void reset_root(void)
{
    reset_bare();
    root = plant(NULL, 2);
}

/* root <- mid <- leaf; the leaf has a hook. References: of threads, and of the child. */
static void plant_line(uint32_t of_mid)
{
    struct callback *callback = (struct callback *)(void *)hook.private_words;

    reset_bare();
    root = plant(NULL, 3);
    mid = plant(root, of_mid);
    leaf = plant(mid, 1);
    callback->hook.fn = call_back;
    callback->fn = has_called;
    filch__list_push_back(&leaf->hooks, &callback->hook.link);
}

static void reset_line(void)
{
    plant_line(2);
}

static void reset_line_for_two(void)
{
    plant_line(3);
}

static void cancels_root(void)
{
    xp_assert(filch_token_cancel(root, -EIO, NULL) == 0);
    filch_token_unref(root);
}

static void grows_and_looks(void)
{
    filch_token *child, *below;

    xp_assert(filch_token_child(root, &child) == 0);
    filch_token_unref(root);
    xp_assert(filch_token_child(child, &below) == 0);
    filch_token_unref(child);
    if (filch_token_is_cancelled(below))
        xp_assert(filch_token_cause(below, NULL) == -EIO);
    filch_token_unref(below);
}

/* Kept to the end: then it must be cancelled. */
static void grows_and_keeps(void)
{
    xp_assert(filch_token_child(root, &mid) == 0);
    xp_assert(filch_token_child(mid, &leaf) == 0);
    filch_token_unref(root);
}

static void both_cancelled(void)
{
    xp_assert(xp_peek(&mid->cancelled.location) && xp_peek(&leaf->cancelled.location));
    xp_assert(mid->cause == -EIO && leaf->cause == -EIO);
}

static void cancels_mid(void)
{
    xp_assert(filch_token_cancel(mid, -EPIPE, NULL) == 0);
    filch_token_unref(mid);
}

static void leaves_leaf(void)
{
    unhooked = filch_token_unhook(leaf, &hook);
    if (unhooked == -EALREADY)
        filch_plain_read(&calls);
    filch_token_unref(leaf);
}

static void all_freed_and_called_at_most_once(void)
{
    for (unsigned i = 0; i < allocated; i++)
        xp_assert(freed[i]);
    xp_assert(unhooked == 1 || unhooked == 0 || unhooked == -EALREADY);
    xp_assert(calls == (unhooked == -EALREADY));
}

/* The mid token's other reference. */
static void drops_mid_and_root(void)
{
    filch_token_unref(mid);
    filch_token_unref(root);
}

static void waits_for_root(void)
{
    xp_assert(filch_token_wait(root, FILCH_NEVER) == 0);
    xp_assert(filch_token_cause(root, NULL) == -EIO);
    filch_token_unref(root);
}

static void waits_or_gives_up(void)
{
    int r = filch_token_wait(root, 1);

    xp_assert(r == 0 || r == -ETIMEDOUT);
    filch_token_unref(root);
}

static void reset_three(void)
{
    reset_bare();
    root = plant(NULL, 3);
}

static void all_freed(void)
{
    for (unsigned i = 0; i < allocated; i++)
        xp_assert(freed[i]);
}

int main(int argc, char **argv)
{
    static const struct xp_model models[] = {
        {"cancel against growth",
         2,
         {cancels_root, grows_and_looks},
         reset_root,
         all_freed,
         3,
         false},
        {"what grows is cancelled",
         2,
         {cancels_root, grows_and_keeps},
         reset_root,
         both_cancelled,
         3,
         false},
        {"cancel above and below, and a hook that leaves",
         4,
         {cancels_root, cancels_mid, leaves_leaf, drops_mid_and_root},
         reset_line_for_two,
         all_freed_and_called_at_most_once,
         2,
         false},
        {"cancel above and a hook that leaves",
         3,
         {cancels_root, leaves_leaf, drops_mid_and_root},
         reset_line,
         all_freed_and_called_at_most_once,
         3,
         false},
        {"waiters, one of which gives up",
         3,
         {cancels_root, waits_for_root, waits_or_gives_up},
         reset_three,
         all_freed,
         3,
         false},
    };
    static const struct xp_excuse excuses[] = {
        {"filch__waiter_wait load_acquire -> relaxed",
         "what came with the wake is acquired by filch__waiter_wait_shielded()"},
    };

    return xp_main(argc, argv, models, (int)(sizeof models / sizeof models[0]), excuses,
                   (int)(sizeof excuses / sizeof excuses[0]));
}
