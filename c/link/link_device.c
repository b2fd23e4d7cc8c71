/* SPDX-License-Identifier: Apache-2.0 */
#define _GNU_SOURCE
#include "link/link_device.h"

#include <errno.h>
#include <linux/if_arp.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/error.h"

#define WAITING 128              /* Processes that ask for the owner: link_device_heed(). */
/* An abstract name: it belongs to the network namespace, as the index does. */
#define CLAIM "upcall-device-%d"

/* --- Types ------------------------------------------------------------------------------------ */

bool link_device_is_ethernet(unsigned int type)
{
    return type == ARPHRD_ETHER;
}

bool link_device_is_l3(unsigned int type)
{
    return type == ARPHRD_NONE || type == ARPHRD_RAWIP || type == ARPHRD_TUNNEL || type == ARPHRD_TUNNEL6 || type == ARPHRD_SIT;
}

static const char *type_name(unsigned int type)
{
    static const struct {
        uint16_t type;
        const char *name;
    } names[] = {
        { ARPHRD_ETHER, "Ethernet" }, { ARPHRD_NONE, "without link header, as TUN and WireGuard" }, { ARPHRD_LOOPBACK, "loopback" }, { ARPHRD_PPP, "PPP" },
        { ARPHRD_RAWIP, "raw IP" }, { ARPHRD_TUNNEL, "IP in IP" }, { ARPHRD_TUNNEL6, "IPv6 tunnel" }, { ARPHRD_SIT, "IPv6 in IPv4" },
        { ARPHRD_IPGRE, "GRE over IPv4" }, { ARPHRD_IP6GRE, "GRE over IPv6" }, { ARPHRD_INFINIBAND, "InfiniBand" },
        { ARPHRD_IEEE80211, "IEEE 802.11" }, { ARPHRD_IEEE80211_RADIOTAP, "IEEE 802.11 with radiotap" },
        { ARPHRD_IEEE802154, "IEEE 802.15.4" }, { ARPHRD_CAN, "CAN" }, { ARPHRD_SLIP, "SLIP" }, { ARPHRD_NETLINK, "netlink monitor" },
    };

    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        if (names[i].type == type)
            return names[i].name;
    return "unknown";
}

int link_device_refuse(const char *name, unsigned int type)
{
    return error_set(EINVAL, "%s is not an Ethernet device: its type is %u (%s)", name, type, type_name(type));
}

static int refuse_l3(const char *name, unsigned int type)
{
    return error_set(EINVAL, "%s is no device for packets without link header: its type is %u (%s)", name, type, type_name(type));
}

/* --- Questions -------------------------------------------------------------------------------- */

static int ask(int fd, unsigned long request, const char *name, struct ifreq *ifr)
{
    memset(ifr, 0, sizeof *ifr);
    memcpy(ifr->ifr_name, name, strnlen(name, IFNAMSIZ - 1));
    return ioctl(fd, request, ifr) ? errno : 0;
}

int link_device_type(const char *name, unsigned int *type)
{
    const int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    struct ifreq ifr;
    int error = fd < 0 ? errno : ask(fd, SIOCGIFHWADDR, name, &ifr);

    if (fd >= 0)
        close(fd);
    *type = error ? 0 : ifr.ifr_hwaddr.sa_family;
    return error;
}

bool link_device_name(const struct link_device *device, char name[IFNAMSIZ])
{
    struct ifreq ifr = { .ifr_ifindex = atomic_load_explicit(&device->index, memory_order_relaxed) };

    if (ioctl(device->fd, SIOCGIFNAME, &ifr))
        return false;
    memcpy(name, ifr.ifr_name, IFNAMSIZ);
    return true;
}

/* Asks by the name that the device has now.  Should it change hands in between, the next question
 * puts it right. */
static int ask_device(const struct link_device *device, unsigned long request, struct ifreq *ifr)
{
    char name[IFNAMSIZ];

    return link_device_name(device, name) ? ask(device->fd, request, name, ifr) : ENODEV;
}

bool link_device_link_up(const struct link_device *device)
{
    struct ifreq ifr;

    return !ask_device(device, SIOCGIFFLAGS, &ifr) && (ifr.ifr_flags & IFF_UP) && (ifr.ifr_flags & IFF_RUNNING);
}

uint32_t link_device_mtu(const struct link_device *device)
{
    struct ifreq ifr;

    return ask_device(device, SIOCGIFMTU, &ifr) || ifr.ifr_mtu < 0 ? 0 : (uint32_t)ifr.ifr_mtu;
}

/* --- Claims ----------------------------------------------------------------------------------- */

/* The process that has a claim, if it is one that could have the device; 0: none such; -1: it does
 * not say.  Anybody can take an abstract name, but not a device. */
static int claimant(const struct sockaddr_un *address, socklen_t size)
{
    const int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    struct ucred peer = { .pid = 0 };
    socklen_t room = sizeof peer;
    bool busy, told;

    if (fd < 0)
        return 0;
    errno = 0;
    told = !connect(fd, (const struct sockaddr *)address, size) && !getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &room);
    busy = errno == EAGAIN;
    close(fd);
    if (busy)
        return -1;
    return told && (!peer.uid || peer.uid == geteuid()) ? peer.pid : 0;
}

