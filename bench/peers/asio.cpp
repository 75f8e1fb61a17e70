/* Boost.Asio as a peer: one io_context that N threads run. Handlers where its users would post a
 * handler, C++20 coroutines where a task waits for something. */
#include "peer_bench.h"
#include "peer_process.h"
#include <utility> /* Asio of Boost 1.74 forgets it */
#include <array>
#include <atomic>
#include <boost/asio.hpp>
#include <future>
#include <iostream>
#include <memory>
#include <optional>
#include <sys/resource.h>
#include <thread>
#include <vector>

namespace asio = boost::asio;
using asio::awaitable;
using asio::detached;
using asio::use_awaitable;
using asio::use_future;
using boost::system::error_code;
using clock_type = std::chrono::steady_clock;
using namespace std::chrono_literals;

namespace
{

/* An io_context and its threads. */
class Pool
{
  public:
    asio::io_context context;

    Pool() : context(static_cast<int>(peer_workers)), work_(context.get_executor())
    {
        for (unsigned i = 0; i < peer_workers; i++)
            threads_.emplace_back([this] { context.run(); });
    }

    ~Pool()
    {
        finish();
    }

    /* Ends the threads, which may still be in the handler that gave the last answer. */
    void finish()
    {
        work_.reset();
        context.stop();
        for (auto &thread : threads_)
            thread.join();
        threads_.clear();
    }

    Pool(const Pool &) = delete;
    Pool &operator=(const Pool &) = delete;

    /* Runs a coroutine and waits for it, from outside. */
    template <typename T> T wait_for(awaitable<T> coroutine)
    {
        return asio::co_spawn(context, std::move(coroutine), use_future).get();
    }

  private:
    asio::executor_work_guard<asio::io_context::executor_type> work_;
    std::vector<std::thread> threads_;
};

/* Counts down to zero, and tells one waiter outside of the pool. */
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

peer_result spawn_join1()
{
    Pool pool;
    uint64_t start = peer_now_ns();
    auto parent = [&pool]() -> awaitable<int> {
        auto child = []() -> awaitable<int> { co_return 1; };
        int sum = 0;
        for (int i = 0; i < PEER_ONE_BY_ONE; i++)
            sum += co_await asio::co_spawn(pool.context, child(), use_awaitable);
        co_return sum;
    };
    int sum = pool.wait_for(parent());
    return peer_since(start, PEER_ONE_BY_ONE, sum == PEER_ONE_BY_ONE);
}

void post_all(Pool &pool, Countdown &countdown)
{
    for (int i = 0; i < PEER_TASKS; i++)
        asio::post(pool.context, [&countdown] { countdown.down(); });
}

peer_result spawn_detached()
{
    Countdown countdown(PEER_TASKS);
    Pool pool;
    uint64_t start = peer_now_ns();
    asio::post(pool.context, [&] { post_all(pool, countdown); });
    countdown.wait();
    return peer_since(start, PEER_TASKS, countdown.is_complete());
}

peer_result spawn_outside()
{
    Countdown countdown(PEER_TASKS);
    Pool pool;
    uint64_t start = peer_now_ns();
    post_all(pool, countdown);
    countdown.wait();
    return peer_since(start, PEER_TASKS, countdown.is_complete());
}

struct Link {
    Pool *pool;
    Countdown *countdown;
    int depth;

