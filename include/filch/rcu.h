/* Read-copy-update: data that many read and few replace.
 *
 *     filch_rcu_read_begin();
 *     struct config *c = filch_rcu_load(&config);     -- stays valid up to read_end
 *     ... use c, without suspending ...
 *     filch_rcu_read_end();
 *
 *     struct config *old = filch_rcu_exchange(&config, new);
 *     filch_rcu_synchronize();                        -- everybody who could see old has ended
 *     free(old);
 *
 * A read section takes no lock and is never delayed. It must not suspend (park, yield, join, end of
 * the task, the poll of a future): that aborts with a message, in release builds too. Sections
 * nest.
 *
 * Readers are tasks and futures, anywhere; and plain threads, blocking jobs among them, between
 * filch_rcu_thread_register() and filch_rcu_thread_unregister(). A section elsewhere aborts: such a
 * thread would never say that it is done. A thread that is registered must say so often: by
 * filch_rcu_quiescent(), or by being offline while it blocks. Workers do it by themselves; only a
 * task that computes for long should call filch_rcu_quiescent() now and then.
 *
 * All runtimes of the process share one RCU. It uses liburcu's QSBR flavour: a thread that the
 * runtime made must not be registered there by hand. In the child of a fork the calls that wait or
 * free give -ECHILD, in runtimes that the child starts as well.
 */
#ifndef FILCH_RCU_H
#define FILCH_RCU_H

#include <filch/base.h>

FILCH_BEGIN_DECLS

/* In the structure that is to be freed later. The fields are private. */
typedef struct filch_rcu_head {
    struct filch_rcu_head *next;
    void (*fn)(struct filch_rcu_head *head);
} filch_rcu_head;

/* Private: filch__rcu_count, the thread's count of sections, is negative in a thread that may not
 * read. Reached by assembly, since compilers keep the address of a thread-local variable while a
 * task moves to another thread; where it lies from the thread pointer is the same in all threads,
 * comes from the linker, and may be kept. */
FILCH_API __attribute__((noreturn, cold)) void filch__rcu_refuse(void);

static inline intptr_t filch__rcu_offset(void)
{
    intptr_t offset;

#if defined(__x86_64__)
    __asm__("movq filch__rcu_count@gottpoff(%%rip), %0" : "=r"(offset));
#elif defined(__aarch64__)
    __asm__("adrp %0, :gottprel:filch__rcu_count\n\t"
            "ldr %0, [%0, #:gottprel_lo12:filch__rcu_count]"
            : "=r"(offset));
#else
#error "filch runs on x86-64 and aarch64"
#endif
    return offset;
}

/* Return: is the count negative now? */
static inline bool filch__rcu_add(int n)
{
#if defined(__x86_64__)
    bool negative;

    __asm__ volatile("addl %1, %%fs:(%2)"
                     : "=@ccs"(negative)
                     : "er"(n), "r"(filch__rcu_offset())
                     : "memory");
    return negative;
#elif defined(__aarch64__)
    char *thread;
    int count;

    __asm__ volatile("mrs %0, tpidr_el0" : "=r"(thread) : : "memory");
    count = *(volatile int *)(void *)(thread + filch__rcu_offset()) + n;
    *(volatile int *)(void *)(thread + filch__rcu_offset()) = count;
    __asm__ volatile("" : : : "memory");
    return count < 0;
#endif
}

/**
 * filch_rcu_read_begin() - begin a read section
 *
 * Thread-safety: tasks, futures, registered threads that are online; aborts elsewhere, also within
 * filch_block_in_place().
 * Suspends: no, and nothing may until filch_rcu_read_end().
 */
static inline void filch_rcu_read_begin(void)
{
    if (__builtin_expect(filch__rcu_add(1), 0))
        filch__rcu_refuse();
}

/**
 * filch_rcu_read_end() - end a read section
 *
 * Aborts without a filch_rcu_read_begin(). Thread-safety: as there. Suspends: no.
 */
static inline void filch_rcu_read_end(void)
{
    if (__builtin_expect(filch__rcu_add(-1), 0))
        filch__rcu_refuse();
}

/* The pointer in *@at, of the same type; what it points to is seen as it was when it was stored. */
#define filch_rcu_load(at) __atomic_load_n((at), __ATOMIC_ACQUIRE)

/* Publishes a pointer; readers see what was written before. */
#define filch_rcu_store(at, value) __atomic_store_n((at), (value), __ATOMIC_RELEASE)

/* The same, and gives the one before: each is given to one caller. */
#define filch_rcu_exchange(at, value) __atomic_exchange_n((at), (value), __ATOMIC_ACQ_REL)

/**
 * filch_rcu_synchronize() - wait until all read sections that run now have ended
 *
 * Also waits for callbacks of filch_rcu_call() that were queued before. Aborts inside of a section.
 * Thread-safety: any task or thread; not a future's poll. Suspends: yes, shielded: cancel does not
 * end it. Return: 0; -EDEADLK (in a callback); -ECHILD; -EAGAIN, -ENOMEM (no thread could be made).
 */
FILCH_API FILCH_MUST_CHECK int filch_rcu_synchronize(void);

/**
 * filch_rcu_call() - call a function when all read sections that run now have ended
 * @head: in the object; taken until @fn is called
 * @fn:   called once, in a thread of the library, in the order of the calls. It must not block for
 *        long: others wait behind it. May free the object, and may call filch_rcu_call().
 *
 * What is pending when a runtime shuts down is still called; what is pending when the process ends
 * is not: see filch_rcu_barrier(). Thread-safety: any thread, in sections, too. Suspends: no.
 * Return: 0; -EINVAL (NULL); -ECHILD; -EAGAIN, -ENOMEM (no thread could be made; nothing is taken).
 */
FILCH_API FILCH_MUST_CHECK int filch_rcu_call(filch_rcu_head *head,
                                              void (*fn)(filch_rcu_head *head));

/**
 * filch_rcu_barrier() - wait until all callbacks queued before have returned
 *
 * Thread-safety, errors: as filch_rcu_synchronize(). Suspends: yes, shielded.
 */
FILCH_API FILCH_MUST_CHECK int filch_rcu_barrier(void);

/**
 * filch_rcu_quiescent() - say that the caller is in no read section
 *
 * For tasks that compute for long, and for registered threads. Aborts in a section; does nothing in
 * a thread that may not read. Thread-safety: any thread. Suspends: no.
 */
FILCH_API void filch_rcu_quiescent(void);

/**
 * filch_rcu_thread_register() - let the calling thread read; it is online then
 *
 * Ended by filch_rcu_thread_unregister() in the same thread, before it ends.
 * Thread-safety: plain threads and blocking jobs. Suspends: no.
 * Return: 0; -EPERM (a worker: it is registered); -EALREADY; -ENOMEM.
 */
FILCH_API FILCH_MUST_CHECK int filch_rcu_thread_register(void);

/**
 * filch_rcu_thread_unregister() - the end of filch_rcu_thread_register(); aborts in a section
 *
 * Return: 0; -EPERM (a worker, or not registered).
 */
FILCH_API int filch_rcu_thread_unregister(void);

/**
 * filch_rcu_thread_offline() - let nobody wait for this thread, which is about to block
 *
 * Aborts in a section. Return: 0, also when it was; -EPERM (a worker, or not registered).
 */
FILCH_API int filch_rcu_thread_offline(void);

/**
 * filch_rcu_thread_online() - the end of filch_rcu_thread_offline()
 *
 * Return: 0, also when it was; -EPERM (a worker, or not registered).
 */
FILCH_API int filch_rcu_thread_online(void);

FILCH_END_DECLS

#endif
