/* Stream sockets as readers and writers, TCP's and Unix ones alike. */
#ifndef FILCH_IO_NET_ENDS_H
#define FILCH_IO_NET_ENDS_H

#include <filch/io.h>

/* @handle: of a struct filch__fd; NULL is allowed: then every call gives -EINVAL. */
filch_reader filch__socket_reader(void *handle);
filch_writer filch__socket_writer(void *handle);

/* Ends the side that writes. Return: 0; -errno. */
int filch__socket_shutdown_write(void *handle);

/* Is it one of these? Its handle is the context. */
bool filch__reader_is_socket(filch_reader reader);
bool filch__writer_is_socket(filch_writer writer);

#endif
