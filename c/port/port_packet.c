/* SPDX-License-Identifier: Apache-2.0
 *
 * Ports of type system: a Linux network device, by a packet socket.
 *
 * The socket carries a virtio-net header with each packet (PACKET_VNET_HDR), so that what veth and
 * tap leave undone passes through as it is and TCP works without ethtool.  Everything set on the
 * device belongs to the socket (promiscuous mode is a membership), so that nothing stays behind a
 * process that was killed.  The port follows its device by the index, whatever its name becomes.
 * When the device goes, the port waits for one of the same name, and the socket is bound to that.
 * With packet_type=legacy_l3 the device is one without link header, as those of VPNs (TUN). */
#define _GNU_SOURCE
#include <errno.h>
#include <linux/if_packet.h>
#include <net/if.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <rte_cycles.h>
#include <rte_mbuf.h>

#include "base/error.h"
#include "port/port.h"
#include "link/link_device.h"
#include "link/link_ethtool.h"
#include "link/link_socket.h"
#include "port/port_vnet.h"
#include "link/link_watch.h"
#include "link/link_wrap.h"
#include "base/stat.h"
#include "packet/pkt.h"

#define BATCH VNET_BATCH
#define RECEIVE_BYTES (8 << 20)  /* Of kernel memory for what waits. */

/* Linux >= 4.20; missing in some libc headers. */
#ifndef PACKET_IGNORE_OUTGOING
#define PACKET_IGNORE_OUTGOING 23
#endif

struct packet {
    int fd;
    /* After opening, for the thread that watches; the index for everybody. */
    struct link_device device;
    uint64_t kernel_drops;       /* The kernel forgets its count when asked. */
    struct mmsghdr rx_messages[BATCH];
    union vnet_ancillary rx_ancillary[BATCH], tx_ancillary[BATCH];
    struct mmsghdr tx_messages[BATCH];
    /* Received, and more than was asked for. */
    struct rte_mbuf *kept[BATCH * VNET_PACKETS];
    uint32_t kept_first, kept_end;
    struct virtio_net_hdr tx_headers[BATCH];
    struct iovec tx_parts[BATCH][VNET_SEGMENTS + 1];
    uint32_t mark, priority, socket_mark, socket_priority; /* Of what is sent now; of the socket. */
    _Atomic int wrap;            /* link_wrap()'s, or -1; by the thread that watches, too. */
    struct link_wrap wraps;      /* What became of packets behind it. */
};

/* --- Opening ---------------------------------------------------------------------------------- */

static int fail(const struct port *port, int error, const char *what)
{
    const char *hint = error == EPERM || error == EACCES ? " (this needs CAP_NET_RAW: run as root)" : "";

    return error_set(error, "%s device %s: %s%s", what, port->device, strerror(error), hint);
}

static int set_option(int fd, int name, const void *value, socklen_t size)
{
    return setsockopt(fd, SOL_PACKET, name, value, size) ? errno : 0;
}

/* Receives by the device from now on; what was received by another before is still there. */
static int bind_to_device(struct packet *packet)
{
    const int index = atomic_load(&packet->device.index);
    struct packet_mreq membership = { .mr_ifindex = index, .mr_type = PACKET_MR_PROMISC };
    struct sockaddr_ll address = { .sll_family = AF_PACKET, .sll_protocol = htons(ETH_P_ALL), .sll_ifindex = index };
    int error = set_option(packet->fd, PACKET_ADD_MEMBERSHIP, &membership, sizeof membership);

    if (!error && bind(packet->fd, (struct sockaddr *)&address, sizeof address))
        error = errno;
    return error;
}

static int attach(struct port *port, struct packet *packet)
{
    const int one = 1, bytes = RECEIVE_BYTES;
    int error = set_option(packet->fd, PACKET_VNET_HDR, &one, sizeof one);

    if (!error)
        error = set_option(packet->fd, PACKET_AUXDATA, &one, sizeof one);
    if (!error)
        error = set_option(packet->fd, PACKET_IGNORE_OUTGOING, &one, sizeof one);
    if (error)
        return fail(port, error, "cannot prepare");
    /* The second is bounded by net.core.rmem_max; the first needs privileges. */
    if (setsockopt(packet->fd, SOL_SOCKET, SO_RCVBUFFORCE, &bytes, sizeof bytes))
        setsockopt(packet->fd, SOL_SOCKET, SO_RCVBUF, &bytes, sizeof bytes);
    error = bind_to_device(packet);
    return error ? fail(port, error, "cannot bind to") : 0;
}

