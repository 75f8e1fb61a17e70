/* A task that waits for messages, for being told to stop, and no longer than a second, whatever
 * comes first; messages that are there come before the stop. What has not won has taken nothing. */
#include <filch/filch.h>

#include <errno.h>
#include <stdio.h>

struct room {
    filch_chan *messages;
    filch_token *stop;
};

static int listen_to(void *arg)
{
    struct room *room = arg;
    int message, first;

    do {
        first =
            FILCH_SELECT_FIRST(filch_after(FILCH_SECOND), filch_case_recv(room->messages, &message),
                               filch_case_token(room->stop));
        if (first == 0)
            printf("message %d\n", message);
        else if (first == 1)
            printf("stopped\n");
        else if (first == -ETIMEDOUT)
            printf("nothing for a second\n");
    } while (first == 0 || first == -ETIMEDOUT);
    return first < 0 ? first : 0; /* negative: this task itself was cancelled */
}

static int talk(void *arg)
{
    struct room *room = arg;
    int r = 0;

    for (int i = 1; r == 0 && i <= 3; i++)
        r = filch_chan_send(room->messages, &i, FILCH_NEVER);
    filch_token_cancel(room->stop, -ECANCELED, "no more messages");
    return r;
}

static int select_main(void *arg)
{
    struct room *room = arg;
    int r = filch_chan_new(sizeof(int), 4, &room->messages);

    if (r == 0)
        r = filch_token_new(&room->stop);
    if (r == 0)
        r = FILCH_TRY_JOIN({listen_to, room}, {talk, room});
    filch_token_unref(room->stop);
    filch_chan_unref(room->messages);
    return r;
}

int main(void)
{
    return filch_main(select_main, &(struct room){0}, NULL) < 0;
}
