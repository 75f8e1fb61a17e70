/* Runs a fuzz target over the files of a directory: replay DIRECTORY. */
#include <dirent.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);

static int run_file(const char *folder, const char *name)
{
    static uint8_t data[1 << 20];
    char path[4096];
    size_t bytes;
    FILE *file;

    snprintf(path, sizeof(path), "%s/%s", folder, name);
    file = fopen(path, "rb");
    if (!file)
        return -1;
    bytes = fread(data, 1, sizeof(data), file);
    fclose(file);
    return LLVMFuzzerTestOneInput(data, bytes);
}

int main(int argc, char **argv)
{
    DIR *dir = argc == 2 ? opendir(argv[1]) : NULL;
    struct dirent *entry;
    unsigned files = 0;

    if (!dir) {
        fprintf(stderr, "usage: %s DIRECTORY\n", argv[0]);
        return 2;
    }
    while ((entry = readdir(dir))) {
        if (entry->d_name[0] == '.')
            continue;
        if (run_file(argv[1], entry->d_name) != 0) {
            fprintf(stderr, "%s: cannot be read\n", entry->d_name);
            return 1;
        }
        files++;
    }
    closedir(dir);
    printf("%u files\n", files);
    return files == 0;
}
