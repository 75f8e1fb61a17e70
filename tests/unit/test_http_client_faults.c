/* Description: the HTTP client where the kernel has no room to wait for one of its sockets: that
 * request fails at once, and the next one does not. */
#include <errno.h>
#include <stdatomic.h>
#include <sys/epoll.h>

#include <criterion/criterion.h>

#include <filch/http_client.h>

#include "tests/runner/http_site.h"

TestSuite(http_client_faults, .timeout = 60);

static atomic_int to_come; /* calls of the client, of which the last two fail */

int __real_epoll_ctl(int epoll, int op, int fd, struct epoll_event *event);
int __wrap_epoll_ctl(int epoll, int op, int fd, struct epoll_event *event);

/* Of the client: it notes the descriptor, as the runtime does not. */
int __wrap_epoll_ctl(int epoll, int op, int fd, struct epoll_event *event)
{
    if (op != EPOLL_CTL_DEL && event->data.fd == fd && atomic_load(&to_come) &&
        atomic_fetch_sub(&to_come, 1) <= 2) {
        errno = ENOSPC;
        return -1;
    }
    return __real_epoll_ctl(epoll, op, fd, event);
}

static int hello(filch_exchange *x, void *context)
{
    (void)context;
    return filch_exchange_reply(x, 200, NULL, "hello", 5, FILCH_NEVER);
}

static int ask(void *arg)
{
    const filch_http_client_opts opts = {.no_retries = true, .proxy = ""};
    struct http_site site;
    filch_http_client *client;
    filch_http_response *response;
    char url[128];

    (void)arg;
    http_site_new(&site, NULL);
    T_OK(filch_http_route(site.server, "GET", "/", hello, NULL));
    http_site_open(&site);
    snprintf(url, sizeof(url), "http://%s/", site.addr);
    T_OK(filch_http_client_new(&opts, &client));
    for (int nth = 1; nth <= 2; nth++) { /* while it connects, and when it is connected */
        atomic_store(&to_come, nth + 1); /* what fails is tried the other way, too */
        T_IS(filch_http_get(client, url, &response, NULL, T_LIMIT), -ENOMEM);
        T_IS(atomic_load(&to_come), 0);
        T_OK(filch_http_get(client, url, &response, NULL, T_LIMIT));
        T_CHECK(strcmp(filch_http_response_body(response, NULL), "hello") == 0);
        filch_http_response_free(response);
        filch_http_client_close(client);
        T_OK(filch_http_client_new(&opts, &client));
    }
    filch_http_client_close(client);
    http_site_close(&site);
    return 0;
}

Test(http_client_faults, a_socket_that_cannot_be_waited_for_costs_its_request_only)
{
    T_OK(run_in_runtime(0, ask, NULL));
}
