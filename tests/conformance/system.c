/* What is not a socket and not a file: other descriptors, changes of files, names, programs,
 * signals, and standard input: see conformance.h. */
#include <fcntl.h>
#include <signal.h>
#include <unistd.h>

#include <filch/dns.h>
#include <filch/fd.h>
#include <filch/file_watch.h>
#include <filch/process.h>
#include <filch/signal.h>

#include "tests/conformance/conformance.h"
#include "tests/runner/gate.h"

/* ---- handles of other descriptors ---- */

struct ends {
    int raw[2]; /* of a pipe */
    filch_fd *fd;
};

static struct ends open_ends(void)
{
    struct ends ends;

    T_OK(pipe2(ends.raw, O_CLOEXEC | O_NONBLOCK));
    T_OK(filch_fd_borrow(ends.raw[0], &ends.fd));
    return ends;
}

/* Return: @r. */
static long close_ends(struct ends *ends, long r)
{
    T_OK(filch_fd_close(ends->fd));
    close(ends->raw[0]);
    close(ends->raw[1]);
    return r;
}

static int wait_readable(void *arg)
{
    struct ends *ends = arg;

    return filch_fd_wait(ends->fd, FILCH_FD_READABLE, NULL, FILCH_NEVER);
}

static long fd_ok(struct place *p)
{
    struct ends ends = open_ends();
    unsigned events = 0;

    (void)p;
    T_IS(filch_fd_wait(ends.fd, FILCH_FD_READABLE, NULL, FILCH_NOW), -ETIMEDOUT);
    T_IS(write(ends.raw[1], "x", 1), 1);
    T_OK(filch_fd_wait(ends.fd, FILCH_FD_READABLE, &events, FILCH_NOW));
    return close_ends(&ends, events);
}

static long fd_that_waits(struct place *p)
{
    struct ends ends = open_ends();
    filch_task *task = spawn(wait_readable, &ends);

    (void)p;
    let_it_wait();
    T_IS(write(ends.raw[1], "x", 1), 1);
    return close_ends(&ends, join(task));
}

static long fd_hung_up(struct place *p)
{
    struct ends ends = open_ends();
    unsigned events = 0;

    (void)p;
    close(ends.raw[1]);
    ends.raw[1] = -1;
    T_OK(filch_fd_wait(ends.fd, FILCH_FD_READABLE, &events, T_LIMIT));
    return close_ends(&ends, events & FILCH_FD_HANGUP);
}

static long fd_times_out(struct place *p)
{
    struct ends ends = open_ends();

    (void)p;
    return close_ends(&ends, filch_fd_wait(ends.fd, FILCH_FD_READABLE, NULL, SHORT_LIMIT));
}

static long fd_wait_cancelled(struct place *p)
{
    struct ends ends = open_ends();

    (void)p;
    return close_ends(&ends, cancelled_meanwhile(wait_readable, &ends));
}

static long fd_cancelled_before(struct place *p)
{
    struct ends ends = open_ends();

    (void)p;
    return close_ends(&ends, cancelled_before(wait_readable, &ends));
}

static long fd_closed_handle(struct place *p)
{
    struct ends ends = open_ends();
    long r;

    (void)p;
    T_OK(filch_fd_close(ends.fd));
    r = wait_readable(&ends);
    ends.fd = NULL;
    return close_ends(&ends, r);
}

static long fd_while_closed(struct place *p)
{
    struct ends ends = open_ends();
    filch_task *task = spawn(wait_readable, &ends);
    long r;

    (void)p;
    let_it_wait();
    T_OK(filch_fd_close(ends.fd));
    r = join(task);
    ends.fd = NULL;
    return close_ends(&ends, r);
}

static long fd_without_events(struct place *p)
{
    struct ends ends = open_ends();

    (void)p;
    return close_ends(&ends, filch_fd_wait(ends.fd, 0, NULL, T_LIMIT));
}

