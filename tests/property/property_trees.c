/* What is ordered by time, by descent, and by grace periods. */
#include "tests/property/property.h"

/* ---- delay queue: each item comes out once, and not before its time ---- */

enum { ITEMS = 3 * SLOTS };

struct delay_world {
    filch_delay_queue queue;
    struct delay_thing {
        filch_delay_item item;
        /* Not later than the time that it was given last. Written before the call: by its owner,
         * or by those who reset it, while it is in. */
        _Atomic(filch_time) at;
        atomic_bool is_in; /* or about to be */
        atomic_uint
            resetting; /* [reset] counted before is_in is looked at; is_in is set after a
                        * look at this: so nobody resets what was given another time since */
    } things[ITEMS];
    _Atomic(struct delay_thing *) owned[ITEMS]; /* outside, for anybody */
    atomic_long in, out;
};

static void *delay_begin(unsigned long ops, uint64_t *random)
{
    struct delay_world *world = new_world(sizeof(*world));

    (void)ops, (void)random;
    filch_delay_queue_init(&world->queue);
    for (int i = 0; i < ITEMS; i++)
        atomic_store(&world->owned[i], &world->things[i]);
    return world;
}

static void delay_came_out(struct actor *actor, struct delay_world *world,
                           struct delay_thing *thing)
{
    T_CHECK(atomic_exchange(&thing->is_in, false));
    atomic_fetch_add(&world->out, 1);
    for (unsigned i = any(actor, ITEMS);; i = (i + 1) % ITEMS) {
        struct delay_thing *nothing = NULL;

        if (atomic_compare_exchange_strong(&world->owned[i], &nothing, thing))
            return;
    }
}

static void delay_inserts(struct actor *actor, struct delay_world *world)
{
    struct delay_thing *thing = atomic_exchange(&world->owned[any(actor, ITEMS)], NULL);
    filch_time at = soon(actor);

    if (!thing)
        return;
    while (atomic_load(&thing->resetting)) /* [reset] */
        filch_task_yield();
    atomic_store(&thing->at, at);
    T_CHECK(!atomic_exchange(&thing->is_in, true));
    atomic_fetch_add(&world->in, 1);
    T_OK(filch_delay_queue_insert(&world->queue, &thing->item, at));
    actor->done++;
}

static void delay_takes(struct actor *actor, struct delay_world *world)
{
    filch_time until = soon(actor);
    filch_delay_item *item = NULL;
    struct delay_thing *thing;
    int r = any(actor, 2) ? filch_delay_queue_next(&world->queue, &item, until)
                          : select_one(filch_case_delay(&world->queue, &item), until);

    if (!did(actor, r, until)) {
        T_CHECK(!item);
        return;
    }
    thing = (struct delay_thing *)(void *)item;
    T_CHECK(atomic_load(&thing->at) <= filch_now());
    delay_came_out(actor, world, thing);
}

static void delay_removes(struct actor *actor, struct delay_world *world)
{
    struct delay_thing *thing = &world->things[any(actor, ITEMS)];
    int r = filch_delay_queue_remove(&world->queue, &thing->item);

    if (did_or(actor, r, FILCH_NEVER, -ESRCH))
        delay_came_out(actor, world, thing);
}

static void delay_resets(struct actor *actor, struct delay_world *world)
{
    struct delay_thing *thing = &world->things[any(actor, ITEMS)];
    filch_time at = soon(actor), before;

    atomic_fetch_add(&thing->resetting, 1);
    if (atomic_load(&thing->is_in)) { /* [reset] */
        before = atomic_load(&thing->at);
        while (at < before && !atomic_compare_exchange_weak(&thing->at, &before, at))
            ;
        (void)did_or(actor, filch_delay_queue_reset(&world->queue, &thing->item, at), FILCH_NEVER,
                     -ESRCH);
    }
    atomic_fetch_sub(&thing->resetting, 1);
}

static void delay_step(struct actor *actor)
{
    struct delay_world *world = actor->world;

    switch (any(actor, 8)) {
    case 0:
        delay_removes(actor, world);
        break;
    case 1:
        delay_resets(actor, world);
        break;
    case 2:
    case 3:
        delay_takes(actor, world);
        break;
    default:
        delay_inserts(actor, world);
    }
    T_CHECK(filch_delay_queue_len(&world->queue) <= ITEMS);
}

