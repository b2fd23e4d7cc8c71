/* SPDX-License-Identifier: Apache-2.0
 *
 * Ports of type tap and internal: a TAP device, by which the host itself is on the datapath.  It is named like the port (or `device=NAME`) and goes with it.
 * Packets carry a virtio-net header, as in port_packet.c. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <rte_mbuf.h>

#include "base/error.h"
#include "port/port.h"
#include "port/port_vnet.h"
#include "base/stat.h"

#define MTU 1500u
#define MTU_MAX 65521u

/* Linux >= 6.2. */
#ifndef TUN_F_USO4
#define TUN_F_USO4 0x20
#define TUN_F_USO6 0x40
#endif

struct tap {
    int fd;
    int control;                 /* A socket to ask about the device; it stays in the namespace that the device was made in. */
    struct vnet_buffer rx;
    struct virtio_net_hdr tx_header;
    struct iovec tx_parts[VNET_SEGMENTS + 1];
};

static int fail(const struct port *port, const char *what)
{
    int error = errno;
    const char *hint = error == EPERM || error == EACCES ? " (this needs CAP_NET_ADMIN: run as root)"
                       : error == ENOENT || error == ENXIO ? " (the kernel needs its module tun)"
                       : error == EBUSY ? " (a device of that name exists)" : "";

    return error_set(error, "Cannot add port %s: %s: %s%s", port->name, what, strerror(error), hint);
}

static void name_device(struct ifreq *ifr, const struct port *port)
{
    memcpy(ifr->ifr_name, port->device, strnlen(port->device, IFNAMSIZ - 1));
}

static int set_link(struct port *port, struct tap *tap)
{
    struct ifreq ifr = { 0 };

    name_device(&ifr, port);
    ifr.ifr_mtu = (int)port->mtu;
    if (ioctl(tap->control, SIOCSIFMTU, &ifr))
        return fail(port, "cannot set the MTU");
    if (ioctl(tap->control, SIOCGIFHWADDR, &ifr))
        return fail(port, "cannot read the address");
    memcpy(port->mac, ifr.ifr_hwaddr.sa_data, sizeof port->mac);
    if (ioctl(tap->control, SIOCGIFFLAGS, &ifr))
        return fail(port, "cannot read the flags");
    ifr.ifr_flags |= IFF_UP;
    return ioctl(tap->control, SIOCSIFFLAGS, &ifr) ? fail(port, "cannot set the device up") : 0;
}

static int make_device(struct port *port, struct tap *tap)
{
    unsigned int offloads = TUN_F_CSUM | TUN_F_TSO4 | TUN_F_TSO6 | TUN_F_TSO_ECN;
    struct ifreq ifr = { .ifr_flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR | IFF_TUN_EXCL };

    tap->control = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (tap->control < 0)
        return fail(port, "cannot open a socket");
    tap->fd = open("/dev/net/tun", O_RDWR | O_CLOEXEC | O_NONBLOCK);
    if (tap->fd < 0)
        return fail(port, "cannot open /dev/net/tun");
    name_device(&ifr, port);
    if (ioctl(tap->fd, TUNSETIFF, &ifr))
        return fail(port, "cannot make the TAP device");
    if (ioctl(tap->fd, TUNSETOFFLOAD, offloads | TUN_F_USO4 | TUN_F_USO6) && ioctl(tap->fd, TUNSETOFFLOAD, offloads))
        return fail(port, "cannot set offloads");
    return set_link(port, tap);
}

static void tap_close(struct port *port)
{
    struct tap *tap = port->state;

    if (tap->fd >= 0)
        close(tap->fd);
    if (tap->control >= 0)
        close(tap->control);
    vnet_empty(&tap->rx, 1);
    free(tap);
}

