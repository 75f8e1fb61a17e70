/* The epoll driver: one object, a lane per worker, and records of descriptors for all of them. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "io/engine.h"
#include "io/epoll/lane.h"

struct filch__epoll_driver {
    struct filch__driver base;
    filch_atomic_u32 lanes; /* open; grows by the runtime's watch [lane-new] */
    struct filch__epoll_lane *lane;
    struct filch__records records;
};

static struct filch__epoll_driver *of(struct filch__driver *driver)
{
    return filch_container_of(driver, struct filch__epoll_driver, base);
}

/* [lane-new] release of who opens -> acquire: all of them are whole. */
unsigned filch__epoll_driver_lanes(struct filch__driver *driver)
{
    return filch_load_acquire(&of(driver)->lanes);
}

int filch__epoll_driver_grow(struct filch__driver *base, const filch_runtime_opts *opts)
{
    struct filch__epoll_driver *driver = of(base);
    unsigned n = filch__epoll_driver_lanes(base);
    int r = filch__epoll_open(&driver->lane[n], &driver->records);

    (void)opts;
    if (r == 0)
        filch_store_release(&driver->lanes, n + 1); /* [lane-new] */
    return r;
}

void filch__epoll_driver_close(struct filch__driver *base)
{
    struct filch__epoll_driver *driver = of(base);

    filch__records_each(&driver->records, filch__epoll_end_ops);
    for (unsigned i = filch__epoll_driver_lanes(base); i-- > 0;)
        filch__epoll_close(&driver->lane[i]);
    filch__records_free(&driver->records);
    free(driver->lane);
    free(driver);
}

void filch__epoll_driver_forked(struct filch__driver *base)
{
    for (unsigned i = 0; i < filch__epoll_driver_lanes(base); i++)
        filch__epoll_close(&of(base)->lane[i]);
}

int filch__epoll_driver_open(const filch_runtime_opts *opts, unsigned lanes, unsigned lanes_max,
                             struct filch__driver **ret_driver)
{
    struct filch__epoll_driver *driver = calloc(1, sizeof *driver);
    int r = 0;

    if (!driver)
        return -ENOMEM;
    driver->base.epoll = true;
    driver->lane =
        aligned_alloc(FILCH_CACHELINE, (lanes_max * sizeof *driver->lane + FILCH_CACHELINE - 1) &
                                           ~(size_t)(FILCH_CACHELINE - 1));
    if (!driver->lane) {
        free(driver);
        return -ENOMEM;
    }
    filch__fd_epochs_begin();
    while (filch__epoll_driver_lanes(&driver->base) < lanes && r == 0)
        r = filch__epoll_driver_grow(&driver->base, opts);
    if (r < 0) {
        filch__epoll_driver_close(&driver->base);
        return r;
    }
    *ret_driver = &driver->base;
    return 0;
}

struct filch__lane *filch__epoll_driver_lane(struct filch__driver *driver, unsigned index)
{
    return &of(driver)->lane[index].base;
}
