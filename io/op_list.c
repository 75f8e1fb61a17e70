/* See op_list.h. */
#include "io/op_list.h"

#include <time.h>

#include <filch/time.h>

#include "io/net/socket.h"
#include "runtime/task/task.h"

#define PAUSE_MIN FILCH_MILLISECOND
#define PAUSE_MAX (50 * FILCH_MILLISECOND)

void filch__op_list_init(struct filch__op_list *list)
{
    pthread_mutex_init(&list->lock, NULL);
    filch__list_init(&list->ops);
}

bool filch__op_list_add(struct filch__op_list *list, struct filch__fd *fd,
                        struct filch__listed_op *listed, struct filch__op *op)
{
    bool closing;

    listed->op = op;
    pthread_mutex_lock(&list->lock);
    closing = filch__fd_is_closing(fd); /* [op-list] */
    if (closing)
        filch__list_init(&listed->link);
    else
        filch__list_push_back(&list->ops, &listed->link);
    pthread_mutex_unlock(&list->lock);
    return !closing;
}

void filch__op_list_remove(struct filch__op_list *list, struct filch__listed_op *listed)
{
    pthread_mutex_lock(&list->lock);
    filch__list_remove(&listed->link);
    pthread_mutex_unlock(&list->lock);
}

int filch__op_list_wait(struct filch__op_list *list, struct filch__fd *fd, struct filch__op *op,
                        filch_time until)
{
    struct filch__listed_op listed;
    int r;

    if (!filch__op_list_add(list, fd, &listed, op))
        filch__op_cancel_and_wait(op);
    r = filch__op_wait(op, until);
    filch__op_list_remove(list, &listed);
    return r;
}

void filch__op_pause(filch_time ns)
{
    struct timespec ts = {.tv_nsec = (long)ns};

    if (filch__in_stackful_task())
        filch__park_shielded_until(filch_after(ns), FILCH_WAIT_CLOSE);
    else
        nanosleep(&ts, NULL);
}

static bool cancel_all(struct filch__op_list *list)
{
    bool none;

    pthread_mutex_lock(&list->lock);
    none = filch__list_is_empty(&list->ops);
    for (struct filch__list *link = list->ops.next; link != &list->ops; link = link->next)
        filch__op_cancel(filch_container_of(link, struct filch__listed_op, link)->op);
    pthread_mutex_unlock(&list->lock);
    return !none;
}

void filch__op_list_end(struct filch__op_list *list)
{
    filch_time pause = PAUSE_MIN;

    while (cancel_all(list)) {
        filch__op_pause(pause);
        if (pause < PAUSE_MAX)
            pause *= 2;
    }
}
