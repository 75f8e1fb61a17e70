/* Reading a pointer that others may replace: in an RCU section, beside a plain load and a lock for
 * readers. */
#include "bench/bench.h"

#include <pthread.h>

#define READS 20000000u

static int value = 1;
static int *shared = &value;
static pthread_rwlock_t lock = PTHREAD_RWLOCK_INITIALIZER;

static double per_read(filch_time begin)
{
    return (double)(filch_now() - begin) / READS;
}

static bool plain_load(double *ret_value)
{
    uint64_t sum = 0;
    filch_time begin = filch_now();

    for (unsigned i = 0; i < READS; i++)
        sum += (unsigned)*filch_rcu_load(&shared); /* as a reader's, without the section */
    *ret_value = per_read(begin);
    return sum == READS;
}

static bool locked(double *ret_value)
{
    uint64_t sum = 0;
    filch_time begin = filch_now();

    for (unsigned i = 0; i < READS; i++) {
        pthread_rwlock_rdlock(&lock);
        sum += (unsigned)*shared;
        pthread_rwlock_unlock(&lock);
    }
    *ret_value = per_read(begin);
    return sum == READS;
}

static bool rcu_read(filch_runtime *rt, double *ret_value)
{
    uint64_t sum = 0;
    double other;
    filch_time begin = filch_now();

    (void)rt;
    for (unsigned i = 0; i < READS; i++) {
        filch_rcu_read_begin();
        sum += (unsigned)*filch_rcu_load(&shared);
        filch_rcu_read_end();
    }
    *ret_value = per_read(begin);
    if (!plain_load(&other))
        return false;
    bench_also("plain_load", "ns/read", other);
    if (!locked(&other))
        return false;
    bench_also("rwlock", "ns/read", other);
    return sum == READS;
}

int main(int argc, char **argv)
{
    static const struct bench benches[] = {{"rcu_read", "ns/read", rcu_read, 0, "section"}};

    return bench_main(argc, argv, benches, 1);
}