static long fd_of_a_file(struct place *p)
{
    int fd = open(p->path, O_RDONLY | O_CLOEXEC);
    filch_fd *handle;
    long r = filch_fd_borrow(fd, &handle);

    close(fd);
    return r;
}

/* ---- changes of files ---- */

static filch_file_watch *open_watch(struct place *p)
{
    filch_file_watch *watch;
    int number;

    T_OK(filch_file_watch_open(&watch));
    T_OK(filch_file_watch_add(watch, p->dir, FILCH_CHANGE_ANY, &number, T_LIMIT));
    return watch;
}

/* Return: @r. */
static long close_watch(filch_file_watch *watch, long r)
{
    T_OK(filch_file_watch_close(watch));
    return r;
}

static int next_change(void *watch)
{
    filch_file_change change;
    int r = filch_file_watch_next(watch, &change, FILCH_NEVER);

    return r == 0 ? (int)change.what : r;
}

static long watch_ok(struct place *p)
{
    filch_file_watch *watch = open_watch(p);
    filch_task *task = spawn(next_change, watch);

    let_it_wait();
    T_OK(unlink(p->path));
    return close_watch(watch, join(task));
}

static long watch_nothing_there(struct place *p)
{
    filch_file_watch *watch = open_watch(p);
    filch_file_change change;

    return close_watch(watch, filch_file_watch_next(watch, &change, FILCH_NOW));
}

static long watch_times_out(struct place *p)
{
    filch_file_watch *watch = open_watch(p);
    filch_file_change change;
    long r = filch_file_watch_next(watch, &change, SHORT_LIMIT);

    T_OK(unlink(p->path));
    T_IS(next_change(watch), FILCH_CHANGE_REMOVED); /* and nothing was lost */
    return close_watch(watch, r);
}

static long watch_cancelled(struct place *p)
{
    filch_file_watch *watch = open_watch(p);
    long r = cancelled_meanwhile(next_change, watch);

    T_OK(unlink(p->path));
    T_IS(next_change(watch), FILCH_CHANGE_REMOVED);
    return close_watch(watch, r);
}

static long watch_cancelled_before(struct place *p)
{
    filch_file_watch *watch = open_watch(p);

    return close_watch(watch, cancelled_before(next_change, watch));
}

static long watch_closed_handle(struct place *p)
{
    filch_file_watch *watch = open_watch(p);

    T_OK(filch_file_watch_close(watch));
    return next_change(watch);
}

static long watch_while_closed(struct place *p)
{
    filch_file_watch *watch = open_watch(p);
    filch_task *task = spawn(next_change, watch);

    let_it_wait();
    T_OK(filch_file_watch_close(watch));
    return join(task);
}

static int open_no_watch(void *arg)
{
    filch_file_watch *watch;
    int r = filch_file_watch_open(&watch);

    (void)arg;
    if (r == 0)
        T_OK(filch_file_watch_close(watch));
    return r;
}

static long watch_beyond_the_limit(struct place *p)
{
    return without_descriptors(open_no_watch, p);
}

static long watch_of_nothing(struct place *p)
{
    filch_file_watch *watch = open_watch(p);
    int number;

    T_IS(filch_file_watch_add(watch, p->path, 0, &number, T_LIMIT), -EINVAL);
    T_IS(filch_file_watch_remove(watch, 12345), -EINVAL);
    return close_watch(watch,
                       filch_file_watch_add(watch, p->none, FILCH_CHANGE_ANY, &number, T_LIMIT));
}

/* ---- names ---- */

static struct gate gate = GATE_INIT; /* lookups of "slow" wait there, until the case ends */

static int look_up(void *context, const char *host, enum filch_dns_family family,
                   filch_dns_addrs *ret_addrs)
{
    (void)context;
    (void)family;
    if (strcmp(host, "slow") == 0)
        (void)pass_gate(&gate);
    if (strcmp(host, "none") == 0)
        return -ENOENT;
    if (strcmp(host, "down") == 0)
        return -EHOSTDOWN;
    strcpy(ret_addrs->text[ret_addrs->count++], "127.0.0.1");
    return 0;
}

