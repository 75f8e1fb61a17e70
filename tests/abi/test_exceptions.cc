// Description: C++ tasks: exceptions that are thrown, caught, nested and rethrown by tasks that
// suspend and change threads in between; and the public headers in a C++ program.
#include <exception>
#include <stdexcept>
#include <string>

#include <sys/wait.h>
#include <unistd.h>

#include <filch/filch.h>

#include "tests/abi/programs.h"

namespace
{

const unsigned TASKS = 40;
const unsigned YIELDS = 30;

struct error : std::runtime_error {
    explicit error(uintptr_t number) : std::runtime_error("error"), id(number)
    {
    }
    uintptr_t id;
};

__attribute__((noinline)) void throw_deep(uintptr_t id, unsigned depth)
{
    volatile char frame[64];

    frame[0] = 0;
    (void)frame;
    if (depth == 0)
        throw error(id);
    throw_deep(id, depth - 1);
    __asm__ volatile("");
}

/// Neither handles an exception nor has one in flight.
void check_clean()
{
    T_IS(std::uncaught_exceptions(), 0);
    T_CHECK(!std::current_exception());
}

void check_current(uintptr_t id)
{
    T_CHECK(std::current_exception());
    try {
        std::rethrow_exception(std::current_exception());
    } catch (const error &e) {
        T_IS(e.id, id);
    }
}

/// The others do the same, so the thread's state changes under us if it is not ours.
void suspend(unsigned i)
{
    if (i % 8 == 3)
        hop_to_another_thread();
    else
        filch_task_yield();
}

int catch_and_suspend(void *arg)
{
    uintptr_t id = (uintptr_t)arg;

    check_clean();
    for (unsigned round = 0; round < 3; round++) {
        try {
            throw_deep(id, (unsigned)id % 7);
            T_CHECK(false);
        } catch (const error &e) {
            for (unsigned i = 0; i < YIELDS; i++) {
                suspend(i);
                T_IS(e.id, id);
                check_current(id);
                T_IS(std::uncaught_exceptions(), 0);
            }
        }
        check_clean();
    }
    return 0;
}

int nested_catches(void *arg)
{
    uintptr_t id = (uintptr_t)arg;

    try {
        throw_deep(id, 3);
    } catch (const error &outer) {
        suspend(3);
        try {
            throw_deep(id + 1000, 2);
        } catch (const error &middle) {
            suspend(0);
            try {
                throw_deep(id + 2000, 1);
            } catch (const error &inner) {
                suspend(3);
                T_IS(inner.id, id + 2000);
                check_current(id + 2000);
            }
            suspend(3);
            T_IS(middle.id, id + 1000);
            check_current(id + 1000);
        }
        suspend(0);
        T_IS(outer.id, id);
        check_current(id);
    }
    check_clean();
    return 0;
}

int rethrow_on_another_thread(void *arg)
{
    uintptr_t id = (uintptr_t)arg;
    pid_t thread = 0;

    try {
        try {
            throw_deep(id, 5);
        } catch (...) {
            thread = gettid();
            hop_to_another_thread();
            throw;
        }
    } catch (const error &e) {
        T_CHECK(gettid() != thread);
        T_IS(e.id, id);
    }
    check_clean();
    return 0;
}

struct suspends_in_destructor {
    ~suspends_in_destructor()
    {
        for (unsigned i = 0; i < 10; i++) {
            T_IS(std::uncaught_exceptions(), 1);
            suspend(i);
        }
        try {
            throw_deep(7, 1);
        } catch (const error &e) {
            suspend(3);
            T_IS(e.id, 7);
        }
        T_IS(std::uncaught_exceptions(), 1);
    }
};

int suspend_while_unwinding(void *arg)
{
    uintptr_t id = (uintptr_t)arg;

    try {
        suspends_in_destructor guard;

        throw_deep(id, 2);
    } catch (const error &e) {
        T_IS(e.id, id);
        T_IS(std::uncaught_exceptions(), 0);
    }
    check_clean();
    return 0;
}

int only_looks(void *)
{
    for (unsigned i = 0; i < YIELDS; i++) {
        check_clean();
        filch_task_yield();
    }
    return 0;
}

/// Of five tasks each does another of these things.
int one_of_all(void *arg)
{
    const filch_fn bodies[] = {catch_and_suspend, nested_catches, rethrow_on_another_thread,
                               suspend_while_unwinding, only_looks};

    return bodies[(uintptr_t)arg % 5](arg);
}

int all_together(void *)
{
    program_fan_out(one_of_all, TASKS);
    /* What ended left nothing behind, on any thread. */
    program_fan_out(only_looks, 16);
    return 0;
}

struct box {
    std::exception_ptr error;
};

int stores_its_error(void *arg)
{
    try {
        throw_deep(77, 4);
    } catch (...) {
        static_cast<box *>(arg)->error = std::current_exception();
        return -1;
    }
    return 0;
}

int error_is_passed_to_the_joiner(void *)
{
    box box;
    filch_task *task = nullptr;
    int result = 0;

    T_OK(filch_task_spawn(stores_its_error, &box, nullptr, &task));
    T_OK(filch_task_join(task, &result, FILCH_NEVER));
    T_IS(result, -1);
    try {
        std::rethrow_exception(box.error);
    } catch (const error &e) {
        T_IS(e.id, 77);
    }
    return 0;
}

int lets_it_escape(void *)
{
    throw_deep(5, 3);
    return 0;
}

[[noreturn]] void on_terminate()
{
    try {
        std::rethrow_exception(std::current_exception());
    } catch (const error &e) {
        _exit(e.id == 5 ? 42 : 43);
    }
}

/// In a process of its own, forked before there are threads.
void escaping_exception_terminates()
{
    int status = 0;
    pid_t child = fork();

    T_CHECK(child >= 0);
    if (child == 0) {
        std::set_terminate(on_terminate);
        program_run(1, lets_it_escape, nullptr);
        _exit(1);
    }
    T_IS(waitpid(child, &status, 0), child);
    T_CHECK(WIFEXITED(status));
    T_IS(WEXITSTATUS(status), 42);
}

} // namespace

int main()
{
    escaping_exception_terminates();
    program_run(4, all_together, nullptr);
    program_run(2, all_together, nullptr);
    program_run(2, error_is_passed_to_the_joiner, nullptr);
    printf("exceptions: all checks hold\n");
    return 0;
}
