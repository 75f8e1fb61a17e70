/* See topology.h. An id is the first CPU of the list that sysfs gives for the thing; nodes and
 * packages have numbers of their own. */
#include "runtime/sched/topology.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define PATH_BYTES 512
#define CACHES 16 /* index0 and so on */

/* The number that a file begins with; -1: there is none. */
static int number_in(const char *path)
{
    char text[64];
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t n;

    if (fd < 0)
        return -1;
    n = read(fd, text, sizeof text - 1);
    close(fd);
    if (n <= 0 || text[0] < '0' || text[0] > '9')
        return -1;
    text[n] = '\0';
    return (int)strtol(text, NULL, 10);
}

static int number_of_cpu(const char *root, int cpu, const char *file)
{
    char path[PATH_BYTES];

    snprintf(path, sizeof path, "%s/cpu/cpu%d/%s", root, cpu, file);
    return number_in(path);
}

static int last_cache(const char *root, int cpu)
{
    int most = 0, id = -1;

    for (int i = 0; i < CACHES; i++) {
        char file[64];
        int level;

        snprintf(file, sizeof file, "cache/index%d/level", i);
        level = number_of_cpu(root, cpu, file);
        if (level < 0)
            break;
        if (level <= most)
            continue;
        most = level;
        snprintf(file, sizeof file, "cache/index%d/shared_cpu_list", i);
        id = number_of_cpu(root, cpu, file);
    }
    return id;
}

/* The CPU's folder has a link to that of its node. */
static int node_of(const char *root, int cpu)
{
    char path[PATH_BYTES];
    struct dirent *entry;
    int node = -1;
    DIR *dir;

    snprintf(path, sizeof path, "%s/cpu/cpu%d", root, cpu);
    dir = opendir(path);
    if (!dir)
        return -1;
    while (node < 0 && (entry = readdir(dir)))
        if (strncmp(entry->d_name, "node", 4) == 0 && entry->d_name[4] >= '0' &&
            entry->d_name[4] <= '9')
            node = (int)strtol(entry->d_name + 4, NULL, 10);
    closedir(dir);
    return node;
}

struct filch__cpu_place filch__topology_read(const char *root, int cpu)
{
    return (struct filch__cpu_place){
        .cpu = cpu,
        .core = number_of_cpu(root, cpu, "topology/thread_siblings_list"),
        .cache = last_cache(root, cpu),
        .node = node_of(root, cpu),
        .package = number_of_cpu(root, cpu, "topology/physical_package_id"),
    };
}

unsigned filch__topology_distance(const struct filch__cpu_place *a,
                                  const struct filch__cpu_place *b)
{
    /* Who does not know its cores has one for each CPU. */
    if (a->cpu == b->cpu || (a->core == b->core && a->core >= 0))
        return 0;
    if (a->cache == b->cache && a->cache >= 0)
        return 1;
    if (a->node == b->node)
        return 2;
    return a->package == b->package ? 3 : 4;
}

void filch__topology_victims(const struct filch__cpu_place *places, unsigned n, unsigned self,
                             uint16_t *ret_order)
{
    unsigned filled = 0;

    for (unsigned distance = 0; distance <= 4; distance++)
        for (unsigned i = 1; i < n; i++) {
            unsigned other = (self + i) % n;

            if (filch__topology_distance(&places[self], &places[other]) == distance)
                ret_order[filled++] = (uint16_t)other;
        }
}

/* Is there one before @i on its core? */
static bool is_second(const struct filch__cpu_place *places, unsigned i)
{
    for (unsigned before = 0; before < i; before++)
        if (places[before].core >= 0 && places[before].core == places[i].core)
            return true;
    return false;
}

void filch__topology_spread(struct filch__cpu_place *places, unsigned n)
{
    unsigned firsts = 0;

    for (unsigned i = 0; i < n; i++) {
        struct filch__cpu_place place = places[i];

        if (is_second(places, i))
            continue;
        memmove(&places[firsts + 1], &places[firsts], (i - firsts) * sizeof *places);
        places[firsts++] = place;
    }
}