struct asking {
    filch_resolver *resolver;
    const char *host;
};

static struct asking open_resolver(const char *host)
{
    struct asking asking = {.host = host};

    shut_gate(&gate);
    T_OK(filch_resolver_new(filch_runtime_self(), &(filch_resolver_opts){.lookup = look_up},
                            &asking.resolver));
    return asking;
}

/* Return: @r. */
static long close_resolver(struct asking *asking, long r)
{
    open_gate(&gate); /* one that begins only now waits for the next case to end */
    filch_resolver_free(asking->resolver);
    return r;
}

static int ask(struct asking *asking, filch_time until)
{
    filch_dns_addrs addrs;
    int r = filch_dns_lookup(asking->resolver, asking->host, 80, FILCH_DNS_ANY, &addrs, until);

    return r == 0 ? (int)addrs.count : r;
}

static int ask_for_ever(void *arg)
{
    return ask(arg, FILCH_NEVER);
}

static long ask_once(const char *host, filch_time until)
{
    struct asking asking = open_resolver(host);

    return close_resolver(&asking, ask(&asking, until));
}

static long name_ok(struct place *p)
{
    (void)p;
    return ask_once("some.host", T_LIMIT);
}

static long name_of_nobody(struct place *p)
{
    (void)p;
    return ask_once("none", T_LIMIT);
}

static long name_that_nobody_can_tell(struct place *p)
{
    (void)p;
    return ask_once("down", T_LIMIT);
}

static long name_now(struct place *p)
{
    (void)p;
    return ask_once("slow", FILCH_NOW);
}

static long name_times_out(struct place *p)
{
    (void)p;
    return ask_once("slow", SHORT_LIMIT);
}

static long name_cancelled(struct place *p)
{
    struct asking asking = open_resolver("slow");

    (void)p;
    return close_resolver(&asking, cancelled_meanwhile(ask_for_ever, &asking));
}

static long name_cancelled_before(struct place *p)
{
    struct asking asking = open_resolver("slow");

    (void)p;
    return close_resolver(&asking, cancelled_before(ask_for_ever, &asking));
}

static long name_of_no_letters(struct place *p)
{
    (void)p;
    return ask_once("", T_LIMIT);
}

static long name_too_long(struct place *p)
{
    char host[300] = {0};

    (void)p;
    memset(host, 'x', sizeof host - 1);
    return ask_once(host, T_LIMIT);
}

/* To the listener's port. */
static long connect_by_name(struct place *p, const char *host)
{
    struct asking asking = open_resolver(host);
    filch_connect_host_opts opts = {.resolver = asking.resolver};
    filch_tcp *conn;
    unsigned port = (unsigned)strtoul(strrchr(p->pair.addr, ':') + 1, NULL, 10);
    int r = filch_tcp_connect_host(host, (uint16_t)port, &opts, &conn, T_LIMIT);

    if (r == 0)
        T_OK(filch_tcp_close(conn));
    return close_resolver(&asking, r);
}

static long host_ok(struct place *p)
{
    return connect_by_name(p, "some.host");
}

static long host_of_nobody(struct place *p)
{
    return connect_by_name(p, "none");
}

static long host_refused(struct place *p)
{
    T_OK(filch_listener_close(p->pair.listener));
    p->pair.listener = NULL;
    return connect_by_name(p, "some.host");
}

/* ---- programs ---- */

static const char *const true_argv[] = {"true", NULL};
static const char *const cat_argv[] = {"cat", NULL};

/* One that ends when it is killed, or its input is closed. */
struct running {
    filch_process *process;
    filch_file *in;
};

