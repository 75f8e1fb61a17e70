/* See proc.h. */
#include "runtime/base/proc.h"

#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

bool filch__proc_read(const char *path, char *text, size_t bytes)
{
    ssize_t n;
    int fd = open(path, O_RDONLY | O_CLOEXEC);

    n = fd < 0 ? -1 : read(fd, text, bytes - 1);
    if (fd >= 0)
        close(fd);
    text[n > 0 ? n : 0] = '\0';
    return n > 0;
}

int filch__proc_running_in(const char *text)
{
    int running;

    return sscanf(text, "%*s %*s %*s %d/", &running) == 1 ? running : -1;
}

int filch__proc_running(void)
{
    char text[128];

    (void)filch__proc_read("/proc/loadavg", text, sizeof text);
    return filch__proc_running_in(text);
}
