/* What the scheduler tells RCU; the design is in rcu.c. */
#ifndef FILCH_RCU_RCU_H
#define FILCH_RCU_RCU_H

#include <filch/rcu.h>

/* What the thread was before it became a worker. */
struct filch__rcu_host {
    bool registered;
    bool online;
};

/* The calling thread becomes a worker, and is what it was again. */
void filch__rcu_sit(struct filch__rcu_host *host);
void filch__rcu_rise(const struct filch__rcu_host *host);

/* Around a worker's sleep. */
void filch__rcu_sleep(void);
void filch__rcu_awake(void);

/* The calling worker is in no section: aborts if it is, and tells who waits for it. */
void filch__rcu_pass(void);

/* Aborts in a section. */
void filch__rcu_check(void);

/* On a worker that is about to switch: aborts in a section, and where the thread is offline. */
void filch__rcu_check_switch(void);

/* Of a thread; reached by assembly wherever a task may have moved. */
extern FILCH_API __thread int filch__rcu_count;

/* Not 0: in a section. For who has something to branch on anyway. */
static inline int filch__rcu_nesting(void)
{
    int count;

#if defined(__x86_64__)
    __asm__ volatile("movl %%fs:(%1), %0" : "=r"(count) : "r"(filch__rcu_offset()));
#else
    char *thread;

    __asm__ volatile("mrs %0, tpidr_el0" : "=r"(thread));
    count = *(volatile int *)(void *)(thread + filch__rcu_offset());
#endif
    return count;
}

#endif