    void operator()() const
    {
        if (depth > 1)
            asio::post(pool->context, Link{pool, countdown, depth - 1});
        countdown->down();
    }
};

peer_result chain()
{
    Countdown countdown(PEER_TASKS);
    Pool pool;
    uint64_t start = peer_now_ns();
    asio::post(pool.context, Link{&pool, &countdown, PEER_TASKS});
    countdown.wait();
    return peer_since(start, PEER_TASKS, countdown.is_complete());
}

awaitable<void> yield_often(Countdown &countdown)
{
    auto executor = co_await asio::this_coro::executor;
    for (int i = 0; i < 1000; i++)
        co_await asio::post(executor, use_awaitable);
    countdown.down();
}

peer_result yield()
{
    Countdown countdown(1000);
    Pool pool;
    uint64_t start = peer_now_ns();
    for (int i = 0; i < 1000; i++)
        asio::co_spawn(pool.context, yield_often(countdown), detached);
    countdown.wait();
    return peer_since(start, 1e6, countdown.is_complete());
}

awaitable<peer_result> wake_often()
{
    auto executor = co_await asio::this_coro::executor;
    asio::steady_timer timer(executor);
    std::vector<uint64_t> delays;
    bool ok = true;
    for (int i = 0; i < peer_wakes(); i++) {
        timer.expires_after(2ms);
        co_await timer.async_wait(use_awaitable);
        std::atomic<uint64_t> started = 0;
        uint64_t spawned = peer_now_ns();
        asio::post(executor, [&started] { started = peer_now_ns(); });
        while (peer_now_ns() < spawned + 5000000)
            ;
        while (!started)
            co_await asio::post(executor, use_awaitable);
        ok = ok && started >= spawned;
        delays.push_back(started - spawned);
    }
    co_return peer_percentiles(delays.data(), delays.size(), ok);
}

peer_result spawn_wake()
{
    Pool pool;
    return pool.wait_for(wake_often());
}

peer_result timers()
{
    const int n = peer_sleepers();
    Countdown countdown(static_cast<uint64_t>(n));
    Pool pool;
    std::vector<asio::steady_timer> all;
    all.reserve(static_cast<size_t>(n));
    uint64_t cpu = peer_cpu_ns(), x = PEER_RANDOM_SEED;
    asio::post(pool.context, [&] {
        for (int i = 0; i < n; i++) {
            all.emplace_back(pool.context, std::chrono::milliseconds(peer_random(&x) % 1000));
            all.back().async_wait([&countdown](error_code) { countdown.down(); });
        }
    });
    countdown.wait();
    return peer_one(static_cast<double>(peer_cpu_ns() - cpu) / n, "ns/timer",
                    countdown.is_complete());
}

/* Arms and cancels, in batches: the handlers of the cancelled waits are a part of the cost, but
 * waking another thread for each of them is not. */
class Churner
{
  public:
    explicit Churner(Pool &pool) : timer_(pool.context)
    {
    }

    void start_batch()
    {
        auto until = clock_type::now() + 10s;
        left_ = batch;
        for (int i = 0; i < batch; i++) {
            timer_.expires_at(until);
            timer_.async_wait([this](error_code error) { on_cancelled(error); });
            timer_.cancel();
        }
        on_cancelled({}); /* not before all are armed: other threads run the handlers */
    }

    bool wait()
    {
        done_.get_future().wait();
        return cancelled_ == PEER_CHURNS;
    }

  private:
    static constexpr int batch = 1000;

    void on_cancelled(error_code error)
    {
        cancelled_ += error == asio::error::operation_aborted;
        if (left_-- > 0)
            return;
        if (++batches_ < PEER_CHURNS / batch)
            start_batch();
        else
            done_.set_value();
    }

