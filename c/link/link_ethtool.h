/* SPDX-License-Identifier: Apache-2.0
 * link_ethtool.h - what ethtool(8) says of a Linux network device: its speed, its driver, and the
 * counters of that.
 *
 * Threads: any, but no poll thread, and not under the control mutex, unless a device is opened
 * there anyway: the kernel answers once nobody changes a network device any more, which may take
 * long. */
#ifndef UPCALL_LINK_ETHTOOL_H
#define UPCALL_LINK_ETHTOOL_H

#include <stdbool.h>
#include <stdint.h>

#include "dp.h"

/* Mbit/s, and DP_DUPLEX_*; 0: the device does not say. */
struct link_speed {
    uint32_t mbits;
    uint32_t duplex;
};

/* Of a device by name, in the network namespace that the socket `fd` is in. */
struct link_speed link_ethtool_speed(int fd, const char *name);

/* Whether many UDP packets in one get through a device uncut.  Linux knows them in virtio-net
 * headers from 6.2 on, and the other end of a veth pair gets them as they are; a card would cut
 * them. */
bool link_ethtool_passes_uso(int fd, const char *name);

/* At most `room` counters, in the driver's order; `*n` is how many there are.  errno: EOPNOTSUPP
 * where the driver has none; EAGAIN: their number changed meanwhile. */
int link_ethtool_counters(int fd, const char *name, struct dp_port_counter *, uint32_t room, uint32_t *n);

#endif
