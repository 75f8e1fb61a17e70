/* A lane of the epoll engine: one worker's epoll, and what its descriptors wait for. */
#ifndef FILCH_IO_EPOLL_LANE_H
#define FILCH_IO_EPOLL_LANE_H

#include "io/epoll/record.h"
#include "io/lane.h"

struct filch__epoll_lane {
    struct filch__lane base;
    int epoll_fd;
    bool no_pwait2; /* owner: the kernel knows no epoll_pwait2 */
    struct filch__records *records;
};

int filch__epoll_open(struct filch__epoll_lane *lane, struct filch__records *records);
void filch__epoll_close(struct filch__epoll_lane *lane);

/* As the functions of the driver (runtime/sched/driver.h). */
unsigned filch__epoll_poll(struct filch__epoll_lane *lane);
void filch__epoll_park(struct filch__epoll_lane *lane, filch_time until);
int filch__epoll_watch(struct filch__epoll_lane *lane, int epoll_fd);
void filch__epoll_answer(struct filch__epoll_lane *lane);
unsigned filch__epoll_rescue(struct filch__epoll_lane *lane);

/* An event of a descriptor, by whoever took it out. Return: ops that it completed. */
unsigned filch__epoll_event(struct filch__record *record, uint32_t events);

/* Ends whatever waits at the record. No worker runs any more. */
void filch__epoll_end_ops(struct filch__record *record);

/* epoll_ctl(2), to add or change a registration. Return: 0; -errno. */
int filch__epoll_ctl(int epoll_fd, int how, int fd, uint32_t events, void *data);

#endif
