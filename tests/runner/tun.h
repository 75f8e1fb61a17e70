/* A network of the test's own: namespaces with a tun device each, whose packets the test reads and
 * writes. Where that is not allowed there is a reason for a skip. */
#ifndef FILCH_TESTS_RUNNER_TUN_H
#define FILCH_TESTS_RUNNER_TUN_H

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <sched.h>
#include <stdbool.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tests/runner/check.h"

#define TUN_NAME "filch"

static inline int tun_address(int fd, struct ifreq *request, unsigned long what, const char *text)
{
    struct sockaddr_in addr = {.sin_family = AF_INET};

    T_IS(inet_pton(AF_INET, text, &addr.sin_addr), 1);
    memcpy(&request->ifr_addr, &addr, sizeof addr);
    return ioctl(fd, what, request);
}

/* @fd: any socket of the device's namespace. Return: 0; -errno. */
static inline int tun_set_up(int fd, bool up)
{
    struct ifreq request = {.ifr_name = TUN_NAME};

    request.ifr_flags = IFF_RUNNING | IFF_POINTOPOINT | (up ? IFF_UP : 0);
    return ioctl(fd, SIOCSIFFLAGS, &request) < 0 ? -errno : 0;
}

/* Addresses, room for all that a test sends at once, and up. */
static inline int tun_configure(const char *addr, const char *peer)
{
    struct ifreq request = {.ifr_name = TUN_NAME};
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    int r = -1;

    if (fd < 0)
        return -errno;
    request.ifr_qlen = 20000;
    if (ioctl(fd, SIOCSIFTXQLEN, &request) == 0 &&
        tun_address(fd, &request, SIOCSIFADDR, addr) == 0 &&
        tun_address(fd, &request, SIOCSIFDSTADDR, peer) == 0)
        r = 0;
    r = r < 0 ? -errno : tun_set_up(fd, true);
    close(fd);
    return r;
}

/**
 * tun_open() - give the calling thread a network namespace of its own, with a device in it
 * @addr:       the device's own
 * @peer:       of whoever is behind it
 * @ret_reason: why not, in words
 *
 * What is created from now on is in that namespace; the device can be used from anywhere. Return:
 * the device, which does not block; -errno.
 */
static inline int tun_open(const char *addr, const char *peer, const char **ret_reason)
{
    struct ifreq request = {.ifr_name = TUN_NAME};
    int r, fd;

    *ret_reason = "a network namespace of one's own is refused";
    if (unshare(CLONE_NEWNET) < 0)
        return -errno;
    *ret_reason = "/dev/net/tun cannot be opened";
    fd = open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC);
    if (fd < 0)
        return -errno;
    *ret_reason = "a tun device cannot be made";
    request.ifr_flags = IFF_TUN | IFF_NO_PI;
    r = ioctl(fd, TUNSETIFF, &request) < 0 ? -errno : tun_configure(addr, peer);
    if (r < 0) {
        close(fd);
        return r;
    }
    return fd;
}

#endif
