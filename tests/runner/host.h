/* A host for runtimes without threads of their own: a thread that polls the runtime's descriptor
 * and takes turns, so that tests that were written for workers run as well. Threads that call
 * block_on or shutdown drive between its turns. */
#ifndef FILCH_TESTS_RUNNER_HOST_H
#define FILCH_TESTS_RUNNER_HOST_H

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include <filch/filch.h>

#include "tests/runner/check.h"

struct test_host {
    filch_runtime *rt;
    int stop_fd;
    pthread_t thread;
    struct test_host *next;
};

static struct test_host *test_hosts;
static pthread_mutex_t test_hosts_lock = PTHREAD_MUTEX_INITIALIZER;

static inline void *test_host_main(void *arg)
{
    struct test_host *host = arg;
    struct pollfd fds[] = {{.fd = filch_runtime_fd(host->rt), .events = POLLIN},
                           {.fd = host->stop_fd, .events = POLLIN}};
    const struct timespec pause = {.tv_nsec = 50000};

    T_CHECK(fds[0].fd >= 0);
    while (!fds[1].revents) {
        int r = poll(fds, 2, -1);

        T_CHECK(r > 0 || errno == EINTR);
        r = filch_runtime_turn(host->rt, 0, 0, NULL);
        T_CHECK(r >= 0 || r == -EBUSY);
        if (r == -EBUSY)
            nanosleep(&pause, NULL); /* whoever drives sees to everything; we only look again */
    }
    return NULL;
}

static inline void test_host_start(filch_runtime *rt)
{
    struct test_host *host = calloc(1, sizeof(*host));

    T_CHECK(host);
    host->rt = rt;
    host->stop_fd = eventfd(0, EFD_CLOEXEC);
    T_CHECK(host->stop_fd >= 0);
    T_OK(pthread_create(&host->thread, NULL, test_host_main, host));
    pthread_mutex_lock(&test_hosts_lock);
    host->next = test_hosts;
    test_hosts = host;
    pthread_mutex_unlock(&test_hosts_lock);
}

/* Does nothing for a runtime that has none. */
static inline void test_host_stop(filch_runtime *rt)
{
    struct test_host **link = &test_hosts;
    struct test_host *host;
    uint64_t one = 1;

    pthread_mutex_lock(&test_hosts_lock);
    while (*link && (*link)->rt != rt)
        link = &(*link)->next;
    host = *link;
    if (host)
        *link = host->next;
    pthread_mutex_unlock(&test_hosts_lock);
    if (!host)
        return;
    T_IS(write(host->stop_fd, &one, sizeof(one)), sizeof(one));
    T_OK(pthread_join(host->thread, NULL));
    close(host->stop_fd);
    free(host);
}

#endif
