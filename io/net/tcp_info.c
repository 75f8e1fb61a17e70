/* What the kernel tells of connections and listeners (TCP_INFO), in our names and units. */
#include <errno.h>
#include <linux/tcp.h>
#include <netinet/in.h>

#include "io/net/socket.h"

/* An older kernel fills less of it: the rest is 0. */
static int info_of(const void *handle, struct tcp_info *ret_info)
{
    socklen_t bytes = sizeof *ret_info;
    struct filch__fd *object;
    int r = filch__fd_enter(handle, &object);

    if (r < 0)
        return r;
    *ret_info = (struct tcp_info){0};
    r = getsockopt(object->fd, IPPROTO_TCP, TCP_INFO, ret_info, &bytes) < 0 ? -errno : 0;
    filch__fd_leave(object);
    return r;
}

static filch_time us(uint64_t count)
{
    return count * FILCH_MICROSECOND;
}

static filch_time ms(uint64_t count)
{
    return count * FILCH_MILLISECOND;
}

/* None was measured yet: the kernel says -1. */
static filch_time least_us(uint32_t count)
{
    return count == UINT32_MAX ? 0 : us(count);
}

int filch_tcp_get_info(filch_tcp *conn, filch_tcp_info *ret_info)
{
    struct tcp_info k;
    int r;

    if (!ret_info)
        return -EINVAL;
    r = info_of(conn, &k);
    if (r < 0)
        return r;
    *ret_info = (filch_tcp_info){
        .state = (enum filch_tcp_state)k.tcpi_state,
        .retries = k.tcpi_retransmits,
        .rtt_ns = us(k.tcpi_rtt),
        .rtt_var_ns = us(k.tcpi_rttvar),
        .rtt_min_ns = least_us(k.tcpi_min_rtt),
        .retry_ns = us(k.tcpi_rto),
        .since_send_ns = ms(k.tcpi_last_data_sent),
        .since_recv_ns = ms(k.tcpi_last_data_recv),
        .since_ack_ns = ms(k.tcpi_last_ack_recv),
        .sent_bytes = k.tcpi_bytes_sent,
        .resent_bytes = k.tcpi_bytes_retrans,
        .acked_bytes = k.tcpi_bytes_acked,
        .received_bytes = k.tcpi_bytes_received,
        .unsent_bytes = k.tcpi_notsent_bytes,
        .sent_segments = k.tcpi_data_segs_out,
        .resent_segments = k.tcpi_total_retrans,
        .received_segments = k.tcpi_data_segs_in,
        .flight_segments = k.tcpi_unacked,
        .lost_segments = k.tcpi_lost,
        .window_segments = k.tcpi_snd_cwnd,
        .threshold_segments = k.tcpi_snd_ssthresh,
        .reordered = k.tcpi_reord_seen,
        .send_segment_bytes = k.tcpi_snd_mss,
        .recv_segment_bytes = k.tcpi_rcv_mss,
        .path_mtu_bytes = k.tcpi_pmtu,
        .peer_window_bytes = k.tcpi_snd_wnd,
        .pacing_rate = k.tcpi_pacing_rate,
        .delivery_rate = k.tcpi_delivery_rate,
        .busy_ns = us(k.tcpi_busy_time),
        .peer_limited_ns = us(k.tcpi_rwnd_limited),
        .buffer_limited_ns = us(k.tcpi_sndbuf_limited),
    };
    return 0;
}

/* Of a listener the kernel puts the queue where a connection has its acknowledgements. */
int filch_listener_queue(filch_listener *listener, unsigned *ret_waiting, unsigned *ret_most)
{
    struct tcp_info k;
    int r;

    if (!ret_waiting)
        return -EINVAL;
    r = info_of(listener, &k);
    if (r == 0 && k.tcpi_state != FILCH_TCP_STATE_LISTEN)
        r = -EINVAL;
    if (r < 0)
        return r;
    *ret_waiting = k.tcpi_unacked;
    if (ret_most)
        *ret_most = k.tcpi_sacked;
    return 0;
}
