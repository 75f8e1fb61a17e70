/* Description: the type-stable pool (runtime/base/pool.h): objects, magazines, threads. */
#include <pthread.h>
#include <stdint.h>
#include <string.h>

#include <criterion/criterion.h>

#include "runtime/base/pool.h"
#include "tests/runner/check.h"

TestSuite(pool, .timeout = 60);

#define MANY 5000
#define THREADS 4
#define ROUNDS 200

struct object {
    struct object *next;
    struct object *magazine;
    uint64_t stamp;
    uint64_t fill[5];
};

_Static_assert(sizeof(struct object) == FILCH_CACHELINE, "a multiple of a line");

static void count_object(void *object, void *arg)
{
    (void)object;
    (*(size_t *)arg)++;
}

static size_t count(struct filch__pool *pool)
{
    size_t n = 0;

    filch__pool_each(pool, count_object, &n);
    return n;
}

Test(pool, fresh_objects_are_zero_but_for_their_link_and_apart)
{
    static struct filch__pool pool = FILCH__POOL_INITIALISER(struct object, next);
    static struct object *taken[MANY];

    for (uint64_t i = 0; i < MANY; i++) {
        taken[i] = filch__pool_take(&pool);
        T_CHECK(taken[i]);
        T_IS((uintptr_t)taken[i] % FILCH_CACHELINE, 0);
        for (int word = 0; word < 5; word++)
            T_IS(taken[i]->fill[word], 0);
        T_IS(taken[i]->stamp, 0);
        memset(taken[i], 0xff, sizeof *taken[i]);
        taken[i]->stamp = i;
    }
    for (uint64_t i = 0; i < MANY; i++)
        T_IS(taken[i]->stamp, i);
    T_CHECK(count(&pool) >= MANY);
}

Test(pool, objects_are_recycled_and_keep_what_was_in_them)
{
    static struct filch__pool pool = FILCH__POOL_INITIALISER(struct object, next);
    struct object *object = filch__pool_take(&pool);
    size_t before = count(&pool);

    object->stamp = 42;
    filch__pool_give(&pool, object);
    for (int i = 0; i < MANY; i++) {
        struct object *again = filch__pool_take(&pool);

        T_CHECK(again == object);
        T_IS(again->stamp, 42);
        filch__pool_give(&pool, again);
    }
    T_IS(count(&pool), before);
}

static size_t chain_length(struct object *chain)
{
    size_t n = 0;

    for (; chain; chain = chain->next)
        n++;
    return n;
}

Test(pool, magazines_are_full_and_singles_come_from_them)
{
    static struct filch__pool pool =
        FILCH__POOL_INITIALISER_MAGAZINES(struct object, next, magazine);
    struct object *magazine = filch__pool_take_magazine(&pool);
    size_t total = count(&pool);
    size_t taken = FILCH__POOL_MAGAZINE;

    T_IS(chain_length(magazine), FILCH__POOL_MAGAZINE);
    T_IS(total % FILCH__POOL_MAGAZINE, 0);
    while (taken < total) {
        struct object *object = filch__pool_take(&pool);

        T_IS(object->stamp, 0);
        object->stamp = 1;
        taken++;
    }
    T_IS(count(&pool), total); /* all of them, and no new slab */
    filch__pool_give_magazine(&pool, magazine);
    T_CHECK(filch__pool_take_magazine(&pool) == magazine);
    T_IS(chain_length(magazine), FILCH__POOL_MAGAZINE);
}

static struct filch__pool shared = FILCH__POOL_INITIALISER_MAGAZINES(struct object, next, magazine);

/* Marks what it holds: nobody else may hold it. */
static void hold(struct object *object, uint64_t who)
{
    T_IS(object->stamp, 0);
    object->stamp = who;
}

static void let_go(struct object *object, uint64_t who)
{
    T_IS(object->stamp, who);
    object->stamp = 0;
}

static void *take_and_give(void *arg)
{
    uint64_t who = (uintptr_t)arg;
    struct object *held[64];

    for (int round = 0; round < ROUNDS; round++) {
        struct object *magazine = filch__pool_take_magazine(&shared);

        for (struct object *object = magazine; object; object = object->next)
            hold(object, who);
        for (int i = 0; i < 64; i++)
            hold(held[i] = filch__pool_take(&shared), who);
        for (struct object *object = magazine; object; object = object->next)
            let_go(object, who);
        filch__pool_give_magazine(&shared, magazine);
        for (int i = 0; i < 64; i++) {
            let_go(held[i], who);
            filch__pool_give(&shared, held[i]);
        }
    }
    return NULL;
}

Test(pool, no_object_is_with_two_threads)
{
    pthread_t thread[THREADS];

    for (uintptr_t i = 0; i < THREADS; i++)
        T_OK(pthread_create(&thread[i], NULL, take_and_give, (void *)(i + 1)));
    for (int i = 0; i < THREADS; i++)
        T_OK(pthread_join(thread[i], NULL));
    /* What they held at once, each a magazine and a part of one, and a slab that came early. */
    T_CHECK(count(&shared) <= (size_t)(THREADS + 1) * 8 * FILCH__POOL_MAGAZINE);
}
