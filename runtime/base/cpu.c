/* See cpu.h. A CPU quota is a pair of files in a control group's directory, and each ancestor's
 * quota counts too:
 *
 *     v2:  cpu.max             "150000 100000" (time per period), or "max 100000"
 *     v1:  cpu.cfs_quota_us    "150000", or "-1";      cpu.cfs_period_us  "100000"
 *
 * Our group is in /proc/self/cgroup, as a path in its hierarchy; where the hierarchy is mounted,
 * and which part of it, is in /proc/self/mountinfo. How often a quota was used up is in cpu.stat of
 * both ("nr_throttled 12"). In a container the path may lie outside of what is mounted (it is the
 * host's, or begins with "/.."): what is mounted is our group then, so the mount point itself is
 * read. A machine may have
 * v1 and v2 at once. Whatever cannot be read sets no limit.
 */
#include "runtime/base/cpu.h"

#include <errno.h>
#include <limits.h>
#include <sched.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define CPUS_MAX 65536

struct hierarchy {
    const char *root; /* put before every path */
    bool is_v2;
    const char *path; /* of our group */
};

/* One line of mountinfo; the strings are parts of it. */
struct mount {
    char *root; /* what part of the hierarchy is mounted */
    char *point;
    bool is_v2;
};

static unsigned least(unsigned a, unsigned b)
{
    return a < b ? a : b;
}

/* Is @word in the comma-separated @list? */
static bool has_word(const char *list, const char *word)
{
    size_t length = strlen(word);

    for (; list; list = strchr(list, ',')) {
        list += *list == ',';
        if (!strncmp(list, word, length) && (list[length] == ',' || !list[length]))
            return true;
    }
    return false;
}

/* Decodes the octal escapes of mountinfo (blanks are \040) in place. */
static void unescape(char *text)
{
    char *to = text;

    while (*text) {
        unsigned value;

        if (text[0] == '\\' && sscanf(text + 1, "%3o", &value) == 1 &&
            strspn(text + 1, "01234567") >= 3) {
            *to++ = (char)value;
            text += 4;
        } else {
            *to++ = *text++;
        }
    }
    *to = '\0';
}

/* "31 23 0:29 ROOT POINT options [tags...] - TYPE source OPTIONS". Return: is it a hierarchy that
 * may limit CPUs? */
static bool parse_mount(char *line, struct mount *ret_mount)
{
    char *rest = strstr(line, " - ");
    char *save = NULL;
    char *type, *options;

    if (!rest)
        return false;
    *rest = '\0';
    type = strtok_r(rest + 3, " \n", &save);
    strtok_r(NULL, " \n", &save);
    options = strtok_r(NULL, " \n", &save);
    if (!type || !options)
        return false;
    ret_mount->is_v2 = !strcmp(type, "cgroup2");
    if (!ret_mount->is_v2 && (strcmp(type, "cgroup") || !has_word(options, "cpu")))
        return false;
    strtok_r(line, " ", &save);
    strtok_r(NULL, " ", &save);
    strtok_r(NULL, " ", &save);
    ret_mount->root = strtok_r(NULL, " ", &save);
    ret_mount->point = strtok_r(NULL, " ", &save);
    if (!ret_mount->root || !ret_mount->point)
        return false;
    unescape(ret_mount->root);
    unescape(ret_mount->point);
    return true;
}

/* Reads up to two words of a small file. Return: how many there were. */
static int read_words(const char *directory, const char *name, char ret_words[2][32])
{
    char path[PATH_MAX];
    FILE *file;
    int n;

    if (snprintf(path, sizeof path, "%s/%s", directory, name) >= (int)sizeof path)
        return 0;
    file = fopen(path, "re");
    if (!file)
        return 0;
    n = fscanf(file, "%31s %31s", ret_words[0], ret_words[1]);
    fclose(file);
    return n > 0 ? n : 0;
}

#define NO_LIMIT ((struct filch__cpu_limits){.cpus = UINT_MAX})

/* Of two groups above us. */
static struct filch__cpu_limits both(struct filch__cpu_limits a, struct filch__cpu_limits b)
{
    return (struct filch__cpu_limits){least(a.cpus, b.cpus), a.throttled + b.throttled};
}

static uint64_t group_throttled(const char *directory)
{
    unsigned long long count = 0;
    char path[PATH_MAX], line[128];
    FILE *file;

    if (snprintf(path, sizeof path, "%s/cpu.stat", directory) >= (int)sizeof path)
        return 0;
    file = fopen(path, "re");
    if (!file)
        return 0;
    while (fgets(line, sizeof line, file) && sscanf(line, "nr_throttled %llu", &count) != 1)
        ;
    fclose(file);
    return count;
}

/* The quota of one group, rounded up to CPUs; UINT_MAX without one. */
static unsigned group_quota(const char *directory, bool is_v2)
{
    char quota_words[2][32], period_words[2][32];
    long long quota, period, cpus;

    if (is_v2) {
        if (read_words(directory, "cpu.max", quota_words) != 2)
            return UINT_MAX;
        period = atoll(quota_words[1]);
    } else {
        if (!read_words(directory, "cpu.cfs_quota_us", quota_words) ||
            !read_words(directory, "cpu.cfs_period_us", period_words))
            return UINT_MAX;
        period = atoll(period_words[0]);
    }
    quota = atoll(quota_words[0]); /* 0 for "max" */
    if (quota <= 0 || period <= 0)
        return UINT_MAX;
    cpus = quota / period + (quota % period != 0);
    return cpus < UINT_MAX ? (unsigned)cpus : UINT_MAX;
}

