/* What the tables of operations share: what a case works on, and the situations that it is put in.
 *
 * A case is a function that does one thing in one situation and returns what the operation said; or
 * -1, if something else is wrong. The tables are in files by kind of object. */
#ifndef FILCH_TESTS_CONFORMANCE_H
#define FILCH_TESTS_CONFORMANCE_H

#include "tests/runner/tcp_pair.h"

#define SHORT_LIMIT filch_after(2 * FILCH_MILLISECOND)
#define MANY ((size_t)32 << 20) /* more than two sockets hold */

/* What a case works on, made anew for each. */
struct place {
    struct tcp_pair pair;
    char dir[32];
    char path[64]; /* in it; holds "0123456789" */
    char none[64]; /* in it; there is no such file */
};

struct conformance_case {
    const char *name;
    long (*run)(struct place *p);
    long want;
};

#define CASE(fn, want)                                                                             \
    {                                                                                              \
#fn, fn, want                                                                              \
    }

/* Each ends with a case without a name. */
extern const struct conformance_case stream_cases[];
extern const struct conformance_case accept_cases[];
extern const struct conformance_case file_cases[];
extern const struct conformance_case local_cases[];
extern const struct conformance_case udp_cases[];
extern const struct conformance_case huge_cases[];
extern const struct conformance_case reader_cases[];
extern const struct conformance_case move_cases[];
extern const struct conformance_case file_call_cases[];
extern const struct conformance_case system_cases[];

/* Ends the client's side with a reset. */
void reset_by_client(struct place *p);

void client_writes(struct place *p, const char *text);

/* Until the task that was spawned, which has no name, waits, or has ended. */
void let_it_wait(void);

/* Runs @fn as a task that is cancelled when it waits, and that is most often. */
long cancelled_meanwhile(filch_fn fn, void *arg);

/* Runs @fn in a task that was cancelled before. */
long cancelled_before(filch_fn fn, void *arg);

/* Runs @fn, which does not suspend for long, while no descriptor is to be had. */
long without_descriptors(filch_fn fn, void *arg);

/* Finds out which opcodes the library asks for at its start. Return: how many. */
unsigned learn_opcodes(void);

/* From now on rings know only those. */
void restrict_rings(void);

#endif
