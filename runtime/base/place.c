/* See place.h. */
#include "runtime/base/place.h"

#include <errno.h>
#include <link.h>
#include <stdint.h>
#include <stdio.h>

void filch__place_name(const void *place, char *to, size_t bytes)
{
    uintptr_t call = (uintptr_t)place - (place != NULL); /* not what follows it */
#if defined(__GLIBC__) && __GLIBC_PREREQ(2, 35)
    struct dl_find_object found;

    if (_dl_find_object((void *)call, &found) == 0) {
        const char *module = found.dlfo_link_map->l_name;

        snprintf(to, bytes, "%s+0x%lx", *module ? module : program_invocation_name,
                 (unsigned long)(call - found.dlfo_link_map->l_addr));
        return;
    }
#endif
    snprintf(to, bytes, "0x%lx", (unsigned long)call);
}
