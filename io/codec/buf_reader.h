/* The steps of a buffered reader that do not suspend, and the one that does: for streams, whose
 * polls do the former, while a helper task does the latter. */
#ifndef FILCH_IO_CODEC_BUF_READER_H
#define FILCH_IO_CODEC_BUF_READER_H

#include <filch/buffered.h>

/* Takes a piece of what is in the buffer. Return: 1; -EAGAIN (its delimiter is not there yet). */
int filch__buf_reader_take(filch_buf_reader *reader, char delimiter, filch_view *ret_view);

/* The reader has ended: takes what is left. Return: 1; 0 (nothing is). */
int filch__buf_reader_take_rest(filch_buf_reader *reader, filch_view *ret_view);

/* Reads once, to have more in the buffer than before. Return: bytes read; 0 (the end); -EMSGSIZE
 * (the buffer is full); -ENOMEM; -EIO; the reader's errors. */
ssize_t filch__buf_reader_more(filch_buf_reader *reader, filch_time until);

/* A piece is too long: forgets what there is of it, and has the rest skipped. */
void filch__buf_reader_give_up(filch_buf_reader *reader);

/* What was taken up to a LF, as a line; in place. */
filch_line filch__line_of(filch_view view);

#endif
