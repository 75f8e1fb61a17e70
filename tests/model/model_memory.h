/* Memory for models whose objects come and go: given back after an execution, whatever became of
 * it; nothing is freed twice, and what was freed is spoilt. Included before the source under test,
 * whose malloc and free it replaces. */
#ifndef FILCH_TESTS_MODEL_MEMORY_H
#define FILCH_TESTS_MODEL_MEMORY_H

#include <stdlib.h>
#include <string.h>

#include "tests/model/explore.h"

#define MODEL_PIECES 16

static struct {
    _Alignas(64) unsigned char memory[640];
    bool freed;
} model_piece[MODEL_PIECES];
static int model_pieces;

static inline void *model_malloc(size_t bytes)
{
    if (model_pieces == MODEL_PIECES || bytes > sizeof(model_piece[0].memory)) {
        xp_fail("the model needs more memory");
        abort();
    }
    model_piece[model_pieces].freed = false;
    return model_piece[model_pieces++].memory;
}

static inline void *model_calloc(size_t count, size_t bytes)
{
    return memset(model_malloc(count * bytes), 0, count * bytes);
}

static inline void *model_aligned_alloc(size_t alignment, size_t bytes)
{
    (void)alignment;
    return model_malloc(bytes);
}

static inline void model_free(void *memory)
{
    for (int i = 0; i < model_pieces; i++)
        if (memory == model_piece[i].memory) {
            xp_assert(!model_piece[i].freed);
            model_piece[i].freed = true;
            memset(memory, 0xee, sizeof(model_piece[i].memory));
        }
}

/* Between two executions. */
static inline void model_memory_reset(void)
{
    model_pieces = 0;
}

/* Was everything freed, and how many pieces were there? */
static inline int model_memory_all_freed(void)
{
    for (int i = 0; i < model_pieces; i++)
        xp_assert(model_piece[i].freed);
    return model_pieces;
}

#define malloc model_malloc
#define calloc model_calloc
#define aligned_alloc model_aligned_alloc
#define free model_free

#endif