static struct running start_cat(void)
{
    struct running running;
    filch_process_opts opts = {
        .in = {.kind = FILCH_STDIO_PIPE, .ret_pipe = &running.in},
        .out = {.kind = FILCH_STDIO_NULL},
        .flags = FILCH_PROCESS_KILL_ON_CLOSE,
    };

    T_OK(filch_process_spawn(cat_argv, &opts, &running.process, T_LIMIT));
    return running;
}

/* Return: @r. */
static long end_cat(struct running *running, long r)
{
    T_OK(filch_file_close(running->in));
    T_OK(filch_process_close(running->process));
    return r;
}

static int wait_for_end(void *arg)
{
    struct running *running = arg;
    filch_process_status status;
    int r = filch_process_wait(running->process, &status, FILCH_NEVER);

    return r == 0 ? status.signal : r;
}

static long program_ok(struct place *p)
{
    filch_process_status status;
    filch_process *process;

    (void)p;
    T_OK(filch_process_spawn(true_argv, NULL, &process, T_LIMIT));
    T_OK(filch_process_wait(process, &status, T_LIMIT));
    T_OK(filch_process_wait(process, &status, T_LIMIT)); /* it is kept */
    T_OK(filch_process_close(process));
    return status.code;
}

static long program_killed(struct place *p)
{
    struct running running = start_cat();
    filch_task *task = spawn(wait_for_end, &running);

    (void)p;
    let_it_wait();
    T_OK(filch_process_kill(running.process, SIGKILL));
    return end_cat(&running, join(task));
}

static long program_times_out(struct place *p)
{
    struct running running = start_cat();
    filch_process_status status;

    (void)p;
    return end_cat(&running, filch_process_wait(running.process, &status, SHORT_LIMIT));
}

static long program_now(struct place *p)
{
    struct running running = start_cat();
    filch_process_status status;

    (void)p;
    return end_cat(&running, filch_process_wait(running.process, &status, FILCH_NOW));
}

static long program_cancelled(struct place *p)
{
    struct running running = start_cat();

    (void)p;
    return end_cat(&running, cancelled_meanwhile(wait_for_end, &running));
}

static long program_cancelled_before(struct place *p)
{
    struct running running = start_cat();

    (void)p;
    return end_cat(&running, cancelled_before(wait_for_end, &running));
}

static long program_while_closed(struct place *p)
{
    struct running running = start_cat();
    filch_task *task = spawn(wait_for_end, &running);

    (void)p;
    let_it_wait();
    T_OK(filch_process_close(running.process));
    T_OK(filch_file_close(running.in));
    return join(task);
}

static long program_closed_handle(struct place *p)
{
    struct running running = start_cat();

    (void)p;
    (void)end_cat(&running, 0);
    return wait_for_end(&running);
}

static long program_of_nothing(struct place *p)
{
    const char *const argv[] = {p->none, NULL};
    filch_process *process;

    return filch_process_spawn(argv, NULL, &process, T_LIMIT);
}

static long program_that_is_none(struct place *p)
{
    const char *const argv[] = {p->path, NULL};
    filch_process *process;

    return filch_process_spawn(argv, NULL, &process, T_LIMIT);
}

static int spawn_one(void *arg)
{
    filch_process *process;

    (void)arg;
    return filch_process_spawn(true_argv, NULL, &process, T_LIMIT);
}

static long program_beyond_the_limit(struct place *p)
{
    return without_descriptors(spawn_one, p);
}

static long program_of_no_arguments(struct place *p)
{
    const char *const argv[] = {NULL};
    filch_process *process;

    (void)p;
    return filch_process_spawn(argv, NULL, &process, T_LIMIT);
}

static long run_ok(struct place *p)
{
    filch_process_run_opts opts = {.input = "abc", .input_bytes = 3};
    filch_process_output output;

    (void)p;
    T_OK(filch_process_run(cat_argv, &opts, &output, T_LIMIT));
    T_OK(strcmp(output.out, "abc"));
    free(output.out);
    free(output.err);
    return (long)output.out_bytes;
}

