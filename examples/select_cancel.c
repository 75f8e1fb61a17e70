/* A task that waits for messages, for a heartbeat, and for being told to stop, whatever comes
 * first; messages that are there come before the stop. What has not won has taken nothing. */
#include <filch/filch.h>

#include <errno.h>
#include <stdio.h>

struct listener {
    filch_chan *messages;
    filch_token *stop;
};

static int listen_main(void *arg)
{
    const struct listener *l = arg;
    const filch_time pulse = FILCH_SECOND;
    int message;

    for (;;) {
        switch (FILCH_SELECT_FIRST(FILCH_NEVER, filch_case_recv(l->messages, &message),
                                   filch_case_token(l->stop), filch_case_at(filch_after(pulse)))) {
        case 0:
            printf("message %d\n", message);
            break;
        case 1:
            printf("stopped\n");
            return 0;
        case 2:
            printf("nothing for a second\n");
            break;
        default: /* this task itself was cancelled */
            return -1;
        }
    }
}

static int talk(const struct listener *l)
{
    filch_task *task;
    int r = filch_task_spawn(listen_main, (void *)l, NULL, &task);

    for (int i = 1; r == 0 && i <= 3; i++)
        r = filch_chan_send(l->messages, &i, FILCH_NEVER);
    filch_token_cancel(l->stop, -ECANCELED, "no more messages");
    return r < 0 ? r : filch_task_join(task, NULL, FILCH_NEVER);
}

static int select_main(void *arg)
{
    struct listener l = {0};
    int r = filch_chan_new(sizeof(int), 4, &l.messages);

    (void)arg;
    if (r == 0)
        r = filch_token_new(&l.stop);
    if (r == 0)
        r = talk(&l);
    filch_token_unref(l.stop);
    filch_chan_unref(l.messages);
    return r;
}

int main(void)
{
    return filch_main(select_main, NULL, NULL) < 0;
}