static int tap_open(struct port *port)
{
    int error = port_options_check(port, "device mtu");
    struct tap *tap;
    uint32_t mtu;

    if (!error)
        error = port_option_number(port, "mtu", 68, MTU_MAX, MTU, &mtu);
    if (error)
        return error;
    port->mtu = mtu;
    if (!port_option(port, "device", port->device, sizeof port->device))
        memcpy(port->device, port->name, sizeof port->device);
    if (strlen(port->device) >= IFNAMSIZ)
        return error_set(EINVAL, "Cannot add port %s: a device's name has at most %d bytes; give it one by the option device=NAME",
                         port->name, IFNAMSIZ - 1);
    tap = calloc(1, sizeof *tap);
    if (!tap)
        return ENOMEM;
    port->state = tap;
    tap->fd = tap->control = -1;
    error = make_device(port, tap);
    if (error) {
        tap_close(port);
        return error;
    }
    port->rxq_count = 1;
    port->txq_count = 1;
    port->caps = PORT_CAP_CHAIN | PORT_CAP_CSUM | PORT_CAP_TSO;
    return 0;
}

static uint16_t tap_rx(struct port *port, uint16_t queue, struct rte_mbuf **packets, uint16_t n)
{
    struct tap *tap = port->state;
    uint16_t good = 0;

    (void)queue;
    if (atomic_load_explicit(&port->gone, memory_order_relaxed))
        return 0;
    while (good < n) {
        struct rte_mbuf *m;
        ssize_t size;

        if (!vnet_fill(&tap->rx, 1)) {
            stat_add(&port->rx.no_mbuf, 1);
            break;
        }
        size = readv(tap->fd, tap->rx.parts, VNET_PARTS);
        if (size < 0) {
            if (errno == EBADFD) /* Somebody deleted the device. */
                port_set_gone(port);
            break;
        }
        m = vnet_take(&tap->rx, (uint32_t)size);
        if (m && vnet_mark(m, &tap->rx.header)) {
            stat_add(&port->rx.bytes, m->pkt_len);
            packets[good++] = m;
        } else {
            stat_add(&port->rx.errors, 1);
            rte_pktmbuf_free(m);
        }
    }
    stat_add(&port->rx.packets, good);
    return good;
}

static uint16_t tap_tx(struct port *port, uint16_t queue, struct rte_mbuf **packets, uint16_t n)
{
    struct tap *tap = port->state;
    uint16_t done;

    (void)queue;
    for (done = 0; done < n; done++) {
        unsigned int parts = vnet_parts(packets[done], &tap->tx_header, tap->tx_parts);
        ssize_t written = parts ? writev(tap->fd, tap->tx_parts, (int)parts) : -1;

        if (written < 0 && parts && (errno == EAGAIN || errno == ENOBUFS))
            break;
        if (written >= 0) {
            stat_add(&port->tx.packets, 1);
            stat_add(&port->tx.bytes, packets[done]->pkt_len);
        } else {
            if (parts && errno == EBADFD)
                port_set_gone(port);
            stat_add(&port->tx.errors, 1); /* EIO: the device is down. */
        }
        rte_pktmbuf_free(packets[done]);
    }
    return done;
}

static bool tap_link_up(struct port *port)
{
    struct tap *tap = port->state;
    struct ifreq ifr = { 0 };

    name_device(&ifr, port);
    return !ioctl(tap->control, SIOCGIFFLAGS, &ifr) && (ifr.ifr_flags & IFF_UP);
}

static uint32_t tap_mtu(struct port *port)
{
    struct tap *tap = port->state;
    struct ifreq ifr = { 0 };

    name_device(&ifr, port);
    return ioctl(tap->control, SIOCGIFMTU, &ifr) || ifr.ifr_mtu < 0 ? 0 : (uint32_t)ifr.ifr_mtu;
}

static int tap_wait(struct port *port, uint16_t queue)
{
    (void)queue;
    return atomic_load_explicit(&port->gone, memory_order_relaxed) ? -1 : ((struct tap *)port->state)->fd;
}

const struct port_class port_class_tap = {
    .type = "tap", .open = tap_open, .close = tap_close, .rx_burst = tap_rx, .tx_burst = tap_tx,
    .rx_wait = tap_wait, .ask_mtu = tap_mtu, .link_up = tap_link_up,
};
const struct port_class port_class_internal = {
    .type = "internal", .open = tap_open, .close = tap_close, .rx_burst = tap_rx, .tx_burst = tap_tx,
    .rx_wait = tap_wait, .ask_mtu = tap_mtu, .link_up = tap_link_up,
};
