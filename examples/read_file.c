/* A file opened and read whole; what goes wrong is said once, at the end.
 *
 *     read_file PATH */
#include <filch/filch.h>

#include <stdio.h>
#include <stdlib.h>

static int print_file(const char *path)
{
    void *text;
    size_t bytes;
    int r = filch_read_file(path, 0, &text, &bytes, FILCH_NEVER);

    if (r < 0)
        return r;
    printf("%zu bytes: %s", bytes, (char *)text);
    free(text);
    return 0;
}

static int read_file_main(void *arg)
{
    const char *path = arg;
    int r = print_file(path);

    if (r < 0)
        fprintf(stderr, "read_file: %s: %s\n", path, filch_strerror(r));
    return r;
}

int main(int argc, char **argv)
{
    if (argc != 2) {
        fprintf(stderr, "usage: %s PATH\n", argv[0]);
        return 2;
    }
    return filch_main(read_file_main, argv[1], NULL) < 0;
}