/* Has Linux cut TCP inside tunnels, if it can. */
static void wrap(struct port *port, struct packet *packet)
{
    if (packet->wrap >= 0)
        close(packet->wrap);
    packet->wrap = port->caps & PORT_CAP_L3 ? -1 : link_wrap(packet->fd, atomic_load(&packet->device.index));
    atomic_store_explicit(&port->wraps, packet->wrap >= 0, memory_order_relaxed);
}

static void packet_close(struct port *port)
{
    struct packet *packet = port->state;

    link_watch_remove(port);
    if (packet->wrap >= 0)
        close(packet->wrap);
    link_device_leave(&packet->device);
    if (packet->fd >= 0)
        close(packet->fd);
    rte_pktmbuf_free_bulk(packet->kept + packet->kept_first, packet->kept_end - packet->kept_first);
    free(packet);
}

/* --- The device comes and goes ---------------------------------------------------------------- */

/* Whether the socket still belongs to the device.  It does not, once the device has gone, to
 * another namespace included. */
static bool is_bound(const struct packet *packet)
{
    struct sockaddr_ll address;
    socklen_t size = sizeof address;
    char name[IFNAMSIZ];

    return !getsockname(packet->fd, (struct sockaddr *)&address, &size) && address.sll_ifindex == atomic_load(&packet->device.index) &&
           link_device_name(&packet->device, name);
}

/* A socket says ENETDOWN once, both for a device that was set down and for one that went away. */
static void check_device(struct port *port)
{
    if (!is_bound(port->state))
        port_set_gone(port);
}

/* Takes up a device of the name that the lost one had, or that the port was given. */
static bool take_up(struct port *port, struct packet *packet)
{
    const struct link_user user = port_user(port);
    struct link_device device = { .fd = packet->fd };
    char given[DP_NAME_SIZE];

    if (!port_option(port, "device", given, sizeof given))
        memcpy(given, port->name, sizeof given);
    if (link_device_take(&user, &device, packet->device.name) && link_device_take(&user, &device, given))
        return false;
    packet->device.claim = device.claim;
    memcpy(packet->device.name, device.name, sizeof device.name);
    atomic_store(&packet->device.index, atomic_load(&device.index));
    if (bind_to_device(packet))
        return false;
    wrap(port, packet);
    port_set_mac(port, device.mac);
    atomic_store_explicit(&port->mtu, device.mtu, memory_order_relaxed);
    return true;
}

/* Follows the device: to another name, out of sight, and back. */
static void attend(void *arg)
{
    struct port *port = arg;
    struct packet *packet = port->state;
    char name[IFNAMSIZ];

    link_device_heed(packet->device.claim);
    if (!is_bound(packet)) {
        port_set_gone(port);
        /* Another process may have it as a port in its new place, and it may come back. */
        link_device_leave(&packet->device);
        if (!take_up(port, packet))
            return;
        port_set_here(port);
    }
    if (link_device_name(&packet->device, name) && strcmp(name, packet->device.name)) {
        memcpy(packet->device.name, name, sizeof packet->device.name);
        port_changed(port);
    }
    port_follow_link(port);
}

static int packet_open(struct port *port)
{
    int error = port_options_check(port, PORT_DEVICE_OPTIONS " packet_type");
    struct packet *packet;
    struct link_user user;
    bool l3 = false;

    if (!error)
        error = port_option_l3(port, &l3);
    if (error)
        return error;
    port->caps = PORT_CAP_CHAIN | PORT_CAP_CSUM | PORT_CAP_TSO | (l3 ? PORT_CAP_L3 : 0);
    user = port_user(port);
    if (!port_option(port, "device", port->device, sizeof port->device))
        memcpy(port->device, port->name, sizeof port->device);
    packet = calloc(1, sizeof *packet);
    if (!packet)
        return ENOMEM;
    packet->wrap = -1;
    port->state = packet;
    port->linux_device = &packet->device;
    /* Receives nothing before it is bound. */
    packet->fd = packet->device.fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    error = packet->fd < 0 ? fail(port, errno, "cannot open a packet socket for") : link_device_take(&user, &packet->device, port->device);
    if (!error)
        error = attach(port, packet);
    if (!error)
        wrap(port, packet);
    if (!error)
        error = link_watch_add(port, attend); /* From now on `packet` is that thread's, too. */
    if (error) {
        packet_close(port);
        return error;
    }
    port_set_mac(port, packet->device.mac);
    port->mtu = packet->device.mtu;
    if (link_ethtool_passes_uso(packet->fd, packet->device.name))
        port->caps |= PORT_CAP_BUNDLE;
    port->device[0] = '\0'; /* A name may pass to another device: the claim names the owner. */
    port->rxq_count = 1;
    port->txq_count = 1;
    return 0;
}

