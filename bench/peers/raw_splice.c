/* A proxy's bytes by splice(2) in a loop, through a pipe: the limit for `proxy`. */
#include <fcntl.h>

#include "peer_bench.h"
#include "proxy_ends.h"

enum { PIPE_BYTES = 1 << 20 };

static bool splice_all(int in, int out)
{
    int ends[2];
    ssize_t n = 1, m = 1;
    if (pipe2(ends, O_CLOEXEC) < 0)
        return false;
    fcntl(ends[1], F_SETPIPE_SZ, PIPE_BYTES);
    while (m > 0 && (n = splice(in, NULL, ends[1], NULL, PIPE_BYTES, SPLICE_F_MOVE)) > 0)
        for (ssize_t left = n; left > 0 && m > 0; left -= m)
            m = splice(ends[0], NULL, out, NULL, (size_t)left, SPLICE_F_MOVE);
    close(ends[0]);
    close(ends[1]);
    return n == 0 && m > 0;
}

static struct peer_result proxy(void)
{
    const uint64_t mib = peer_quick ? 256 : 2048;
    struct proxy_ends ends;
    struct peer_result result = peer_begin(false);
    uint64_t start = peer_now_ns(), cpu = peer_cpu_ns();

    if (!proxy_begin(&ends, mib << 20))
        return result;
    result.ok = splice_all(ends.in, ends.out);
    shutdown(ends.out, SHUT_WR);
    result.ok = proxy_end(&ends) && result.ok;
    peer_add(&result, NULL, "us/MiB", (double)(peer_now_ns() - start) / 1e3 / (double)mib);
    peer_add(&result, "cpu", "CPU us/MiB", (double)(peer_cpu_ns() - cpu) / 1e3 / (double)mib);
    close(ends.in);
    close(ends.out);
    return result;
}

int main(int argc, char **argv)
{
    static const struct peer_bench benches[] = {{"proxy", proxy, false}};
    return peer_main(argc, argv, benches, 1);
}
