/* The seam between the driver's table and the two engines under it. */
#ifndef FILCH_IO_ENGINE_H
#define FILCH_IO_ENGINE_H

#include "io/lane.h"

/* First member of a driver of either engine. */
struct filch__driver {
    bool epoll;
    char reason[192]; /* why this engine; never changes */
};

/* @ret_step: what the kernel refused, for people; untouched if it is not the kernel's fault. */
int filch__uring_driver_open(const filch_runtime_opts *opts, unsigned lanes, unsigned lanes_max,
                             struct filch__driver **ret_driver, const char **ret_step);
int filch__uring_driver_grow(struct filch__driver *driver, const filch_runtime_opts *opts);
void filch__uring_driver_close(struct filch__driver *driver);
void filch__uring_driver_forked(struct filch__driver *driver);
struct filch__lane *filch__uring_driver_lane(struct filch__driver *driver, unsigned index);
unsigned filch__uring_driver_lanes(struct filch__driver *driver);

int filch__epoll_driver_open(const filch_runtime_opts *opts, unsigned lanes, unsigned lanes_max,
                             struct filch__driver **ret_driver);
int filch__epoll_driver_grow(struct filch__driver *driver, const filch_runtime_opts *opts);
void filch__epoll_driver_close(struct filch__driver *driver);
void filch__epoll_driver_forked(struct filch__driver *driver);
struct filch__lane *filch__epoll_driver_lane(struct filch__driver *driver, unsigned index);
unsigned filch__epoll_driver_lanes(struct filch__driver *driver);

#endif