/* --- Receiving -------------------------------------------------------------------------------- */

/* A frame becomes packets behind those that are kept. */
static void take(struct port *port, struct packet *packet, struct vnet_buffer *rx, unsigned int i)
{
    struct mmsghdr *message = &packet->rx_messages[i];
    struct rte_mbuf **packets = packet->kept + packet->kept_end;
    const bool whole = !(message->msg_hdr.msg_flags & MSG_TRUNC);
    const int n = whole ? vnet_receive(&rx[i], message->msg_len, vnet_tag_of(&message->msg_hdr), packets) : 0;

    if (n <= 0) {
        stat_add(n < 0 ? &port->rx.no_mbuf : &port->rx.errors, 1);
        return;
    }
    for (int k = 0; k < n; k++)
        stat_add(&port->rx.bytes, packets[k]->pkt_len);
    packet->kept_end += (uint32_t)n;
}

/* Hands over what is kept, at most `n`. */
static uint16_t hand_over(struct port *port, struct packet *packet, struct rte_mbuf **packets, uint16_t n)
{
    const uint32_t some = RTE_MIN((uint32_t)n, packet->kept_end - packet->kept_first);

    memcpy(packets, packet->kept + packet->kept_first, some * sizeof *packets);
    packet->kept_first += some;
    if (packet->kept_first == packet->kept_end)
        packet->kept_first = packet->kept_end = 0;
    stat_add(&port->rx.packets, some);
    return (uint16_t)some;
}

static uint16_t packet_rx(struct port *port, uint16_t queue, struct rte_mbuf **packets, uint16_t n)
{
    struct packet *packet = port->state;
    struct vnet_buffer *rx = vnet_buffers();
    unsigned int ready;
    int got;

    (void)queue;
    if (packet->kept_end)
        return hand_over(port, packet, packets, n);
    if (atomic_load_explicit(&port->gone, memory_order_relaxed))
        return 0;
    ready = vnet_fill(rx, n < BATCH ? n : BATCH);
    if (!ready) {
        stat_add(&port->rx.no_mbuf, 1);
        return 0;
    }
    for (unsigned int i = 0; i < ready; i++)
        packet->rx_messages[i].msg_hdr = (struct msghdr){
            .msg_iov = rx[i].parts, .msg_iovlen = VNET_PARTS,
            .msg_control = &packet->rx_ancillary[i], .msg_controllen = sizeof packet->rx_ancillary[i],
        };
    got = recvmmsg(packet->fd, packet->rx_messages, ready, MSG_DONTWAIT, NULL);
    if (got < 0) {
        if (errno == ENETDOWN || errno == ENXIO)
            check_device(port);
        /* A packet of which the header cannot say what it is (segments of SCTP): the kernel let it
         * go. */
        else if (errno == EINVAL)
            stat_add(&port->rx.errors, 1);
        return 0;
    }
    for (int i = 0; i < got; i++)
        take(port, packet, rx, (unsigned int)i);
    return hand_over(port, packet, packets, n);
}

/* --- Sending ---------------------------------------------------------------------------------- */

/* Whether to try again later with the packet that was refused; otherwise it is the packet's fault,
 * or the device's. */
static bool try_later(struct port *port, int error)
{
    if (error == EAGAIN || error == ENOBUFS || error == EINTR)
        return true;
    if (error == ENETDOWN || error == ENXIO || error == ENODEV)
        check_device(port);
    else if (error == EMSGSIZE)
        /* It was made smaller: what follows is refused before it comes here, and counted as too
         * large. */
        port_follow_mtu(port);
    return false;
}

/* Mark and priority of a packet: what actions set. */
static void marks_of(struct rte_mbuf *m, uint32_t *mark, uint32_t *priority)
{
    const struct pkt_md *md = &pkt_of(m)->md;
    const bool marked = m->ol_flags & PKT_MARKED;

    *mark = marked ? md->skb_mark : 0;
    *priority = marked ? md->skb_priority : 0;
}

