/* SPDX-License-Identifier: Apache-2.0
 * link_device.h - the Linux network device that a port stands on.
 *
 * A device is known by its index, which stays as long as it is in its network namespace; names
 * change hands.  A process that has a device as a port holds a claim, which other processes see:
 * with two of them on one device, both would forward every packet.
 *
 * Threads: any; a struct belongs to its port. */
#ifndef UPCALL_LINK_DEVICE_H
#define UPCALL_LINK_DEVICE_H

#include <net/if.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "link/link.h"

struct link_device_claim;

struct link_device {
    /* A socket of the namespace that the device is in, which the port owns. */
    int fd;
    _Atomic int index;
    struct link_device_claim *claim; /* NULL: none. */
    char name[IFNAMSIZ];         /* As it was seen last. */
    uint8_t mac[6];
    uint32_t mtu;
};

/* Finds a device by name and takes it for a port: `fd` is set, and `claim` is NULL.  ENODEV: there
 * is none.  EINVAL: one that cannot be a port, by its type.  EEXIST: it is a port of the same
 * datapath.  EBUSY: of another one, or of another process.  With error_set(). */
int link_device_take(const struct link_user *, struct link_device *, const char *name);
void link_device_leave(struct link_device *);

/* The claim alone, of a device that something else has opened; NULL for `*claim`: others may have
 * it too, or it has no index. */
int link_device_claim(const struct link_user *, int index, const char *name, struct link_device_claim **claim);
/* Now and then: answers the processes that asked for the owner. */
void link_device_heed(const struct link_device_claim *);
void link_device_unclaim(struct link_device_claim *); /* NULL: nothing happens. */

/* The name that a device has now; false: it is not there any more. */
bool link_device_name(const struct link_device *, char name[IFNAMSIZ]);
/* Up, and its other end, if it has one, as well. */
bool link_device_link_up(const struct link_device *);
/* 0: unknown. */
uint32_t link_device_mtu(const struct link_device *);

/* The hardware type of a device by name (ARPHRD_*); errno. */
int link_device_type(const char *name, unsigned int *type);
/* Whether frames of a hardware type (ARPHRD_*) begin with an Ethernet header. */
bool link_device_is_ethernet(unsigned int type);
/* Whether they begin with an IP header. */
bool link_device_is_l3(unsigned int type);
/* EINVAL, with a text, of a device that is not Ethernet. */
int link_device_refuse(const char *name, unsigned int type);

#endif
