/* SPDX-License-Identifier: Apache-2.0
 *
 * Ports of type tap and internal: a TAP device, by which the host itself is on the datapath.  It is
 * named like the port (or `device=NAME`) and goes with it.  When somebody else deletes it, alone or
 * with the namespace that it was moved to, the port makes it anew.  Packets carry a virtio-net
 * header, as in port_packet.c. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <linux/sockios.h>
#include <net/if.h>
#include <net/if_arp.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <rte_mbuf.h>

#include "base/error.h"
#include "port/port.h"
#include "port/port_vnet.h"
#include "link/link_watch.h"
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
    /* A socket to ask about the device; it stays in the namespace that the device was made in. */
    int control;
    struct virtio_net_hdr tx_header;
    struct iovec tx_parts[VNET_SEGMENTS + 1];
    /* What one frame became, as far as it has not been handed over. */
    struct rte_mbuf *kept[VNET_PACKETS];
    uint32_t kept_first, kept_end;
};

static int fail(const char *what)
{
    int error = errno;
    const char *hint = error == EPERM || error == EACCES ? " (this needs CAP_NET_ADMIN: run as root)"
                       : error == ENOENT || error == ENXIO ? " (the kernel needs its module tun)"
                       : error == EBUSY ? " (a device of that name exists)" : "";

    return error_set(error, "%s: %s%s", what, strerror(error), hint);
}

static void name_device(struct ifreq *ifr, const struct port *port)
{
    memcpy(ifr->ifr_name, port->device, strnlen(port->device, IFNAMSIZ - 1));
}

/* `again`: the device has the address that the one before it had. */
static int set_link(struct port *port, struct tap *tap, bool again)
{
    struct ifreq ifr = { 0 };

    name_device(&ifr, port);
    if (again) {
        ifr.ifr_hwaddr.sa_family = ARPHRD_ETHER;
        port_mac(port, (uint8_t *)ifr.ifr_hwaddr.sa_data);
        if (ioctl(tap->control, SIOCSIFHWADDR, &ifr))
            return fail("cannot set the address");
    }
    ifr.ifr_mtu = (int)port->mtu;
    if (ioctl(tap->control, SIOCSIFMTU, &ifr))
        return fail("cannot set the MTU");
    if (ioctl(tap->control, SIOCGIFHWADDR, &ifr))
        return fail("cannot read the address");
    port_set_mac(port, (const uint8_t *)ifr.ifr_hwaddr.sa_data);
    if (ioctl(tap->control, SIOCGIFFLAGS, &ifr))
        return fail("cannot read the flags");
    ifr.ifr_flags |= IFF_UP;
    return ioctl(tap->control, SIOCSIFFLAGS, &ifr) ? fail("cannot set the device up") : 0;
}

static int make_device(struct port *port, struct tap *tap, bool again)
{
    unsigned int offloads = TUN_F_CSUM | TUN_F_TSO4 | TUN_F_TSO6 | TUN_F_TSO_ECN;
    struct ifreq ifr = { .ifr_flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR | IFF_TUN_EXCL };

    tap->control = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (tap->control < 0)
        return fail("cannot open a socket");
    tap->fd = open("/dev/net/tun", O_RDWR | O_CLOEXEC | O_NONBLOCK);
    if (tap->fd < 0)
        return fail("cannot open /dev/net/tun");
    name_device(&ifr, port);
    if (ioctl(tap->fd, TUNSETIFF, &ifr))
        return fail("cannot make the TAP device");
    if (ioctl(tap->fd, TUNSETOFFLOAD, offloads | TUN_F_USO4 | TUN_F_USO6) && ioctl(tap->fd, TUNSETOFFLOAD, offloads))
        return fail("cannot set offloads");
    return set_link(port, tap, again);
}

/* A descriptor of the namespace that a device is in now, or -1: it is the one that `control` is in,
 * or cannot be asked for (Linux before 5.2). */
static int moved_to(const struct tap *tap)
{
    const int now = ioctl(tap->fd, TUNGETDEVNETNS), ours = ioctl(tap->control, SIOCGSKNS);
    struct stat a, b;
    const bool moved = now >= 0 && ours >= 0 && !fstat(now, &a) && !fstat(ours, &b) && (a.st_ino != b.st_ino || a.st_dev != b.st_dev);

    if (ours >= 0)
        close(ours);
    if (moved || now < 0)
        return moved ? now : -1;
    close(now);
    return -1;
}

/* Deletes the device.  Closing the descriptor does that too, but only when the poll thread, which
 * may be asleep on it, has let go of it as well: until then, the name is taken. */
