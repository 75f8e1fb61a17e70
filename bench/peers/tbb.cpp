/* oneTBB as a peer: an arena of N of its workers. It has no task that waits, so its channels are
 * its bounded queue between two plain threads (with eight, most of the time goes to waking them),
 * and it has neither timers nor I/O. */
#include "peer_bench.h"
#include <atomic>
#include <future>
#include <oneapi/tbb/concurrent_queue.h>
#include <oneapi/tbb/global_control.h>
#include <oneapi/tbb/task_arena.h>
#include <oneapi/tbb/task_group.h>
#include <thread>
#include <vector>

namespace tbb = oneapi::tbb;

namespace
{

/* N workers; the main thread is not one of them. */
class Arena
{
  public:
    Arena()
        : limit_(tbb::global_control::max_allowed_parallelism, peer_workers + 1),
          arena_(static_cast<int>(peer_workers), 0)
    {
    }

    template <typename F> void enqueue(F body)
    {
        arena_.enqueue(std::move(body));
    }

    /* Runs @body on a worker and waits for it. */
    template <typename F> auto wait_for(F body)
    {
        std::promise<decltype(body())> done;
        arena_.enqueue([&] { done.set_value(body()); });
        return done.get_future().get();
    }

  private:
    tbb::global_control limit_;
    tbb::task_arena arena_;
};

/* Never freed: the last task may still be in down() when the waiter goes on. */
class Countdown
{
  public:
    explicit Countdown(uint64_t count) : left_(count)
    {
    }

    void down()
    {
        if (left_.fetch_sub(1, std::memory_order_acq_rel) == 1)
            done_.set_value();
    }

    void wait()
    {
        done_.get_future().wait();
    }

    bool is_complete() const
    {
        return left_.load() == 0;
    }

  private:
    std::atomic<uint64_t> left_;
    std::promise<void> done_;
};

peer_result spawn_join()
{
    Arena arena;
    std::vector<char> ran(PEER_TASKS);
    uint64_t start = peer_now_ns();
    arena.wait_for([&ran] {
        tbb::task_group group;
        for (char &one : ran)
            group.run([&one] { one = 1; });
        return group.wait();
    });
    uint64_t end = peer_now_ns(), sum = 0;
    for (char one : ran)
        sum += static_cast<uint64_t>(one);
    return peer_one(static_cast<double>(end - start) / double{PEER_TASKS}, "ns/task",
                    sum == PEER_TASKS);
}

peer_result spawn_join1()
{
    Arena arena;
    uint64_t start = peer_now_ns();
    int sum = arena.wait_for([] {
        int ran = 0;
        for (int i = 0; i < PEER_ONE_BY_ONE; i++) {
            tbb::task_group group;
            group.run([&ran] { ran++; });
            group.wait();
        }
        return ran;
    });
    return peer_since(start, PEER_ONE_BY_ONE, sum == PEER_ONE_BY_ONE);
}

void enqueue_all(Arena &arena, Countdown &countdown)
{
    for (int i = 0; i < PEER_TASKS; i++)
        arena.enqueue([&countdown] { countdown.down(); });
}

peer_result spawn_detached()
{
    Arena arena;
    Countdown &countdown = *new Countdown(PEER_TASKS);
    uint64_t start = peer_now_ns();
    arena.enqueue([&] { enqueue_all(arena, countdown); });
    countdown.wait();
    return peer_since(start, PEER_TASKS, countdown.is_complete());
}

peer_result spawn_outside()
{
    Arena arena;
    Countdown &countdown = *new Countdown(PEER_TASKS);
    uint64_t start = peer_now_ns();
    enqueue_all(arena, countdown);
    countdown.wait();
    return peer_since(start, PEER_TASKS, countdown.is_complete());
}

struct Link {
    Arena *arena;
    Countdown *countdown;
    int depth;

    void operator()() const
    {
        if (depth > 1)
            arena->enqueue(Link{arena, countdown, depth - 1});
        countdown->down();
    }
};

peer_result chain()
{
    Arena arena;
    Countdown &countdown = *new Countdown(PEER_TASKS);
    uint64_t start = peer_now_ns();
    arena.enqueue(Link{&arena, &countdown, PEER_TASKS});
    countdown.wait();
    return peer_since(start, PEER_TASKS, countdown.is_complete());
}

peer_result spawn_wake()
{
    Arena arena;
    std::vector<uint64_t> delays;
    bool ok = true;
    for (int i = 0; i < peer_wakes(); i++) {
        std::this_thread::sleep_for(std::chrono::milliseconds(2));
        std::atomic<uint64_t> started = 0;
        uint64_t spawned = arena.wait_for([&] {
            uint64_t now = peer_now_ns();
            arena.enqueue([&started] { started = peer_now_ns(); });
            while (peer_now_ns() < now + 5000000)
                ;
            return now;
        });
        while (!started)
            std::this_thread::yield();
        ok = ok && started >= spawned;
        delays.push_back(started - spawned);
    }
    return peer_percentiles(delays.data(), delays.size(), ok);
}

using Queue = tbb::concurrent_bounded_queue<uint64_t>;
constexpr uint64_t end_mark = UINT64_MAX;

peer_result flow(bool bounded)
{
    Queue queue;
    uint64_t value, count = 0, sum = 0, start = peer_now_ns();
    if (bounded)
        queue.set_capacity(PEER_CAPACITY);
    std::jthread sending([&queue] {
        for (uint64_t i = 0; i < PEER_MESSAGES; i++)
            queue.push(i);
        queue.push(end_mark);
    });
    for (queue.pop(value); value != end_mark; queue.pop(value)) {
        count++;
        sum += value;
    }
    constexpr uint64_t whole = static_cast<uint64_t>(PEER_MESSAGES) * (PEER_MESSAGES - 1) / 2;
    return peer_since(start, PEER_MESSAGES, count == PEER_MESSAGES && sum == whole);
}

constexpr peer_bench benches[] = {
    {"spawn_join", spawn_join, false},
    {"spawn_join1", spawn_join1, false},
    {"spawn_detached", spawn_detached, false},
    {"spawn_outside", spawn_outside, false},
    {"chain", chain, false},
    {"spawn_wake", spawn_wake, true},
    {"mpsc_1p", [] { return flow(true); }, false},
    {"umpsc_1p", [] { return flow(false); }, false},
};

} // namespace

int main(int argc, char **argv)
{
    return peer_main(argc, argv, benches, static_cast<int>(std::size(benches)));
}
