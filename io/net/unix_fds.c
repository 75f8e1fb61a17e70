/* Descriptors in messages, and who sent them.
 *
 * A receiver always has room for as many as the kernel passes at most, whatever its caller has room
 * for: so the kernel cuts nothing for lack of room, and what the caller cannot take is known and
 * closed; also beside a sender's credentials, which a socket that was adopted may ask for. What it
 * cuts for lack of descriptors (EMFILE) it closes itself, and says so.
 */
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "io/net/unix.h"

/* As the kernel says it of a sender that it does not know. */
#define NOBODY 65534

int filch__unix_put_fds(struct msghdr *message, union filch__unix_control *control, const int *fds,
                        size_t count)
{
    struct cmsghdr *header = &control->header;

    if (count > FILCH_UNIX_FDS_MAX || (count && !fds))
        return -EINVAL;
    if (!count)
        return 0;
    message->msg_control = control;
    message->msg_controllen = CMSG_SPACE(count * sizeof *fds);
    memset(control, 0, message->msg_controllen);
    header->cmsg_level = SOL_SOCKET;
    header->cmsg_type = SCM_RIGHTS;
    header->cmsg_len = CMSG_LEN(count * sizeof *fds);
    memcpy(CMSG_DATA(header), fds, count * sizeof *fds);
    return 0;
}

void filch__unix_want_fds(struct msghdr *message, union filch__unix_control *control)
{
    memset(control, 0, sizeof *control);
    message->msg_control = control;
    message->msg_controllen = sizeof *control;
}

static void take(filch_unix_fds *fds, int fd)
{
    if (fds && fds->count < fds->room) {
        fds->fds[fds->count++] = fd;
        return;
    }
    close(fd);
    if (fds)
        fds->lost = true;
}

void filch__unix_take_fds(struct msghdr *message, filch_unix_fds *fds)
{
    if (fds) {
        fds->count = 0;
        fds->lost = message->msg_flags & MSG_CTRUNC;
    }
    for (struct cmsghdr *header = CMSG_FIRSTHDR(message); header;
         header = CMSG_NXTHDR(message, header)) {
        size_t count = (header->cmsg_len - CMSG_LEN(0)) / sizeof(int);

        if (header->cmsg_level != SOL_SOCKET || header->cmsg_type != SCM_RIGHTS)
            continue;
        for (size_t i = 0; i < count; i++) {
            int fd;

            memcpy(&fd, CMSG_DATA(header) + i * sizeof fd, sizeof fd);
            take(fds, fd);
        }
    }
}

filch_unix_cred filch__unix_cred_of(struct msghdr *message)
{
    struct ucred cred = {.pid = 0, .uid = NOBODY, .gid = NOBODY};

    for (struct cmsghdr *header = CMSG_FIRSTHDR(message); header;
         header = CMSG_NXTHDR(message, header))
        if (header->cmsg_level == SOL_SOCKET && header->cmsg_type == SCM_CREDENTIALS)
            memcpy(&cred, CMSG_DATA(header), sizeof cred);
    return (filch_unix_cred){.pid = cred.pid, .uid = cred.uid, .gid = cred.gid};
}
