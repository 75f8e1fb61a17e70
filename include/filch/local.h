/* Task-locals and deferred calls: what belongs to one task and ends with it.
 *
 *     static filch_local request_key = FILCH_LOCAL_INIT(request_free);
 *
 *     filch_local_set(&request_key, request);         -- in a task: freed when its body returns
 *     struct request *r = filch_local_get(&request_key);
 *
 * "Task" is here whatever has a handle: a task, a spawned future (in its poll and drop), a blocking
 * job. A plain thread has no locals: set and defer refuse (-EPERM), get finds nothing. A future
 * that is awaited, not spawned, uses those of the task that awaits it.
 *
 * What is to follow a request down its tree of tasks (an id, a trace, a user) is inherited:
 *
 *     static filch_local trace_key = FILCH_LOCAL_INHERITED_INIT(trace_unref, trace_ref);
 *
 * A task that is spawned into a scope begins with what the function makes of its spawner's value at
 * that moment: another reference, a copy, or the same pointer where it outlives both. Other tasks
 * begin with nothing, unless they are spawned with filch_task_opts.inherit_values.
 *
 * Destructors and deferred calls share one stack: when the body has returned, whatever made it
 * return (its own end, cancel, shutdown), they run in the reverse order of the first set or the
 * defer; in the task, before join or the scope sees its end, and before an argument by copy is
 * freed. They may suspend in a task and block in a job, but not in a future; in a cancelled task
 * their suspending calls return -ECANCELED like any other. What they set or defer themselves is run
 * as well.
 */
#ifndef FILCH_LOCAL_H
#define FILCH_LOCAL_H

#include <filch/base.h>

FILCH_BEGIN_DECLS

/* A key, the same for all tasks. Static and initialised with FILCH_LOCAL_INIT(), or made by
 * filch_local_new(). The fields are private. */
typedef struct filch_local {
    void (*destroy)(void *value);
    uint64_t private_word;
    void *(*inherit)(void *value);
} filch_local;

/* @destroy is called with each task's value that is not NULL; may be NULL. */
#define FILCH_LOCAL_INIT(destroy)                                                                  \
    {                                                                                              \
        (destroy), 0, NULL                                                                         \
    }

/* The same, and children in a scope inherit it: @inherit is called in the spawner with its value
 * that is not NULL, must not suspend, and returns the child's value, which @destroy ends as any
 * other; NULL: none. */
#define FILCH_LOCAL_INHERITED_INIT(destroy, inherit)                                               \
    {                                                                                              \
        (destroy), 0, (inherit)                                                                    \
    }

/**
 * filch_local_new() - make a key at run time
 * @destroy: as for FILCH_LOCAL_INIT()
 * @ret_key: gets the key; ended by filch_local_free()
 *
 * Thread-safety: any thread. Suspends: no. Return: 0; -ENOMEM; -EINVAL (NULL).
 */
FILCH_API FILCH_MUST_CHECK int filch_local_new(void (*destroy)(void *value), filch_local **ret_key);

/**
 * filch_local_new_inherited() - the same as FILCH_LOCAL_INHERITED_INIT() at run time
 * @inherit: NULL: not inherited
 *
 * Thread-safety: any thread. Suspends: no. Return: 0; -ENOMEM; -EINVAL (NULL @ret_key).
 */
FILCH_API FILCH_MUST_CHECK int filch_local_new_inherited(void (*destroy)(void *value),
                                                         void *(*inherit)(void *value),
                                                         filch_local **ret_key);

/**
 * filch_local_free() - free a key of filch_local_new()
 * @key: nobody uses it any more; NULL is allowed
 *
 * Values that tasks have under it are still destroyed when they end. Thread-safety: any thread.
 */
FILCH_API void filch_local_free(filch_local *key);

/**
 * filch_local_set() - give the running task a value under a key
 * @value: owned by the task on success; NULL has no destructor call. An older value is replaced,
 * not destroyed, and keeps its place in the order.
 *
 * Thread-safety: tasks, spawned futures, blocking jobs; each its own. Suspends: no.
 * Return: 0; -EPERM (a plain thread); -ENOMEM; -EINVAL (NULL key).
 */
FILCH_API FILCH_MUST_CHECK int filch_local_set(filch_local *key, void *value);

/**
 * filch_local_get() - the running task's value under a key
 *
 * Thread-safety: any thread. Suspends: no. Return: the value; NULL when none was set, and in a
 * plain thread.
 */
FILCH_API void *filch_local_get(const filch_local *key);

/**
 * filch_task_defer() - call a function when the running task's body has returned
 * @fn:  called once with @arg
 * @arg: consumed only on success
 *
 * Thread-safety: tasks, spawned futures, blocking jobs. Suspends: no.
 * Return: 0; -EPERM (a plain thread); -ENOMEM; -EINVAL (@fn is NULL).
 */
FILCH_API FILCH_MUST_CHECK int filch_task_defer(void (*fn)(void *arg), void *arg);

FILCH_END_DECLS

#endif
