/* What the kernel tells of threads in /proc. Where that is not mounted, nothing is known. */
#ifndef FILCH_BASE_PROC_H
#define FILCH_BASE_PROC_H

#include <stdbool.h>
#include <stddef.h>

/* The beginning of a small file, as a string; "" if it is not to be read. Three system calls.
 * Return: is there any text? */
bool filch__proc_read(const char *path, char *text, size_t bytes);

/* Threads of the whole machine that run or want to, with the caller. -1: unknown. */
int filch__proc_running(void);

/* The same from the text of /proc/loadavg. */
int filch__proc_running_in(const char *text);

#endif