/* Whether the socket gives packets this mark and priority.  Kernels before 6.14 take a priority
 * from the socket only, so that packets with others must wait for another call; mostly all have
 * none.  Where a mark is not permitted (it needs CAP_NET_ADMIN) packets go without. */
static bool is_marked_so(const struct packet *packet, struct rte_mbuf *m)
{
    uint32_t mark, priority;

    marks_of(m, &mark, &priority);
    return mark == packet->mark && priority == packet->priority;
}

static void mark_so(struct packet *packet, struct rte_mbuf *m)
{
    marks_of(m, &packet->mark, &packet->priority);
    link_socket_set(packet->fd, SO_MARK, packet->mark, &packet->socket_mark);
    link_socket_set(packet->fd, SO_PRIORITY, packet->priority, &packet->socket_priority);
}

static void note_wrapped(struct port *port, struct packet *packet, bool sent)
{
    if (!link_wrap_note(&packet->wraps, sent ? 0 : errno, rte_rdtsc(), rte_get_tsc_hz()))
        atomic_store_explicit(&port->wraps, 0, memory_order_relaxed);
}

static uint16_t packet_tx(struct port *port, uint16_t queue, struct rte_mbuf **packets, uint16_t n)
{
    struct packet *packet = port->state;
    uint64_t bytes = 0;
    bool wrapped = false;
    uint16_t ready;
    int sent;

    (void)queue;
    if (unlikely(packet->wraps.again) && link_wrap_again(&packet->wraps, rte_rdtsc()))
        atomic_store_explicit(&port->wraps, packet->wrap >= 0, memory_order_relaxed);
    if (unlikely(!is_marked_so(packet, packets[0])))
        mark_so(packet, packets[0]);
    for (ready = 0; ready < n && ready < BATCH && likely(is_marked_so(packet, packets[ready])); ready++) {
        unsigned int parts = vnet_parts(packets[ready], &packet->tx_headers[ready], packet->tx_parts[ready]);

        if (!parts)
            break;
        packet->tx_messages[ready].msg_hdr = (struct msghdr){ .msg_iov = packet->tx_parts[ready], .msg_iovlen = parts };
        wrapped |= vnet_wrap(packets[ready], &packet->tx_messages[ready].msg_hdr, &packet->tx_ancillary[ready]) && !ready;
    }
    sent = ready ? sendmmsg(packet->fd, packet->tx_messages, ready, MSG_DONTWAIT) : -1;
    if (unlikely(wrapped))
        note_wrapped(port, packet, sent > 0);
    if (sent <= 0) {
        if (ready && try_later(port, errno))
            return 0;
        stat_add(&port->tx.errors, 1); /* The first one is the one that was refused. */
        rte_pktmbuf_free(packets[0]);
        return 1;
    }
    for (int i = 0; i < sent; i++)
        bytes += packets[i]->pkt_len;
    stat_add(&port->tx.packets, (uint64_t)sent);
    stat_add(&port->tx.bytes, bytes);
    rte_pktmbuf_free_bulk(packets, (unsigned int)sent);
    return (uint16_t)sent;
}

/* --- Questions -------------------------------------------------------------------------------- */

static void packet_stats(struct port *port, struct dp_port_stats *stats)
{
    struct packet *packet = port->state;
    struct tpacket_stats kernel;
    socklen_t size = sizeof kernel;

    if (!getsockopt(packet->fd, SOL_PACKET, PACKET_STATISTICS, &kernel, &size))
        packet->kernel_drops += kernel.tp_drops;
    stats->rx_dropped += packet->kernel_drops;
}

static uint32_t packet_mtu(struct port *port)
{
    return link_device_mtu(&((struct packet *)port->state)->device);
}

static int packet_wait(struct port *port, uint16_t queue)
{
    (void)queue;
    return atomic_load_explicit(&port->gone, memory_order_relaxed) ? -1 : ((struct packet *)port->state)->fd;
}

const struct port_class port_class_system = {
    .type = "system", .open = packet_open, .close = packet_close, .rx_burst = packet_rx, .tx_burst = packet_tx,
    .rx_wait = packet_wait,
    .stats = packet_stats, .ask_mtu = packet_mtu,
};
