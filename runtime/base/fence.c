/* The kernel's part: see fence.h. */
#include "runtime/base/fence.h"

#include <linux/membarrier.h>
#include <sys/syscall.h>
#include <unistd.h>

filch_atomic_u32 filch__fence_by_kernel;

static bool membarrier(int command)
{
    return syscall(SYS_membarrier, command, 0, 0) == 0;
}

void filch__fence_init(void)
{
    /* relaxed: threads that begin later see it, and to others both answers are right. */
    if (membarrier(MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED))
        filch_store_relaxed(&filch__fence_by_kernel, 1);
}

bool filch_fence_heavy(void)
{
    /* relaxed: who sees 0 began before the first runtime did, and has nothing to fence. */
    return membarrier(MEMBARRIER_CMD_PRIVATE_EXPEDITED) ||
           !filch_load_relaxed(&filch__fence_by_kernel);
}