static void delete_device(const struct tap *tap)
{
    struct {
        struct nlmsghdr header;
        struct ifinfomsg link;
    } request = { .header = { .nlmsg_len = sizeof request, .nlmsg_type = RTM_DELLINK, .nlmsg_flags = NLM_F_REQUEST | NLM_F_ACK } };
    struct ifreq ifr = { 0 };
    uint8_t answer[1024];
    int fd, elsewhere;

    if (tap->fd < 0 || tap->control < 0)
        return;
    elsewhere = moved_to(tap);
    if (elsewhere >= 0) /* It goes with its descriptor. */
        close(elsewhere);
    if (elsewhere >= 0 || ioctl(tap->fd, TUNGETIFF, &ifr) || ioctl(tap->control, SIOCGIFINDEX, &ifr))
        return;
    request.link.ifi_index = ifr.ifr_ifindex;
    fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);
    if (fd >= 0 && send(fd, &request, sizeof request, 0) > 0)
        (void)!recv(fd, answer, sizeof answer, 0);
    if (fd >= 0)
        close(fd);
}

/* Makes a device in place of one that was deleted, behind the same descriptors. */
static void make_anew(struct port *port, const struct tap *tap)
{
    struct tap made = { .fd = -1, .control = -1 };

    if (!make_device(port, &made, true)) {
        dup3(made.control, tap->control, O_CLOEXEC); /* Others may be asking by that number. */
        dup3(made.fd, tap->fd, O_CLOEXEC);
        port_set_here(port);
    }
    if (made.fd >= 0)
        close(made.fd);
    if (made.control >= 0)
        close(made.control);
}

/* Follows the device to another namespace, as devices of containers go, to ask about it there. */
static void attend(void *arg)
{
    struct port *port = arg;
    const struct tap *tap = port->state;
    const int there = moved_to(tap), here = there < 0 ? -1 : open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC);
    struct ifreq ifr = { 0 };
    int control;

    if (here >= 0 && !setns(there, CLONE_NEWNET)) {
        control = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
        setns(here, CLONE_NEWNET);
        if (control >= 0) {
            dup3(control, tap->control, O_CLOEXEC); /* Others may be asking by that number. */
            close(control);
        }
    }
    if (here >= 0)
        close(here);
    if (there >= 0)
        close(there);
    if (!ioctl(tap->fd, TUNGETIFF, &ifr)) {
        port_set_here(port);
    } else if (errno == EBADFD) {
        port_set_gone(port);
        make_anew(port, tap);
    }
    port_follow_link(port);
}

static void tap_close(struct port *port)
{
    struct tap *tap = port->state;

    link_watch_remove(port);
    delete_device(tap);
    if (tap->fd >= 0)
        close(tap->fd);
    if (tap->control >= 0)
        close(tap->control);
    rte_pktmbuf_free_bulk(tap->kept + tap->kept_first, tap->kept_end - tap->kept_first);
    free(tap);
}

static int tap_open(struct port *port)
{
    int error = port_options_check(port, "device mtu");
    struct tap *tap;
    uint32_t mtu;

    if (!error)
        error = port_option_number(port, "mtu", PORT_MTU_LEAST, MTU_MAX, MTU, &mtu);
    if (error)
        return error;
    port->mtu = mtu;
    if (!port_option(port, "device", port->device, sizeof port->device))
        memcpy(port->device, port->name, sizeof port->device);
    if (strlen(port->device) >= IFNAMSIZ)
        return error_set(EINVAL, "a device's name has at most %d bytes; give it one by the option device=NAME",
                         IFNAMSIZ - 1);
    tap = calloc(1, sizeof *tap);
    if (!tap)
        return ENOMEM;
    port->state = tap;
    tap->fd = tap->control = -1;
    error = make_device(port, tap, false);
    if (!error)
        error = link_watch_add(port, attend);
    if (error) {
        tap_close(port);
        return error;
    }
    port->rxq_count = 1;
    port->txq_count = 1;
    port->caps = PORT_CAP_CHAIN | PORT_CAP_CSUM | PORT_CAP_TSO;
    return 0;
}

/* Hands over what is kept, at most `n`. */
static uint16_t hand_over(struct tap *tap, struct rte_mbuf **packets, uint16_t n)
{
    const uint32_t some = RTE_MIN((uint32_t)n, tap->kept_end - tap->kept_first);

    memcpy(packets, tap->kept + tap->kept_first, some * sizeof *packets);
    tap->kept_first += some;
    if (tap->kept_first == tap->kept_end)
        tap->kept_first = tap->kept_end = 0;
    return (uint16_t)some;
}

