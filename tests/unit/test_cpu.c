/* Description: how many CPUs we may use, read from made-up /proc and cgroup trees of v1, v2,
 * containers and broken machines. */
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include <criterion/criterion.h>

#include "runtime/base/cpu.h"
#include "runtime/sched/throttle.h"

#define V2_MOUNT                                                                                   \
    "30 23 0:26 / /sys/fs/cgroup rw,relatime shared:9 - cgroup2 cgroup2 rw,nsdelegate\n"
#define V1_MOUNT "32 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct\n"
#define OTHERS                                                                                     \
    "23 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw\n"                                      \
    "33 31 0:30 / /sys/fs/cgroup/cpuset rw - cgroup cgroup rw,cpuset\n"                            \
    "34 31 0:31 / broken line\n"

static char root[64];

static void tree_init(void)
{
    strcpy(root, "/tmp/filch_test_cpu.XXXXXX");
    cr_assert_not_null(mkdtemp(root));
}

static int remove_one(const char *path, const struct stat *info, int type, struct FTW *where)
{
    (void)info;
    (void)type;
    (void)where;
    return remove(path);
}

static void tree_fini(void)
{
    nftw(root, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

TestSuite(cpu, .init = tree_init, .fini = tree_fini, .timeout = 60);

/* Writes a file of the tree, with the directories above it. */
static void put(const char *path, const char *text)
{
    char full[512];
    FILE *file;

    snprintf(full, sizeof full, "%s%s", root, path);
    for (char *slash = strchr(full + strlen(root) + 1, '/'); slash;
         slash = strchr(slash + 1, '/')) {
        *slash = '\0';
        mkdir(full, 0700);
        *slash = '/';
    }
    file = fopen(full, "w");
    cr_assert_not_null(file);
    fputs(text, file);
    fclose(file);
}

static struct filch__cpu_limits limits_at(unsigned affinity)
{
    struct filch__cpu_limits limits;

    filch__cpu_limits_at(root, affinity, &limits);
    return limits;
}

static unsigned cpus_at(unsigned affinity)
{
    return limits_at(affinity).cpus;
}

static void put_proc(const char *cgroup, const char *mountinfo)
{
    put("/proc/self/cgroup", cgroup);
    put("/proc/self/mountinfo", mountinfo);
}

static void put_v1(const char *group, const char *quota)
{
    char path[256];

    snprintf(path, sizeof path, "/sys/fs/cgroup/cpu,cpuacct%s/cpu.cfs_quota_us", group);
    put(path, quota);
    snprintf(path, sizeof path, "/sys/fs/cgroup/cpu,cpuacct%s/cpu.cfs_period_us", group);
    put(path, "100000\n");
}

Test(cpu, this_machine_has_at_least_one)
{
    cr_assert_geq(filch__cpu_count(), 1u);
}

Test(cpu, without_any_files_the_affinity_counts)
{
    cr_assert_eq(cpus_at(7), 7u);
    cr_assert_eq(cpus_at(0), 1u);
    put("/proc/self/cgroup", "0::/a\n");
    cr_assert_eq(cpus_at(7), 7u);
}

Test(cpu, v2_quota_of_the_parent_counts)
{
    put_proc("0::/top/parent/child\n", OTHERS V2_MOUNT);
    put("/sys/fs/cgroup/top/cpu.max", "800000 100000\n");
    put("/sys/fs/cgroup/top/parent/cpu.max", "200000 100000\n");
    put("/sys/fs/cgroup/top/parent/child/cpu.max", "max 100000\n");
    cr_assert_eq(cpus_at(16), 2u);
    cr_assert_eq(cpus_at(1), 1u);
}

Test(cpu, v2_own_quota_counts_too_and_siblings_do_not)
{
    put_proc("0::/parent/child\n", V2_MOUNT);
    put("/sys/fs/cgroup/parent/cpu.max", "800000 100000\n");
    put("/sys/fs/cgroup/parent/child/cpu.max", "300000 100000\n");
    put("/sys/fs/cgroup/parent/sibling/cpu.max", "100000 100000\n");
    cr_assert_eq(cpus_at(16), 3u);
}

Test(cpu, v2_max_everywhere_is_no_limit)
{
    put_proc("0::/a/b\n", V2_MOUNT);
    put("/sys/fs/cgroup/a/cpu.max", "max 100000\n");
    put("/sys/fs/cgroup/a/b/cpu.max", "max 100000\n");
    cr_assert_eq(cpus_at(5), 5u);
}

Test(cpu, quotas_are_rounded_up)
{
    put_proc("0::/a\n", V2_MOUNT);
    put("/sys/fs/cgroup/a/cpu.max", "50000 100000\n");
    cr_assert_eq(cpus_at(8), 1u);
    put("/sys/fs/cgroup/a/cpu.max", "150000 100000\n");
    cr_assert_eq(cpus_at(8), 2u);
    put("/sys/fs/cgroup/a/cpu.max", "1000 1000000\n");
    cr_assert_eq(cpus_at(8), 1u);
}

Test(cpu, v1_minus_one_is_no_limit)
{
    put_proc("4:cpu,cpuacct:/a\n3:cpuset:/x\n", OTHERS V1_MOUNT);
    put_v1("", "-1\n");
    put_v1("/a", "-1\n");
    cr_assert_eq(cpus_at(6), 6u);
}

Test(cpu, v1_quota_of_the_parent_counts)
{
    put_proc("9:name=systemd:/q\n4:cpu,cpuacct:/parent/child\n", OTHERS V1_MOUNT);
    put_v1("/parent", "200000\n");
    put_v1("/parent/child", "-1\n");
    cr_assert_eq(cpus_at(16), 2u);
}

Test(cpu, v1_quota_without_its_period_is_no_limit)
{
    put_proc("4:cpu,cpuacct:/a\n", V1_MOUNT);
    put("/sys/fs/cgroup/cpu,cpuacct/a/cpu.cfs_quota_us", "100000\n");
    cr_assert_eq(cpus_at(6), 6u);
}

Test(cpu, v1_and_v2_at_once_the_least_counts)
{
    put_proc("4:cpu,cpuacct:/a\n0::/b\n",
             V1_MOUNT "41 31 0:38 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n");
    put_v1("/a", "400000\n");
    put("/sys/fs/cgroup/unified/b/cpu.max", "300000 100000\n");
    cr_assert_eq(cpus_at(16), 3u);
    put_v1("/a", "200000\n");
    cr_assert_eq(cpus_at(16), 2u);
}

Test(cpu, in_a_container_our_group_is_the_mount_point)
{
    put_proc(
        "4:cpu,cpuacct:/docker/abc\n",
        "32 31 0:29 /docker/abc /sys/fs/cgroup/cpu,cpuacct ro - cgroup cgroup rw,cpu,cpuacct\n");
    put_v1("", "200000\n");
    cr_assert_eq(cpus_at(16), 2u);
}

Test(cpu, in_a_container_groups_below_the_mounted_one_count)
{
    put_proc(
        "4:cpu,cpuacct:/docker/abc/job\n",
        "32 31 0:29 /docker/abc /sys/fs/cgroup/cpu,cpuacct ro - cgroup cgroup rw,cpu,cpuacct\n");
    put_v1("", "400000\n");
    put_v1("/job", "300000\n");
    cr_assert_eq(cpus_at(16), 3u);
}

Test(cpu, a_path_outside_of_the_mount_means_the_mount_point)
{
    put_proc("0::/../other\n", V2_MOUNT);
    put("/sys/fs/cgroup/cpu.max", "200000 100000\n");
    cr_assert_eq(cpus_at(16), 2u);
    put_proc("0::/elsewhere\n", "30 23 0:26 /docker/abc /sys/fs/cgroup ro - cgroup2 cgroup2 rw\n");
    cr_assert_eq(cpus_at(16), 2u);
    /* A name that only begins like the mounted group is outside too. */
    put_proc("0::/docker/abcdef\n",
             "30 23 0:26 /docker/abc /sys/fs/cgroup ro - cgroup2 cgroup2 rw\n");
    cr_assert_eq(cpus_at(16), 2u);
}

Test(cpu, a_path_that_the_mount_does_not_show_falls_back_to_the_mount_point)
{
    put_proc("0::/docker/abc\n", V2_MOUNT);
    put("/sys/fs/cgroup/cpu.max", "200000 100000\n");
    cr_assert_eq(cpus_at(16), 2u);
}

Test(cpu, a_mount_that_shows_our_group_beats_one_that_does_not)
{
    put_proc("0::/mine\n", "30 23 0:26 /other /mnt/other rw - cgroup2 cgroup2 rw\n" V2_MOUNT);
    put("/mnt/other/cpu.max", "100000 100000\n");
    put("/sys/fs/cgroup/mine/cpu.max", "400000 100000\n");
    cr_assert_eq(cpus_at(16), 4u);
}

Test(cpu, blanks_in_a_mount_point_are_decoded)
{
    put_proc("0::/a\n", "30 23 0:26 / /mnt/c\\040groups rw - cgroup2 cgroup2 rw\n");
    put("/mnt/c groups/a/cpu.max", "200000 100000\n");
    cr_assert_eq(cpus_at(16), 2u);
}

Test(cpu, nonsense_is_no_limit)
{
    put_proc("garbage\n0:\n0::\n0::/a", "\n- \n - cgroup2\nx - cgroup2 a b\n" V2_MOUNT);
    put("/sys/fs/cgroup/a/cpu.max", "lots and lots\n");
    put("/sys/fs/cgroup/cpu.max", "");
    cr_assert_eq(cpus_at(3), 3u);
}

/* ---- throttling ---- */

Test(cpu, v2_throttled_periods_of_all_groups_with_a_quota_add_up)
{
    put_proc("0::/top/parent/child\n", OTHERS V2_MOUNT);
    put("/sys/fs/cgroup/top/cpu.max", "800000 100000\n");
    put("/sys/fs/cgroup/top/cpu.stat", "usage_usec 5\nnr_periods 100\nnr_throttled 3\n"
                                       "throttled_usec 44\n");
    put("/sys/fs/cgroup/top/parent/cpu.max", "max 100000\n");
    put("/sys/fs/cgroup/top/parent/cpu.stat", "nr_throttled 1000\n");
    put("/sys/fs/cgroup/top/parent/child/cpu.max", "200000 100000\n");
    put("/sys/fs/cgroup/top/parent/child/cpu.stat", "nr_periods 7\nnr_throttled 5\n");
    cr_assert_eq(limits_at(16).throttled, 8u);
    put("/sys/fs/cgroup/top/parent/child/cpu.stat", "nr_periods 8\nnr_throttled 6\n");
    cr_assert_eq(limits_at(16).throttled, 9u);
}

Test(cpu, v1_throttled_periods_count_too)
{
    put_proc("4:cpu,cpuacct:/a\n", OTHERS V1_MOUNT);
    put_v1("/a", "150000\n");
    put("/sys/fs/cgroup/cpu,cpuacct/a/cpu.stat", "nr_periods 9\nnr_throttled 4\n"
                                                 "throttled_time 1\n");
    cr_assert_eq(limits_at(16).throttled, 4u);
    cr_assert_eq(limits_at(16).cpus, 2u);
}

Test(cpu, without_the_file_or_the_line_nothing_is_throttled)
{
    put_proc("0::/a\n", V2_MOUNT);
    put("/sys/fs/cgroup/a/cpu.max", "100000 100000\n");
    cr_assert_eq(limits_at(16).throttled, 0u);
    put("/sys/fs/cgroup/a/cpu.stat", "usage_usec 5\nnr_throttled lots\n");
    cr_assert_eq(limits_at(16).throttled, 0u);
}

Test(cpu, spinning_stops_while_periods_are_throttled_and_begins_again)
{
    struct filch__throttle throttle = {0};
    filch_time t = 100 * FILCH_SECOND;

    filch__throttle_note(&throttle, 70, t); /* what was before us */
    cr_assert(!filch__throttle_is_on(&throttle, t));
    filch__throttle_note(&throttle, 70, t += FILCH_SECOND);
    cr_assert(!filch__throttle_is_on(&throttle, t));
    filch__throttle_note(&throttle, 71, t += FILCH_SECOND);
    cr_assert(filch__throttle_is_on(&throttle, t));
    filch__throttle_note(&throttle, 71, t += FILCH_SECOND);
    cr_assert(filch__throttle_is_on(&throttle, t));
    cr_assert(!filch__throttle_is_on(&throttle, t + 10 * FILCH_SECOND));
    filch__throttle_note(&throttle, 60, t += FILCH_SECOND); /* moved to another group */
    filch__throttle_note(&throttle, 60, t += 10 * FILCH_SECOND);
    cr_assert(!filch__throttle_is_on(&throttle, t));
    filch__throttle_note(&throttle, 61, t += FILCH_SECOND);
    cr_assert(filch__throttle_is_on(&throttle, t));
}