/* Also a member of the list of this process, which knows of its ports what others cannot see. */
struct link_device_claim {
    struct link_device_claim *next;
    struct link_user user;
    int fd;
    int index;
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct link_device_claim *claims;

/* The port of the same datapath that has a device; NULL: none. */
static const struct link_user *sibling(const struct link_user *port, int index)
{
    for (const struct link_device_claim *c = claims; c; c = c->next)
        if (c->index == index && c->user.set == port->set)
            return &c->user;
    return NULL;
}

static int refuse_claimed(const struct link_user *port, int index, const char *name, int pid)
{
    const struct link_user *other;
    char whose[64];

    pthread_mutex_lock(&lock);
    other = pid == getpid() ? sibling(port, index) : NULL;
    if (other)
        error_set(EEXIST, "device %s is port %u (%s) already", name, other->no, other->name);
    pthread_mutex_unlock(&lock);
    if (other)
        return EEXIST;
    if (pid == getpid())
        snprintf(whose, sizeof whose, "another datapath of this process");
    else if (pid < 0)
        snprintf(whose, sizeof whose, "another process");
    else
        snprintf(whose, sizeof whose, "process %d", pid);
    return error_set(EBUSY, "device %s is a port of %s, and both would forward every packet; "
                            "the option shared=yes allows it", name, whose);
}

int link_device_claim(const struct link_user *port, int index, const char *name, struct link_device_claim **made)
{
    struct sockaddr_un address = { .sun_family = AF_UNIX };
    const int used = snprintf(address.sun_path + 1, sizeof address.sun_path - 1, CLAIM, index);
    const socklen_t size = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + (size_t)used);
    struct link_device_claim *c = malloc(sizeof *c);
    int pid;

    *made = NULL;
    if (!c)
        return ENOMEM;
    *c = (struct link_device_claim){ .user = *port, .index = index, .fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0) };
    if (c->fd >= 0 && !bind(c->fd, (struct sockaddr *)&address, size) && !listen(c->fd, WAITING)) {
        pthread_mutex_lock(&lock);
        c->next = claims;
        claims = c;
        pthread_mutex_unlock(&lock);
        *made = c;
        return 0;
    }
    if (c->fd >= 0)
        close(c->fd);
    free(c);
    pid = claimant(&address, size);
    if (pid == getpid() || !port->shared)
        return pid ? refuse_claimed(port, index, name, pid) : 0;
    return 0;
}

void link_device_heed(const struct link_device_claim *claim)
{
    /* As many as can wait at a time, so that processes that ask without end get no more. */
    for (int i = 0; claim && i < WAITING; i++) {
        int fd = accept4(claim->fd, NULL, NULL, SOCK_CLOEXEC);

        if (fd < 0)
            break;
        close(fd);
    }
}

void link_device_unclaim(struct link_device_claim *claim)
{
    struct link_device_claim **at = &claims;

    if (!claim)
        return;
    pthread_mutex_lock(&lock);
    while (*at != claim)
        at = &(*at)->next;
    *at = claim->next;
    pthread_mutex_unlock(&lock);
    close(claim->fd);
    free(claim);
}

/* --- Taking ----------------------------------------------------------------------------------- */

static int no_device(const char *name, int error, const char *what)
{
    return error_set(error, "%s device %s: %s", what, name, strerror(error));
}

int link_device_take(const struct link_user *port, struct link_device *device, const char *name)
{
    struct ifreq ifr;
    int error;

    if (strlen(name) >= IFNAMSIZ)
        return error_set(ENODEV, "%s is too long for a device's name", name);
    error = ask(device->fd, SIOCGIFINDEX, name, &ifr);
    if (error)
        return no_device(name, error, "no");
    atomic_store_explicit(&device->index, ifr.ifr_ifindex, memory_order_relaxed);
    error = ask(device->fd, SIOCGIFFLAGS, name, &ifr);
    if (error)
        return no_device(name, error, "cannot examine");
    if (ifr.ifr_flags & IFF_LOOPBACK)
        return error_set(EINVAL, "%s is a loopback device", name);
    error = ask(device->fd, SIOCGIFHWADDR, name, &ifr);
    if (error)
        return no_device(name, error, "cannot examine");
    if (port->l3 && !link_device_is_l3(ifr.ifr_hwaddr.sa_family))
        return refuse_l3(name, ifr.ifr_hwaddr.sa_family);
    if (!port->l3 && !link_device_is_ethernet(ifr.ifr_hwaddr.sa_family))
        return link_device_refuse(name, ifr.ifr_hwaddr.sa_family);
    memcpy(device->mac, ifr.ifr_hwaddr.sa_data, sizeof device->mac);
    error = ask(device->fd, SIOCGIFMTU, name, &ifr);
    if (error)
        return no_device(name, error, "cannot examine");
    device->mtu = (uint32_t)ifr.ifr_mtu;
    memset(device->name, 0, sizeof device->name);
    memcpy(device->name, name, strlen(name));
    return link_device_claim(port, atomic_load_explicit(&device->index, memory_order_relaxed), name, &device->claim);
}

void link_device_leave(struct link_device *device)
{
    link_device_unclaim(device->claim);
    device->claim = NULL;
}