static long run_of_too_much(struct place *p)
{
    filch_process_run_opts opts = {.input = "abc", .input_bytes = 3, .output_max = 2};
    filch_process_output output;

    (void)p;
    return filch_process_run(cat_argv, &opts, &output, T_LIMIT);
}

/* ---- signals ---- */

static filch_signal *open_signal(void)
{
    filch_signal *signal;

    T_OK(filch_signal_open(SIGUSR2, &signal));
    return signal;
}

/* Return: @r. */
static long close_signal(filch_signal *signal, long r)
{
    filch_signal_close(signal);
    return r;
}

static int wait_for_signal(void *signal)
{
    int number = 0, r = filch_signal_wait(signal, &number, FILCH_NEVER);

    return r == 0 ? number : r;
}

static long signal_ok(struct place *p)
{
    filch_signal *signal = open_signal();
    filch_task *task = spawn(wait_for_signal, signal);

    (void)p;
    let_it_wait();
    T_OK(kill(getpid(), SIGUSR2));
    return close_signal(signal, join(task));
}

static long signal_now(struct place *p)
{
    filch_signal *signal = open_signal();
    int number;

    (void)p;
    return close_signal(signal, filch_signal_wait(signal, &number, FILCH_NOW));
}

static long signal_times_out(struct place *p)
{
    filch_signal *signal = open_signal();
    int number;

    (void)p;
    return close_signal(signal, filch_signal_wait(signal, &number, SHORT_LIMIT));
}

static long signal_cancelled(struct place *p)
{
    filch_signal *signal = open_signal();
    long r = cancelled_meanwhile(wait_for_signal, signal);

    (void)p;
    T_OK(kill(getpid(), SIGUSR2));
    T_IS(wait_for_signal(signal), SIGUSR2);
    return close_signal(signal, r);
}

static long signal_cancelled_before(struct place *p)
{
    filch_signal *signal = open_signal();

    (void)p;
    return close_signal(signal, cancelled_before(wait_for_signal, signal));
}

static long signal_that_cannot_be(struct place *p)
{
    filch_signal *signal;

    (void)p;
    return filch_signal_open(SIGKILL, &signal);
}

/* ---- standard input ---- */

/* A pipe in place of it. */
struct input {
    int before, writer;
    filch_file *file;
};

static struct input open_input(void)
{
    struct input input;
    int ends[2];

    T_OK(pipe2(ends, O_CLOEXEC));
    input.before = dup(STDIN_FILENO);
    T_IS(dup2(ends[0], STDIN_FILENO), STDIN_FILENO);
    T_OK(close(ends[0]));
    input.writer = ends[1];
    T_OK(filch_file_stdio(STDIN_FILENO, &input.file));
    return input;
}

/* Return: @r. */
static long close_input(struct input *input, long r)
{
    T_OK(filch_file_close(input->file));
    if (input->before >= 0) {
        T_IS(dup2(input->before, STDIN_FILENO), STDIN_FILENO);
        T_OK(close(input->before));
    } else {
        T_OK(close(STDIN_FILENO));
    }
    T_OK(close(input->writer));
    return r;
}

static int read_input(void *arg)
{
    struct input *input = arg;
    char buf[8];

    return (int)filch_file_read(input->file, buf, sizeof buf, FILCH_NEVER);
}

static long input_ok(struct place *p)
{
    struct input input = open_input();
    filch_task *task = spawn(read_input, &input);

    (void)p;
    let_it_wait();
    T_IS(write(input.writer, "abc", 3), 3);
    return close_input(&input, join(task));
}

static long input_nothing_there(struct place *p)
{
    struct input input = open_input();
    char byte;

    (void)p;
    return close_input(&input, filch_file_read(input.file, &byte, 1, FILCH_NOW));
}

