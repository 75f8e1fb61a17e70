/* What the files on Unix sockets share. */
#ifndef FILCH_IO_NET_UNIX_H
#define FILCH_IO_NET_UNIX_H

#include <sys/socket.h>
#include <sys/un.h>

#include <filch/unix.h>

struct filch__unix_addr {
    union {
        struct sockaddr any;
        struct sockaddr_un un;
    };
    socklen_t bytes;
};

/* A path, or "@name". Return: 0; -EINVAL. */
int filch__unix_addr_parse(const char *text, struct filch__unix_addr *ret_addr);

/* @ret_text: FILCH_UNIX_ADDR_BYTES. */
void filch__unix_addr_format(const struct filch__unix_addr *addr, char *ret_text);

/* The text of a handle's address. */
int filch__unix_name(const void *handle, int (*get)(int, struct sockaddr *, socklen_t *),
                     char *ret_text);
int filch__unix_local(int fd, struct sockaddr *addr, socklen_t *bytes);
int filch__unix_peer(int fd, struct sockaddr *addr, socklen_t *bytes);

/* Binds; makes and removes paths as the options say. @ret_name: what filch__unix_unbind() is told;
 * 0: there is nothing to be removed. Return: 0; -errno. */
int filch__unix_bind(int fd, const char *text, const filch_unix_opts *opts, uint64_t *ret_name);

/* Removes the path of a socket that is about to be closed, if it is the one that bind made. */
void filch__unix_unbind(int fd, uint64_t name);

/* Is it such a Unix socket? Return: 0; -EBADF; -ENOTSOCK; -EPROTOTYPE. */
int filch__unix_is(int fd, int type);

int filch__unix_wrap(int fd, filch_unix **ret_conn);

/* A message with descriptors, and who sent it: see unix_fds.c. */
union filch__unix_control {
    struct cmsghdr header;
    char room[CMSG_SPACE(sizeof(int) * FILCH_UNIX_FDS_MAX) + CMSG_SPACE(sizeof(struct ucred))];
};

/* Puts them into a message. Return: 0; -EINVAL. */
int filch__unix_put_fds(struct msghdr *message, union filch__unix_control *control, const int *fds,
                        size_t count);

/* Has a message take whatever may come; then gives it to the caller and closes the rest. */
void filch__unix_want_fds(struct msghdr *message, union filch__unix_control *control);
void filch__unix_take_fds(struct msghdr *message, filch_unix_fds *fds);

/* Who sent it; nobody, if that was not told. */
filch_unix_cred filch__unix_cred_of(struct msghdr *message);

#endif
