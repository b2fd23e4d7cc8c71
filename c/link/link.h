/* SPDX-License-Identifier: Apache-2.0
 * link.h - for whom something of the machine's is asked for or taken: what texts and claims say
 * about a port.
 *
 * This unit knows what Linux has (devices, sockets in the file system, AF_XDP programs), and no
 * ports.
 *
 * Threads: any; no state. */
#ifndef UPCALL_LINK_H
#define UPCALL_LINK_H

#include <stdbool.h>
#include <stdint.h>

struct link_user {
    const char *name;            /* Of the port; it lives as long as its claim. */
    const void *set;             /* Ports of one datapath have the same. */
    uint32_t no;
    bool shared;                 /* Others may have the device too. */
    bool l3;                     /* Its packets have no link header, so its device has none. */
};

#endif
