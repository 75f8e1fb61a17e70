/* The parts of the fork-join workloads that are no forks, the same for filch, its peers, and the
 * serial programs; C and C++. */
#ifndef FORK_WORK_H
#define FORK_WORK_H
#include <math.h>
#include <stdint.h>
#include <string.h>

enum {
    FIB_N = 39,
    FIB_RESULT = 63245986,
    SKYNET_LEAVES = 10000000,
    SKYNET_WAYS = 10,
    QUEENS = 14,
    QUEENS_SOLUTIONS = 365596,
    MATMUL_N = 1024,
    MATMUL_LEAF = 64,
    UTS_CHILDREN = 100, /* at most */
    REDUCE_ITEMS = 50000000,
    SORT_ITEMS = 4000000,
};

#define FIB_FORKS 102334154.0 /* one for each number from 2 on */
#define SKYNET_RESULT (INT64_C(10000000) * 9999999 / 2)

/* ---- queens: may one stand in the last of these rows? ---- */

static inline int queens_fit(int row, const char *column)
{
    for (int i = 0; i < row; i++) {
        int distance = column[row] - column[i];
        if (distance == 0 || distance == row - i || distance == i - row)
            return 0;
    }
    return 1;
}

/* ---- matmul: c += a * b for a square of MATMUL_LEAF, in matrices of MATMUL_N ---- */

static inline void matmul_leaf(const float *a, const float *b, float *c)
{
    for (int i = 0; i < MATMUL_LEAF; i++)
        for (int k = 0; k < MATMUL_LEAF; k++) {
            float factor = a[i * MATMUL_N + k];
            for (int j = 0; j < MATMUL_LEAF; j++)
                c[i * MATMUL_N + j] += factor * b[k * MATMUL_N + j];
        }
}

static inline void matmul_fill(float *a, float *b, float *c)
{
    for (int i = 0; i < MATMUL_N * MATMUL_N; i++) {
        a[i] = (float)(i % 7);
        b[i] = (float)(i % 5);
        c[i] = 0;
    }
}

/* Some places, computed plainly. All sums are small integers, so they are exact. */
static inline int matmul_is_right(const float *a, const float *b, const float *c)
{
    for (int i = 3; i < MATMUL_N; i += 97)
        for (int j = 5; j < MATMUL_N; j += 89) {
            float sum = 0;
            for (int k = 0; k < MATMUL_N; k++)
                sum += a[i * MATMUL_N + k] * b[k * MATMUL_N + j];
            if (sum != c[i * MATMUL_N + j])
                return 0;
        }
    return 1;
}

/* ---- uts: the unbalanced trees T1 and T1L of the UTS benchmark: a node is a SHA-1 of its parent
 * and its number, and says how many children it has, by a geometric distribution ---- */

struct uts_node {
    uint8_t hash[20];
};

struct uts_tree {
    uint32_t seed;
    int depth;
    long nodes;
};

static const struct uts_tree uts_t1 = {19, 10, 4130071};
static const struct uts_tree uts_t1l = {29, 13, 102181082};

static inline uint32_t uts_rotate(uint32_t x, int n)
{
    return x << n | x >> (32 - n);
}

static inline void uts_put(uint8_t *to, uint32_t x)
{
    for (int i = 0; i < 4; i++)
        to[i] = (uint8_t)(x >> (24 - 8 * i));
}

static inline uint32_t uts_get(const uint8_t *from)
{
    return (uint32_t)from[0] << 24 | (uint32_t)from[1] << 16 | (uint32_t)from[2] << 8 | from[3];
}

#ifdef __clang__
#define UTS_UNROLL _Pragma("unroll")
#else
#define UTS_UNROLL _Pragma("GCC unroll 80")
#endif

/* SHA-1 of 20 or 24 bytes: one block. Unrolled, lest the hash be all that is measured; never in
 * line, lest the compiler leave those out that nobody looks at, where it can see that. */