static uint16_t tap_rx(struct port *port, uint16_t queue, struct rte_mbuf **packets, uint16_t n)
{
    struct tap *tap = port->state;
    struct vnet_buffer *rx = vnet_buffers();
    uint16_t good = hand_over(tap, packets, n);

    (void)queue;
    /* Packets that are refused count too: a sender of nothing else must not keep the thread
     * here. */
    for (uint16_t tries = 0; good < n && tries < n; tries++) {
        ssize_t size;
        int count;

        if (atomic_load_explicit(&port->gone, memory_order_relaxed))
            break;
        if (!vnet_fill(rx, 1)) {
            stat_add(&port->rx.no_mbuf, 1);
            break;
        }
        size = readv(tap->fd, rx->parts, VNET_PARTS);
        if (size < 0) {
            if (errno == EBADFD) /* Somebody deleted the device. */
                port_set_gone(port);
            break;
        }
        /* Segments of UDP may be an IP packet of 64 KiB with an Ethernet header in front of it,
         * which is more than one packet here. */
        count = vnet_receive(rx, (uint32_t)size, (struct vnet_tag){ 0 }, tap->kept);
        if (count <= 0) {
            stat_add(count < 0 ? &port->rx.no_mbuf : &port->rx.errors, 1);
            continue;
        }
        for (int i = 0; i < count; i++)
            stat_add(&port->rx.bytes, tap->kept[i]->pkt_len);
        tap->kept_end = (uint32_t)count;
        good = (uint16_t)(good + hand_over(tap, packets + good, (uint16_t)(n - good)));
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

/* Asks about the device by the name that it has now. */
static bool ask(const struct port *port, unsigned long request, struct ifreq *ifr)
{
    const struct tap *tap = port->state;

    memset(ifr, 0, sizeof *ifr);
    return !ioctl(tap->fd, TUNGETIFF, ifr) && !ioctl(tap->control, request, ifr);
}

static bool tap_link_up(struct port *port)
{
    struct ifreq ifr;

    return ask(port, SIOCGIFFLAGS, &ifr) && (ifr.ifr_flags & IFF_UP);
}

static uint32_t tap_mtu(struct port *port)
{
    struct ifreq ifr;

    return ask(port, SIOCGIFMTU, &ifr) && ifr.ifr_mtu > 0 ? (uint32_t)ifr.ifr_mtu : 0;
}

static int tap_set_config(struct port *port, const char *key, const char *value)
{
    const struct tap *tap = port->state;
    struct ifreq ifr = { 0 };
    uint32_t mtu;
    int error = port_setting_mtu(port, key, value, MTU_MAX, &mtu);

    if (error)
        return error;
    if (ioctl(tap->fd, TUNGETIFF, &ifr))
        return fail("cannot find the device");
    ifr.ifr_mtu = (int)mtu;
    if (ioctl(tap->control, SIOCSIFMTU, &ifr))
        return fail("cannot set the MTU");
    atomic_store_explicit(&port->mtu, mtu, memory_order_relaxed);
    return 0;
}

static bool tap_device_name(struct port *port, char name[DP_NAME_SIZE])
{
    struct ifreq ifr = { 0 };

    if (ioctl(((struct tap *)port->state)->fd, TUNGETIFF, &ifr))
        return false;
    memcpy(name, ifr.ifr_name, IFNAMSIZ);
    return true;
}

static struct link_speed tap_link_speed(struct port *port)
{
    char name[DP_NAME_SIZE];

    return tap_device_name(port, name) ? link_ethtool_speed(((struct tap *)port->state)->control, name) : (struct link_speed){ 0 };
}

static int tap_wait(struct port *port, uint16_t queue)
{
    (void)queue;
    return atomic_load_explicit(&port->gone, memory_order_relaxed) ? -1 : ((struct tap *)port->state)->fd;
}

const struct port_class port_class_tap = {
    .type = "tap", .open = tap_open, .close = tap_close, .rx_burst = tap_rx, .tx_burst = tap_tx,
    .rx_wait = tap_wait, .ask_mtu = tap_mtu, .link_up = tap_link_up, .device_name = tap_device_name,
    .link_speed = tap_link_speed, .set_config = tap_set_config,
};
const struct port_class port_class_internal = {
    .type = "internal", .open = tap_open, .close = tap_close, .rx_burst = tap_rx, .tx_burst = tap_tx,
    .rx_wait = tap_wait, .ask_mtu = tap_mtu, .link_up = tap_link_up, .device_name = tap_device_name,
    .link_speed = tap_link_speed, .set_config = tap_set_config,
};
