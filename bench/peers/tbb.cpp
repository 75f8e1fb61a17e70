/* oneTBB as a peer: an arena of N of its workers. It has no task that waits, so its channels are
 * its bounded queue between two plain threads (with eight, most of the time goes to waking them),
 * and it has neither timers nor I/O. */
#include "fork_work.h"
#include "peer_bench.h"
#include <array>
#include <atomic>
#include <future>
#include <oneapi/tbb/concurrent_queue.h>
#include <oneapi/tbb/global_control.h>
#include <oneapi/tbb/parallel_reduce.h>
#include <oneapi/tbb/parallel_sort.h>
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
    uint64_t value = 0, count = 0, sum = 0, start = peer_now_ns();
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

/* ---- fork and join: a group for each call that forks ---- */

peer_result in_ms(uint64_t start, bool ok)
{
    return peer_one(static_cast<double>(peer_now_ns() - start) / 1e6, "ms", ok);
}

long fib(int n)
{
    long left = 0, right = 0;
    if (n < 2)
        return n;
    tbb::task_group group;
    group.run([&left, n] { left = fib(n - 1); });
    right = fib(n - 2);
    group.wait();
    return left + right;
}

int64_t skynet(int64_t number, int64_t leaves)
{
    std::array<int64_t, SKYNET_WAYS> sums{};
    int64_t part = leaves / SKYNET_WAYS, sum = 0;
    if (leaves == 1)
        return number;
    tbb::task_group group;
    for (size_t i = 1; i < SKYNET_WAYS; i++)
        group.run([&sums, i, number, part] {
            sums[i] = skynet(number + static_cast<int64_t>(i) * part, part);
        });
    sums[0] = skynet(number, part);
    group.wait();
    for (int64_t one : sums)
        sum += one;
    return sum;
}

using Board = std::array<char, QUEENS>;

int queens(int row, const Board &before)
{
    std::array<Board, QUEENS> boards;
    std::array<int, QUEENS> counts{};
    Board board = before;
    size_t n = 0;
    int found = 0;
    if (row == QUEENS)
        return 1;
    tbb::task_group group;
    for (int i = 0; i < QUEENS; i++) {
        board[static_cast<size_t>(row)] = static_cast<char>(i);
        if (queens_fit(row, board.data())) {
            boards[n] = board;
            group.run([&boards, &counts, n, row] { counts[n] = queens(row + 1, boards[n]); });
            n++;
        }
    }
    group.wait();
    for (int one : counts)
        found += one;
    return found;
}

void matmul(const float *a, const float *b, float *c, int n)
{
    int h = n / 2;
    if (n == MATMUL_LEAF) {
        matmul_leaf(a, b, c);
        return;
    }
    for (int k = 0; k < 2; k++) {
        const float *left = a + k * h, *right = b + k * h * MATMUL_N;
        tbb::task_group group;
        group.run([=] { matmul(left, right, c, h); });
        group.run([=] { matmul(left, right + h, c + h, h); });
        group.run([=] { matmul(left + h * MATMUL_N, right, c + h * MATMUL_N, h); });
        matmul(left + h * MATMUL_N, right + h, c + h * MATMUL_N + h, h);
        group.wait();
    }
}

long uts(const uts_tree *tree, const uts_node *node, int depth)
{
    std::array<uts_node, UTS_CHILDREN> child;
    std::array<long, UTS_CHILDREN> sums;
    size_t n = static_cast<size_t>(uts_children(tree, node, depth));
    long sum = 1;
    if (n == 0)
        return 1;
    tbb::task_group group;
    for (size_t i = 0; i < n; i++) {
        child[i] = uts_child(node, static_cast<int>(i));
        group.run([&child, &sums, i, tree, depth] { sums[i] = uts(tree, &child[i], depth + 1); });
    }
    group.wait();
    for (size_t i = 0; i < n; i++)
        sum += sums[i];
    return sum;
}

peer_result run_fib()
{
    Arena arena;
    uint64_t start = peer_now_ns();
    return in_ms(start, arena.wait_for([] { return fib(FIB_N); }) == FIB_RESULT);
}

peer_result run_skynet()
{
    Arena arena;
    uint64_t start = peer_now_ns();
    return in_ms(start, arena.wait_for([] { return skynet(0, SKYNET_LEAVES); }) == SKYNET_RESULT);
}

peer_result run_nqueens()
{
    Arena arena;
    uint64_t start = peer_now_ns();
    return in_ms(start, arena.wait_for([] { return queens(0, Board{}); }) == QUEENS_SOLUTIONS);
}

peer_result run_matmul()
{
    constexpr size_t size = static_cast<size_t>(MATMUL_N) * MATMUL_N;
    std::vector<float> a(size), b(size), c(size);
    Arena arena;
    matmul_fill(a.data(), b.data(), c.data());
    uint64_t start = peer_now_ns();
    arena.wait_for([&] {
        matmul(a.data(), b.data(), c.data(), MATMUL_N);
        return true;
    });
    peer_result result = in_ms(start, true);
    result.ok = matmul_is_right(a.data(), b.data(), c.data());
    return result;
}

peer_result run_uts()
{
    const uts_tree *tree = peer_quick ? &uts_t1 : &uts_t1l;
    uts_node root = uts_root(tree);
    Arena arena;
    uint64_t start = peer_now_ns();
    return in_ms(start, arena.wait_for([&] { return uts(tree, &root, 0); }) == tree->nodes);
}

/* ---- what TBB has its own algorithms for; its sort is not stable, and knows the comparison ----
 */

peer_result run_reduce()
{
    using Range = tbb::blocked_range<uint64_t>;
    Arena arena;
    uint64_t start = peer_now_ns();
    uint64_t sum = arena.wait_for([] {
        return tbb::parallel_reduce(
            Range(0, REDUCE_ITEMS), uint64_t{0},
            [](const Range &range, uint64_t before) {
                return before + mixed_sum(range.begin(), range.end());
            },
            [](uint64_t left, uint64_t right) { return left + right; });
    });
    peer_result result = in_ms(start, true);
    result.ok = sum == mixed_sum(0, REDUCE_ITEMS);
    return result;
}

peer_result run_sort()
{
    std::vector<uint32_t> keys(SORT_ITEMS);
    Arena arena;
    sort_fill(keys.data());
    uint64_t start = peer_now_ns();
    arena.wait_for([&] {
        tbb::parallel_sort(keys.begin(), keys.end());
        return true;
    });
    peer_result result = in_ms(start, true);
    result.ok = sort_is_right(keys.data());
    return result;
}

constexpr peer_bench benches[] = {
    {"spawn_join", spawn_join, false},
    {"spawn_join1", spawn_join1, false},
    {"spawn_detached", spawn_detached, false},
    {"spawn_outside", spawn_outside, false},
    {"chain", chain, false},
    {"fib", run_fib, true},
    {"skynet", run_skynet, true},
    {"nqueens", run_nqueens, true},
    {"matmul", run_matmul, false},
    {"uts", run_uts, true},
    {"reduce", run_reduce, false},
    {"sort", run_sort, false},
    {"spawn_wake", spawn_wake, true},
    {"mpsc_1p", [] { return flow(true); }, false},
    {"umpsc_1p", [] { return flow(false); }, false},
};

} // namespace

int main(int argc, char **argv)
{
    return peer_main(argc, argv, benches, static_cast<int>(std::size(benches)));
}