static __attribute__((noinline, unused)) void uts_sha1(const uint8_t *data, int bytes,
                                                       struct uts_node *ret_node)
{
    uint32_t h[5] = {0x67452301, 0xefcdab89, 0x98badcfe, 0x10325476, 0xc3d2e1f0};
    uint32_t a = h[0], b = h[1], c = h[2], d = h[3], e = h[4], w[16];
    memset(w, 0, sizeof w);
    for (int i = 0; i < bytes / 4; i++)
        w[i] = uts_get(data + 4 * i);
    w[bytes / 4] = 0x80000000;
    w[15] = (uint32_t)bytes * 8;
    UTS_UNROLL
    for (int i = 0; i < 80; i++) {
        uint32_t f = i < 20   ? ((b & c) | (~b & d)) + 0x5a827999
                     : i < 40 ? (b ^ c ^ d) + 0x6ed9eba1
                     : i < 60 ? ((b & c) | (b & d) | (c & d)) + 0x8f1bbcdc
                              : (b ^ c ^ d) + 0xca62c1d6;
        if (i >= 16)
            w[i % 16] =
                uts_rotate(w[(i - 3) % 16] ^ w[(i - 8) % 16] ^ w[(i - 14) % 16] ^ w[i % 16], 1);
        uint32_t next = uts_rotate(a, 5) + f + e + w[i % 16];
        e = d;
        d = c;
        c = uts_rotate(b, 30);
        b = a;
        a = next;
    }
    uts_put(ret_node->hash, h[0] + a);
    uts_put(ret_node->hash + 4, h[1] + b);
    uts_put(ret_node->hash + 8, h[2] + c);
    uts_put(ret_node->hash + 12, h[3] + d);
    uts_put(ret_node->hash + 16, h[4] + e);
}

static inline struct uts_node uts_root(const struct uts_tree *tree)
{
    uint8_t data[20] = {0};
    struct uts_node root;
    uts_put(data + 16, tree->seed);
    uts_sha1(data, 20, &root);
    return root;
}

static inline struct uts_node uts_child(const struct uts_node *parent, int number)
{
    uint8_t data[24];
    struct uts_node child;
    memcpy(data, parent->hash, 20);
    uts_put(data + 20, (uint32_t)number);
    uts_sha1(data, 24, &child);
    return child;
}

static inline int uts_children(const struct uts_tree *tree, const struct uts_node *node, int depth)
{
    double u = (double)(uts_get(node->hash + 16) & 0x7fffffff) / 2147483648.0;
    int n;
    if (depth >= tree->depth)
        return 0;
    n = (int)floor(log(1 - u) / log(1 - 1.0 / (1 + 4.0)));
    return n < UTS_CHILDREN ? n : UTS_CHILDREN;
}

static inline long uts_serial(const struct uts_tree *tree, const struct uts_node *node, int depth)
{
    int n = uts_children(tree, node, depth);
    long sum = 1;
    for (int i = 0; i < n; i++) {
        struct uts_node child = uts_child(node, i);
        sum += uts_serial(tree, &child, depth + 1);
    }
    return sum;
}

/* ---- reduce: no sum of these has a formula ---- */

static inline uint64_t mixed_sum(uint64_t begin, uint64_t end)
{
    uint64_t sum = 0;
    for (uint64_t i = begin; i < end; i++) {
        uint64_t x = (i ^ (i >> 15)) * UINT64_C(0x2c1b3c6d2c1b3c6d);
        sum += x ^ (x >> 29);
    }
    return sum;
}

/* ---- sort ---- */

static inline void sort_fill(uint32_t *keys)
{
    uint32_t x = 2463534242;
    for (int i = 0; i < SORT_ITEMS; i++) {
        x ^= x << 13;
        x ^= x >> 17;
        x ^= x << 5;
        keys[i] = x;
    }
}

static inline int sort_is_right(const uint32_t *keys)
{
    for (int i = 1; i < SORT_ITEMS; i++)
        if (keys[i - 1] > keys[i])
            return 0;
    return 1;
}

#endif