static void delay_end(void *arg)
{
    struct delay_world *world = arg;
    struct actor actor = {.world = world, .random = 1};
    filch_delay_item *item;
    int r;

    T_IS(filch_delay_queue_len(&world->queue), world->in - world->out);
    T_OK(filch_delay_queue_close(&world->queue));
    while ((r = filch_delay_queue_next(&world->queue, &item, T_LIMIT)) == 0)
        delay_came_out(&actor, world, (struct delay_thing *)(void *)item);
    T_IS(r, -EPIPE);
    T_IS(world->in, world->out);
    for (int i = 0; i < ITEMS; i++)
        T_CHECK(atomic_load(&world->owned[i]));
    filch_delay_queue_fini(&world->queue);
    free(world);
}

const struct property property_delay_queue = {
    .name = "delay_queue", .begin = delay_begin, .step = delay_step, .end = delay_end};

/* ---- tokens: a cancel goes down, all the way, and never up; each hook is called once, or never */

enum { NODES = 24, OPS_EACH = 200 };

struct node {
    filch_token *token;
    struct node *parent;  /* NULL: none */
    atomic_bool is_there; /* the two above are written */
    atomic_bool is_asked; /* its own cancel is about to be called */
};

struct tree {
    atomic_uint count; /* nodes that are there, or about to be */
    struct node node[NODES];
};

struct token_world {
    struct tree *trees;
    unsigned long count;
    char sign[SLOTS]; /* the texts of cancels, by slot */
};

static void *token_begin(unsigned long ops, uint64_t *random)
{
    struct token_world *world = new_world(sizeof(*world));

    (void)random;
    world->count = ops / OPS_EACH + 1;
    world->trees = calloc(world->count, sizeof(*world->trees));
    T_CHECK(world->trees);
    return world;
}

static struct node *token_any(struct actor *actor, struct tree *tree)
{
    struct node *node = &tree->node[any(actor, NODES)];

    return atomic_load(&node->is_there) ? node : NULL;
}

static bool token_is_below(const struct node *node, const struct node *above)
{
    while (node && node != above)
        node = node->parent;
    return node != NULL;
}

static bool token_was_asked(struct node *node)
{
    for (; node; node = node->parent)
        if (atomic_load(&node->is_asked))
            return true;
    return false;
}

static void token_grows(struct actor *actor, struct tree *tree)
{
    unsigned i = atomic_load(&tree->count) < NODES ? atomic_fetch_add(&tree->count, 1) : NODES;
    struct node *node = &tree->node[i];

    if (i >= NODES)
        return;
    node->parent = token_any(actor, tree);
    if (node->parent)
        T_OK(filch_token_child(node->parent->token, &node->token));
    else
        T_OK(filch_token_new(&node->token));
    atomic_store(&node->is_there, true);
    actor->done++;
}

static void token_cancels(struct actor *actor, struct token_world *world, struct tree *tree,
                          struct node *node)
{
    const char *mine = &world->sign[actor->slot], *text = NULL;
    bool was_there[NODES];

    for (int i = 0; i < NODES; i++)
        was_there[i] = atomic_load(&tree->node[i].is_there);
    atomic_store(&node->is_asked, true);
    T_OK(filch_token_cancel(node->token, -EPROTO - (int)actor->slot, mine));
    T_CHECK(filch_token_is_cancelled(node->token));
    T_CHECK(filch_token_cause(node->token, &text) < 0);
    actor->done++;
    if (text != mine)
        return; /* another one's, which may still be under way */
    for (int i = 0; i < NODES; i++)
        if (was_there[i] && token_is_below(&tree->node[i], node))
            T_CHECK(filch_token_is_cancelled(tree->node[i].token));
}

static void token_hook_called(void *arg)
{
    atomic_fetch_add((atomic_ulong *)arg, 1);
}

static void token_hooks(struct actor *actor, struct node *node)
{
    filch_hook hook;
    atomic_ulong called = 0;
    int r = filch_token_hook(node->token, &hook, token_hook_called, &called);

    if (r < 0) {
        T_IS(r, -ECANCELED);
        T_CHECK(token_was_asked(node));
        actor->gave_up++;
        return;
    }
    pause_now_and_then(actor);
    r = filch_token_unhook(node->token, &hook);
    T_CHECK(r == 0 || r == -EALREADY);
    T_IS(atomic_load(&called), r == -EALREADY);
    T_CHECK(r == 0 || token_was_asked(node));
    actor->done++;
}

static void token_waits(struct actor *actor, struct node *node)
{
    filch_time until = soon(actor);
    int r = any(actor, 2) ? filch_token_wait(node->token, until)
                          : select_one(filch_case_token(node->token), until);

    if (did(actor, r, until)) {
        T_CHECK(filch_token_is_cancelled(node->token));
        T_CHECK(token_was_asked(node));
    }
}