static struct filch__cpu_limits group_limits(const char *directory, bool is_v2)
{
    struct filch__cpu_limits limits = {.cpus = group_quota(directory, is_v2)};

    if (limits.cpus != UINT_MAX)
        limits.throttled = group_throttled(directory);
    return limits;
}

/* Of the group in @directory and of its ancestors, whose own directory is the first @top bytes. */
static struct filch__cpu_limits ancestors_limits(char *directory, size_t top, bool is_v2)
{
    struct filch__cpu_limits limits = NO_LIMIT;

    for (;;) {
        limits = both(limits, group_limits(directory, is_v2));
        if (strlen(directory) <= top)
            return limits;
        *strrchr(directory + top, '/') = '\0';
    }
}

/* The part of our path below what is mounted, with its slash, or ""; NULL when our group is not in
 * there. */
static const char *path_below(const char *path, const char *mount_root)
{
    size_t length = strlen(mount_root);

    if (length == 1 && mount_root[0] == '/')
        length = 0;
    if (strncmp(path, mount_root, length) || (path[length] != '/' && path[length]))
        return NULL;
    path += length;
    if (!strcmp(path, "/"))
        return "";
    return strstr(path, "/..") ? NULL : path;
}

static struct filch__cpu_limits mount_limits(const struct hierarchy *hierarchy, const char *point,
                                             const char *below)
{
    char directory[PATH_MAX];
    int n = snprintf(directory, sizeof directory, "%s%s%s", hierarchy->root, point, below);

    if (n < 0 || n >= (int)sizeof directory)
        return NO_LIMIT;
    return ancestors_limits(directory, (size_t)n - strlen(below), hierarchy->is_v2);
}

static FILE *open_proc(const char *root, const char *name)
{
    char path[PATH_MAX];

    if (snprintf(path, sizeof path, "%s/proc/self/%s", root, name) >= (int)sizeof path)
        return NULL;
    return fopen(path, "re");
}

/* Mounts that show our group are believed; only without one, those that show some other part. */
static struct filch__cpu_limits hierarchy_limits(const struct hierarchy *hierarchy)
{
    FILE *file = open_proc(hierarchy->root, "mountinfo");
    struct filch__cpu_limits inside = NO_LIMIT, outside = NO_LIMIT;
    bool found = false;
    char *line = NULL;
    size_t room = 0;

    if (!file)
        return NO_LIMIT;
    while (getline(&line, &room, file) > 0) {
        struct mount mount;
        const char *below;

        if (!parse_mount(line, &mount) || mount.is_v2 != hierarchy->is_v2)
            continue;
        below = path_below(hierarchy->path, mount.root);
        if (below) {
            found = true;
            inside = both(inside, mount_limits(hierarchy, mount.point, below));
        } else {
            outside = both(outside, mount_limits(hierarchy, mount.point, ""));
        }
    }
    free(line);
    fclose(file);
    return found ? inside : outside;
}

/* Of all hierarchies in /proc/self/cgroup: "0::PATH" is v2, "4:cpu,cpuacct:PATH" is v1. */
static struct filch__cpu_limits quota_limits(const char *root)
{
    FILE *file = open_proc(root, "cgroup");
    struct filch__cpu_limits limits = NO_LIMIT;
    char *line = NULL;
    size_t room = 0;

    if (!file)
        return NO_LIMIT;
    while (getline(&line, &room, file) > 0) {
        struct hierarchy hierarchy = {.root = root};
        char *names = strchr(line, ':');
        char *path = names ? strchr(names + 1, ':') : NULL;

        if (!path)
            continue;
        *names++ = '\0';
        *path++ = '\0';
        path[strcspn(path, "\n")] = '\0';
        hierarchy.is_v2 = !strcmp(line, "0") && !*names;
        hierarchy.path = path;
        if (hierarchy.is_v2 || has_word(names, "cpu"))
            limits = both(limits, hierarchy_limits(&hierarchy));
    }
    free(line);
    fclose(file);
    return limits;
}

void filch__cpu_limits_at(const char *root, unsigned affinity, struct filch__cpu_limits *ret_limits)
{
    *ret_limits = quota_limits(root);
    ret_limits->cpus = least(affinity, ret_limits->cpus);
    if (!ret_limits->cpus)
        ret_limits->cpus = 1;
}

/* How many CPUs the affinity mask has; the kernel refuses masks that are smaller than its own. */
unsigned filch__cpu_affinity(void)
{
    for (int cpus = CPU_SETSIZE; cpus <= CPUS_MAX; cpus *= 2) {
        cpu_set_t *set = CPU_ALLOC(cpus);
        size_t bytes = CPU_ALLOC_SIZE(cpus);
        int r, n;

        if (!set)
            break;
        r = sched_getaffinity(0, bytes, set);
        n = r == 0 ? CPU_COUNT_S(bytes, set) : 0;
        CPU_FREE(set);
        if (r == 0)
            return n > 0 ? (unsigned)n : 1;
        if (errno != EINVAL)
            break;
    }
    return 1;
}

void filch__cpu_limits(struct filch__cpu_limits *ret_limits)
{
    filch__cpu_limits_at("", filch__cpu_affinity(), ret_limits);
}

unsigned filch__cpu_count(void)
{
    struct filch__cpu_limits limits;

    filch__cpu_limits(&limits);
    return limits.cpus;
}
