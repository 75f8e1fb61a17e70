/* Sockets that a service manager has passed to us. See include/filch/inherited.h.
 *
 * One table for the process, filled once. A descriptor is taken out of it before it is adopted, and
 * put back if it is of another sort: so it is given once, whoever asks at the same time.
 */
#include <filch/inherited.h>

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define FIRST_FD 3
/* More a manager does not pass. */
#define FDS_MAX 1024

static struct {
    pthread_mutex_t lock; /* guards the rest */
    bool read;
    int count; /* -errno: the environment makes no sense */
    bool given[FDS_MAX];
    char *names; /* a copy of LISTEN_FDNAMES; NULL: there are none */
} inherited = {.lock = PTHREAD_MUTEX_INITIALIZER};

/* Strict. Return: the number; -EINVAL; -ENOENT (no such variable). */
static long number_of(const char *variable)
{
    const char *text = getenv(variable);
    char *end;
    long value;

    if (!text || !*text)
        return -ENOENT;
    errno = 0;
    value = strtol(text, &end, 10);
    return errno || *end || value < 0 ? -EINVAL : value;
}

static int count_passed(void)
{
    long pid = number_of("LISTEN_PID"), count = number_of("LISTEN_FDS");

    if (pid == -EINVAL || count == -EINVAL || count > FDS_MAX)
        return -EINVAL;
    return pid != (long)getpid() || count < 0 ? 0 : (int)count;
}

static void read_locked(void)
{
    const char *names = getenv("LISTEN_FDNAMES");

    if (inherited.read)
        return;
    inherited.count = count_passed();
    inherited.read = true;
    for (int i = 0; i < inherited.count; i++)
        if (fcntl(FIRST_FD + i, F_SETFD, FD_CLOEXEC) < 0)
            inherited.count = -EINVAL;
    if (inherited.count > 0 && names)
        inherited.names = strdup(names);
}

/* Is the name number @index, of those between colons, @name? */
static bool has_name(int index, const char *name)
{
    const char *at = inherited.names;
    size_t length = strlen(name);

    for (; at && index > 0; index--) {
        at = strchr(at, ':');
        at = at ? at + 1 : NULL;
    }
    return at && strncmp(at, name, length) == 0 && (at[length] == ':' || !at[length]);
}

/* Return: the index of the next one from @from on, which is the caller's now; -ENOENT; -EINVAL. */
static int take(const char *name, int from)
{
    int index = -ENOENT;

    pthread_mutex_lock(&inherited.lock);
    read_locked();
    if (inherited.count < 0)
        index = inherited.count;
    for (int i = from; i < inherited.count && index < 0; i++)
        if (!inherited.given[i] && (!name || has_name(i, name))) {
            inherited.given[i] = true;
            index = i;
        }
    pthread_mutex_unlock(&inherited.lock);
    return index;
}

static void put_back(int index)
{
    pthread_mutex_lock(&inherited.lock);
    inherited.given[index] = false;
    pthread_mutex_unlock(&inherited.lock);
}

int filch_inherited_count(void)
{
    int count;

    pthread_mutex_lock(&inherited.lock);
    read_locked();
    count = inherited.count;
    pthread_mutex_unlock(&inherited.lock);
    return count;
}

int filch_inherited_fd(const char *name, int *ret_fd)
{
    int index;

    if (!ret_fd)
        return -EINVAL;
    index = take(name, 0);
    if (index < 0)
        return index;
    *ret_fd = FIRST_FD + index;
    return 0;
}

/* The first that @adopt takes. */
static int adopt_first(const char *name, int (*adopt)(int, void *), void *ret_handle)
{
    int index = -1, r;

    if (!ret_handle)
        return -EINVAL;
    while ((index = take(name, index + 1)) >= 0) {
        r = adopt(FIRST_FD + index, ret_handle);
        if (r == 0)
            return 0;
        put_back(index);
        if (r == -ENOMEM)
            return r;
    }
    return index;
}

static int adopt_listener(int fd, void *ret_handle)
{
    return filch_listener_adopt(fd, ret_handle);
}

static int adopt_unix_listener(int fd, void *ret_handle)
{
    return filch_unix_listener_adopt(fd, ret_handle);
}

static int adopt_udp(int fd, void *ret_handle)
{
    return filch_udp_adopt(fd, ret_handle);
}

int filch_inherited_listener(const char *name, filch_listener **ret_listener)
{
    return adopt_first(name, adopt_listener, ret_listener);
}

int filch_inherited_unix_listener(const char *name, filch_unix_listener **ret_listener)
{
    return adopt_first(name, adopt_unix_listener, ret_listener);
}

int filch_inherited_udp(const char *name, filch_udp **ret_udp)
{
    return adopt_first(name, adopt_udp, ret_udp);
}