static void token_step(struct actor *actor)
{
    struct token_world *world = actor->world;
    struct tree *tree = &world->trees[actor->op / OPS_EACH];
    struct node *node = token_any(actor, tree);

    if (!node || any(actor, 4) == 0)
        token_grows(actor, tree);
    else if (any(actor, 24) == 0)
        token_cancels(actor, world, tree, node);
    else if (any(actor, 2))
        token_hooks(actor, node);
    else
        token_waits(actor, node);
    if (node && filch_token_is_cancelled(node->token))
        T_CHECK(token_was_asked(node));
}

static void token_end(void *arg)
{
    struct token_world *world = arg;

    for (unsigned long i = 0; i < world->count; i++) {
        struct tree *tree = &world->trees[i];

        for (int n = 0; n < NODES; n++)
            if (tree->node[n].is_there)
                T_IS(filch_token_is_cancelled(tree->node[n].token),
                     token_was_asked(&tree->node[n]));
        for (int n = 0; n < NODES; n++)
            filch_token_unref(tree->node[n].token);
    }
    free(world->trees);
    free(world);
}

const struct property property_token = {
    .name = "token", .begin = token_begin, .step = token_step, .end = token_end};

/* ---- RCU: what a section has loaded is alive to its end, and all that was given away is freed */

struct version {
    filch_rcu_head head;
    struct rcu_world *world;
    uint64_t number;
    atomic_bool is_alive;
};

struct rcu_world {
    struct version *current;
    filch_mutex writers;
    uint64_t last; /* under the mutex */
    uint64_t seen[SLOTS];
    atomic_ulong freed;
};

static struct version *rcu_version(struct rcu_world *world, uint64_t number)
{
    struct version *version = new_world(sizeof(*version));

    version->world = world;
    version->number = number;
    atomic_store(&version->is_alive, true);
    return version;
}

static void *rcu_begin(unsigned long ops, uint64_t *random)
{
    struct rcu_world *world = new_world(sizeof(*world));

    (void)ops, (void)random;
    world->current = rcu_version(world, 0);
    return world;
}

static void rcu_enter(struct actor *actor)
{
    if (!actor->is_thread)
        return;
    T_OK(filch_rcu_thread_register());
    T_OK(filch_rcu_thread_offline());
}

static void rcu_leave(struct actor *actor)
{
    if (actor->is_thread)
        T_OK(filch_rcu_thread_unregister());
}

static void rcu_reads(struct actor *actor, struct rcu_world *world)
{
    struct version *version;

    if (actor->is_thread)
        T_OK(filch_rcu_thread_online());
    for (unsigned i = any(actor, 4); i < 4; i++) {
        filch_rcu_read_begin();
        version = filch_rcu_load(&world->current);
        T_CHECK(version->number >= world->seen[actor->slot]);
        world->seen[actor->slot] = version->number;
        for (unsigned spin = any(actor, 64); spin > 0; spin--)
            T_CHECK(atomic_load(&version->is_alive));
        filch_rcu_read_end();
    }
    if (actor->is_thread)
        T_OK(filch_rcu_thread_offline());
    actor->done++;
}

static void rcu_free(struct version *version)
{
    T_CHECK(atomic_exchange(&version->is_alive, false));
    atomic_fetch_add(&version->world->freed, 1);
    free(version);
}

static void rcu_called(filch_rcu_head *head)
{
    rcu_free((struct version *)(void *)head);
}

static void rcu_writes(struct actor *actor, struct rcu_world *world)
{
    filch_time until = soon(actor);
    struct version *old;

    if (!did(actor, filch_mutex_lock(&world->writers, until), until))
        return;
    old = filch_rcu_exchange(&world->current, rcu_version(world, ++world->last));
    T_IS(old->number + 1, world->last);
    T_OK(filch_mutex_unlock(&world->writers));
    if (any(actor, 400) == 0) {
        T_OK(filch_rcu_synchronize());
        rcu_free(old);
    } else {
        T_OK(filch_rcu_call(&old->head, rcu_called));
    }
}

static void rcu_step(struct actor *actor)
{
    if (any(actor, 4))
        rcu_reads(actor, actor->world);
    else
        rcu_writes(actor, actor->world);
}

static void rcu_end(void *arg)
{
    struct rcu_world *world = arg;

    T_OK(filch_rcu_barrier());
    T_IS(world->freed, world->last);
    T_IS(world->current->number, world->last);
    free(world->current);
    filch_mutex_fini(&world->writers);
    free(world);
}

const struct property property_rcu = {.name = "rcu",
                                      .begin = rcu_begin,
                                      .enter = rcu_enter,
                                      .step = rcu_step,
                                      .leave = rcu_leave,
                                      .end = rcu_end};