    asio::steady_timer timer_;
    int batches_ = 0; /* done; by the handler that is the last of one */
    std::atomic<int> left_ = 0, cancelled_ = 0;
    std::promise<void> done_;
};

peer_result churn_with(int background)
{
    Pool pool;
    std::vector<asio::steady_timer> others;
    others.reserve(static_cast<size_t>(background));
    for (int i = 0; i < background; i++) {
        others.emplace_back(pool.context, std::chrono::milliseconds(60000 + i % 1000));
        others.back().async_wait([](error_code) {});
    }
    Churner churner(pool);
    uint64_t start = peer_now_ns();
    asio::post(pool.context, [&churner] { churner.start_batch(); });
    bool ok = churner.wait();
    peer_result result = peer_since(start, PEER_CHURNS, ok);
    pool.finish();
    return result;
}

peer_result churn()
{
    return churn_with(0);
}

peer_result churn_bg()
{
    return churn_with(PEER_BACKGROUND);
}

awaitable<peer_result> sleep_often(unsigned n)
{
    asio::steady_timer timer(co_await asio::this_coro::executor);
    std::vector<uint64_t> late;
    bool ok = true;
    for (unsigned i = 0; i < n; i++) {
        auto until = clock_type::now() + 200us;
        timer.expires_at(until);
        co_await timer.async_wait(use_awaitable);
        auto over = clock_type::now() - until;
        ok = ok && over >= 0ns;
        late.push_back(static_cast<uint64_t>(std::chrono::nanoseconds(over).count()));
    }
    co_return peer_percentiles(late.data(), late.size(), ok);
}

peer_result timer_error()
{
    Pool pool;
    return pool.wait_for(sleep_often(peer_quick ? 500 : 10000));
}

awaitable<void> sleep_long(Countdown &arrived)
{
    asio::steady_timer timer(co_await asio::this_coro::executor, 600s);
    arrived.down();
    co_await timer.async_wait(use_awaitable);
}

peer_result mem_future()
{
    auto *pool = new Pool; /* never taken down: the program ends at once */
    unsigned n = peer_quick ? 100000 : 1000000;
    auto *arrived = new Countdown(n);
    double rss = process_bytes("VmRSS:"), tables = process_bytes("VmPTE:");
    uint64_t start = peer_now_ns();
    asio::post(pool->context, [=] {
        for (unsigned i = 0; i < n; i++)
            asio::co_spawn(pool->context, sleep_long(*arrived), detached);
    });
    arrived->wait();
    peer_result result = peer_begin(arrived->is_complete());
    peer_add(&result, "create", "ns/task", static_cast<double>(peer_now_ns() - start) / n);
    peer_add(&result, "rss", "B/task", (process_bytes("VmRSS:") - rss) / n);
    peer_add(&result, "page_tables", "B/task", (process_bytes("VmPTE:") - tables) / n);
    return result;
}

peer_result idle_cpu()
{
    auto *pool = new Pool;
    auto *arrived = new Countdown(PEER_PARKED);
    unsigned seconds = peer_quick ? 1 : 10;
    for (int i = 0; i < PEER_PARKED; i++)
        asio::co_spawn(pool->context, sleep_long(*arrived), detached);
    arrived->wait();
    std::this_thread::sleep_for(500ms);
    uint64_t cpu = peer_cpu_ns();
    double switches = process_switches();
    std::this_thread::sleep_for(std::chrono::seconds(seconds));
    peer_result result = peer_begin(true);
    peer_add(&result, "cpu", "ms", static_cast<double>(peer_cpu_ns() - cpu) / 1e5 / seconds);
    peer_add(&result, "switches", "count", (process_switches() - switches) * 10 / seconds);
    return result;
}

class Session : public std::enable_shared_from_this<Session>
{
  public:
    explicit Session(asio::ip::tcp::socket socket) : socket_(std::move(socket))
    {
    }

    void read()
    {
        socket_.async_read_some(asio::buffer(buffer_),
                                [self = shared_from_this()](error_code error, size_t n) {
                                    if (!error)
                                        self->write(n);
                                });
    }

  private:
    void write(size_t n)
    {
        asio::async_write(socket_, asio::buffer(buffer_, n),
                          [self = shared_from_this()](error_code error, size_t) {
                              if (!error)
                                  self->read();
                          });
    }

    asio::ip::tcp::socket socket_;
    std::array<char, 16384> buffer_;
};

void accept_next(asio::ip::tcp::acceptor &acceptor)
{
    acceptor.async_accept([&acceptor](error_code error, asio::ip::tcp::socket socket) {
        if (!error) {
            error_code ignored;
            socket.set_option(asio::ip::tcp::no_delay(true), ignored);
            std::make_shared<Session>(std::move(socket))->read();
        }
        accept_next(acceptor);
    });
}

/* Serves until it is terminated. */
int serve_echo(int workers)
{
    rlimit files;
    getrlimit(RLIMIT_NOFILE, &files);
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);
    asio::io_context context(workers);
    asio::ip::tcp::acceptor acceptor(context, {asio::ip::address_v4::loopback(), 0});
    acceptor.listen(4096);
    std::cout << "port " << acceptor.local_endpoint().port() << std::endl;
    accept_next(acceptor);
    std::vector<std::jthread> threads;
    for (int i = 1; i < workers; i++)
        threads.emplace_back([&context] { context.run(); });
    context.run();
    return 0;
}

constexpr peer_bench benches[] = {
    {"spawn_join1", spawn_join1, false},
    {"spawn_detached", spawn_detached, false},
    {"spawn_outside", spawn_outside, false},
    {"chain", chain, false},
    {"yield", yield, false},
    {"spawn_wake", spawn_wake, true},
    {"timers", timers, false},
    {"churn", churn, false},
    {"churn_bg", churn_bg, false},
    {"timer_error", timer_error, true},
    {"mem_future", mem_future, true},
    {"idle_cpu", idle_cpu, true},
};

} // namespace

int main(int argc, char **argv)
{
    if (argc > 1 && !strcmp(argv[1], "echo"))
        return serve_echo(argc > 3 && !strcmp(argv[2], "--workers") ? atoi(argv[3]) : 1);
    return peer_main(argc, argv, benches, static_cast<int>(std::size(benches)));
}