static long input_times_out(struct place *p)
{
    struct input input = open_input();
    char byte;

    (void)p;
    return close_input(&input, filch_file_read(input.file, &byte, 1, SHORT_LIMIT));
}

static long input_cancelled(struct place *p)
{
    struct input input = open_input();
    long r = cancelled_meanwhile(read_input, &input);

    (void)p;
    T_IS(write(input.writer, "abc", 3), 3);
    T_IS(read_input(&input), 3);
    return close_input(&input, r);
}

static long input_cancelled_before(struct place *p)
{
    struct input input = open_input();

    (void)p;
    return close_input(&input, cancelled_before(read_input, &input));
}

static long input_of_another_number(struct place *p)
{
    filch_file *file;

    (void)p;
    return filch_file_stdio(3, &file);
}

const struct conformance_case system_cases[] = {
    CASE(fd_ok, FILCH_FD_READABLE),
    CASE(fd_that_waits, 0),
    CASE(fd_hung_up, FILCH_FD_HANGUP),
    CASE(fd_times_out, -ETIMEDOUT),
    CASE(fd_wait_cancelled, -ECANCELED),
    CASE(fd_cancelled_before, -ECANCELED),
    CASE(fd_closed_handle, -EBADF),
    CASE(fd_while_closed, -ECANCELED),
    CASE(fd_without_events, -EINVAL),
    CASE(fd_of_a_file, -EPERM),
    CASE(watch_ok, FILCH_CHANGE_REMOVED),
    CASE(watch_nothing_there, -ETIMEDOUT),
    CASE(watch_times_out, -ETIMEDOUT),
    CASE(watch_cancelled, -ECANCELED),
    CASE(watch_cancelled_before, -ECANCELED),
    CASE(watch_closed_handle, -EBADF),
    CASE(watch_while_closed, -ECANCELED),
    CASE(watch_beyond_the_limit, -EMFILE),
    CASE(watch_of_nothing, -ENOENT),
    CASE(name_ok, 1),
    CASE(name_of_nobody, -ENOENT),
    CASE(name_that_nobody_can_tell, -EHOSTDOWN),
    CASE(name_now, -ETIMEDOUT),
    CASE(name_times_out, -ETIMEDOUT),
    CASE(name_cancelled, -ECANCELED),
    CASE(name_cancelled_before, -ECANCELED),
    CASE(name_of_no_letters, -EINVAL),
    CASE(name_too_long, -ENAMETOOLONG),
    CASE(host_ok, 0),
    CASE(host_of_nobody, -ENOENT),
    CASE(host_refused, -ECONNREFUSED),
    CASE(program_ok, 0),
    CASE(program_killed, SIGKILL),
    CASE(program_times_out, -ETIMEDOUT),
    CASE(program_now, -ETIMEDOUT),
    CASE(program_cancelled, -ECANCELED),
    CASE(program_cancelled_before, -ECANCELED),
    CASE(program_while_closed, -ECANCELED),
    CASE(program_closed_handle, -EBADF),
    CASE(program_of_nothing, -ENOENT),
    CASE(program_that_is_none, -EACCES),
    CASE(program_beyond_the_limit, -EMFILE),
    CASE(program_of_no_arguments, -EINVAL),
    CASE(run_ok, 3),
    CASE(run_of_too_much, -EFBIG),
    CASE(signal_ok, SIGUSR2),
    CASE(signal_now, -ETIMEDOUT),
    CASE(signal_times_out, -ETIMEDOUT),
    CASE(signal_cancelled, -ECANCELED),
    CASE(signal_cancelled_before, -ECANCELED),
    CASE(signal_that_cannot_be, -EINVAL),
    CASE(input_ok, 3),
    CASE(input_nothing_there, -ETIMEDOUT),
    CASE(input_times_out, -ETIMEDOUT),
    CASE(input_cancelled, -ECANCELED),
    CASE(input_cancelled_before, -ECANCELED),
    CASE(input_of_another_number, -EINVAL),
    {0},
};
