/* SPDX-License-Identifier: Apache-2.0
 * tx_device.h - what a device of DPDK may do for the datapath when it sends (port_eth_wish.c): the
 * checksums and segments that Linux left undone, and spreading packets over its queues.
 *
 * Threads: any; no state. */
#ifndef UPCALL_TX_DEVICE_H
#define UPCALL_TX_DEVICE_H

#include <stdbool.h>
#include <stdint.h>

#include <rte_mbuf.h>

#include "port/port.h"

/* Says what was left undone in a packet (partial.h) by the fields that drivers read.  The packet
 * has no other owner.  What no driver could find, inside an encapsulation, is done here.  False:
 * the mark does not fit the packet. */
bool tx_device_describe(struct rte_mbuf *);

/* How many of the first packets go to the same transmit queue, which is chosen by their hash. */
unsigned int tx_device_queue(const struct port *, struct rte_mbuf *const *, unsigned int n, uint16_t *queue);

#endif
