/* The part of reading frames that does not suspend: for the stream, whose polls do it. */
#ifndef FILCH_IO_CODEC_FRAME_H
#define FILCH_IO_CODEC_FRAME_H

#include <filch/frame.h>

/* Takes a frame out of what was read. @over: there is nothing more to come. Return: 1; 0 (the
 * end, with @over only); -EAGAIN (more must be read); an error, as filch_frame_read(). */
int filch__frame_take(filch_frame_reader *reader, bool over, filch_view *ret_frame);

/* Reads once. Return: bytes; 0 (the end); an error, as filch_frame_read(). */
ssize_t filch__frame_more(filch_frame_reader *reader, filch_time until);

#endif
