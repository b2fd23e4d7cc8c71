/* SPDX-License-Identifier: Apache-2.0
 * port.h - ports of a datapath: table, kinds, receive and transmit.
 *
 * A kind of port is a `struct port_class`; ethdev devices (port_eth.c) are one of them, Linux
 * devices by AF_PACKET (port_packet.c), TAP devices (port_tap.c), dummies (port_dummy.c) and pairs
 * (port_pair.c) others.  A port is made and removed on the control side while poll threads run: it
 * is unpublished, a grace period passes, then its class closes it.
 *
 * Packets may be chains.  `ol_flags` carry RTE_MBUF_F_TX_* wishes (partial checksum: l2_len,
 * l3_len, l4_len, TX_TCP_CKSUM …; TSO: tso_segsz) from kinds that receive them (virtio-net header)
 * to kinds that can pass them on; path/tx.c does in software what a kind cannot.
 *
 * Threads: rx_burst by the one poll thread that owns the queue; tx_burst by the owner of a txq, or
 * under its lock if shared. */
#ifndef UPCALL_PORT_H
#define UPCALL_PORT_H

#include <rte_spinlock.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "dp.h"
#include "link/link.h"
#include "link/link_ethtool.h"
#include "packet/tunnel.h"

struct link_device;
struct rte_mbuf;
struct port;
struct port_table;               /* Owned by the datapath. */

#define PORT_CANNOT_WAIT (-2)
#define PORT_NO_MAX 65534u
/* Of ports that take every frame: 65535 bytes with the Ethernet header. */
#define PORT_MTU_ANY 65521u

struct port_class {
    const char *type;
    /* Opens the device; fills in the port's device, rxq_count, txq_count, mtu, mac, capabilities.
     * May wait.  errno, and error_set(). */
    int (*open)(struct port *);
    void (*close)(struct port *);
    /* At most `n` packets, at once. */
    uint16_t (*rx_burst)(struct port *, uint16_t queue, struct rte_mbuf **, uint16_t n);
    /* Packets that wait in a queue, for figures.  NULL: nobody knows, or it is no vhost queue. */
    uint32_t (*rx_waiting)(struct port *, uint16_t queue);
    /* Takes over what it sends and returns how many that are; the rest stays the caller's.  A
     * packet that can never be sent counts among them: the class frees it and counts it in
     * tx.errors, by which the caller knows. */
    uint16_t (*tx_burst)(struct port *, uint16_t queue, struct rte_mbuf **, uint16_t n);
    /* A descriptor that is readable when a queue has packets, for a thread that is going to sleep;
     * -1: it never will have any; PORT_CANNOT_WAIT: not now.  NULL: the queue must be polled. */
    int (*rx_wait)(struct port *, uint16_t queue);
    /* The thread is back; or, called by the control side, it has the queue no more, and nobody has.
     * NULL: nothing to do, and the descriptor is readable for what came before it was asked for,
     * too.  Otherwise the thread looks at the queue again before it sleeps. */
    void (*rx_resume)(struct port *, uint16_t queue);
    /* NULL: the port's own counters are all there is. */
    void (*stats)(struct port *, struct dp_port_stats *);
    /* The largest packet that its device takes now, which others may change; 0: unknown.  NULL: it
     * stays as it was when opened. */
    uint32_t (*ask_mtu)(struct port *);
    /* NULL: that of its Linux device, or always. */
    bool (*link_up)(struct port *);
    /* Of a port without `linux_device`.  May wait for the kernel or a card.  NULL: unknown. */
    struct link_speed (*link_speed)(struct port *);
    /* What the driver counts: at most `room`, `*n` is how many there are.  May wait.  errno.  NULL:
     * as its Linux device's. */
    int (*counters)(struct port *, struct dp_port_counter *, uint32_t room, uint32_t *n);
    /* What its Linux device is called now; false: it is not there.  NULL: as `linux_device`
     * says. */
    bool (*device_name)(struct port *, char name[DP_NAME_SIZE]);
    /* NULL: nothing can be changed. */
    int (*set_config)(struct port *, const char *key, const char *value);
};

#define PORT_CAP_CHAIN 1u        /* Sends chains of mbufs. */
#define PORT_CAP_CSUM 2u         /* Completes partial checksums, or passes them on. */
#define PORT_CAP_TSO 4u          /* Passes TCP segments larger than the MTU on. */
/* Is for packets without Ethernet header (pkt.h), and for no other. */
#define PORT_CAP_L3 8u
#define PORT_CAP_TUNNEL 16u      /* Is a tunnel, without a device. */
#define PORT_CAP_FIELDS 32u      /* Does so as DPDK's fields of an mbuf say: tx_device.h. */
#define PORT_CAP_SPREAD 64u      /* Packets go to transmit queues by their hash. */
#define PORT_CAP_BUNDLE 128u     /* Passes bundles on (segment_bundle.h), as a rule uncut. */

/* A transmit queue.  The last of a port is shared by all threads that have none of their own: they
 * take its lock. */
struct port_txq {
    rte_spinlock_t lock;
    uint32_t shared;
    _Atomic uint64_t dropped;    /* What its users dropped for this port: stat.h says why. */
} __attribute__((aligned(64)));

/* Counters of classes whose devices do not count: written by the one thread that receives, or
 * sends.  A class that counts errors has one transmit queue. */
struct port_rx_count {
    _Atomic uint64_t packets, bytes, errors, dropped, no_mbuf;
} __attribute__((aligned(64)));
struct port_tx_count {
    _Atomic uint64_t packets, bytes, errors;
} __attribute__((aligned(64)));

struct port {
    const struct port_class *class;
    struct port_table *table;
    void *state;                 /* Of its class. */
    /* The Linux device that it stands on, in `state`; NULL: none, or the class's own affair. */
    struct link_device *linux_device;
    struct port *next_reserved;  /* port_reserve(). */
    struct port_txq *txqs;
    uint32_t no;
    /* Of the device: another may have others.  Who opens it writes them, anybody reads. */
    _Atomic uint32_t caps;       /* PORT_CAP_*. */
    _Atomic uint64_t mac;        /* port_set_mac(). */
    _Atomic uint16_t numa;       /* Its node; 0 where it has none. */
    _Atomic uint32_t wraps;      /* Linux cuts TCP inside tunnels behind it (segment_wrapped.h). */
    uint16_t rxq_count, txq_count;
    uint16_t eth_port;           /* ethdev: port id of DPDK. */
    _Atomic uint32_t mtu;
    _Atomic uint32_t mtu_asked_ms; /* When last, as in worker.now_ms. */
    _Atomic uint64_t link;       /* As it was seen last: port_follow_link(). */
    _Atomic uint32_t speed_asked_ms;
    _Atomic uint64_t lost;       /* How often the device, or the peer, went. */
    /* The device disappeared: receive nothing, drop what is sent (DROP_link_down). */
    _Atomic uint32_t gone;
    char device[DP_NAME_SIZE];   /* What it stands on, for "already in use"; empty: nothing. */
    char name[DP_NAME_SIZE];
    char type[DP_NAME_SIZE];
    char options[DP_TEXT_SIZE];
    struct port_rx_count rx;
    struct port_tx_count tx;
};

struct port_table *port_table_create(void);
void port_table_destroy(struct port_table *);   /* Empty. */

/* Under the control mutex. */
struct port *port_get(struct port_table *, uint32_t no);                       /* NULL: none. */
/* The first with at least this number. */
struct port *port_first(struct port_table *, uint32_t no);
struct port *port_named(struct port_table *, const char *name);                /* NULL: none. */
void port_put(struct port_table *, struct port *);     /* Its number is free. */
/* Out of the table; its number stays reserved. */
void port_take(struct port_table *, struct port *);
/* Being opened or closed, ports are in no table, but hold their number, name and device. */
void port_reserve(struct port_table *, struct port *);
void port_unreserve(struct port_table *, struct port *);

/* Anybody who may use the port: its device is gone, or there (again), or something else about it is
 * different.  Counts as a change of the set of ports. */
void port_set_gone(struct port *);
void port_set_here(struct port *);
/* The same of a peer, without which the port goes on. */
void port_set_peer(struct port *, bool here, bool *was_here);
void port_changed(struct port *);

/* The address of its device; all of one, while another thread writes a new one. */
static inline void port_set_mac(struct port *port, const uint8_t mac[6])
{
    uint64_t bytes = 0;

    memcpy(&bytes, mac, 6);
    atomic_store_explicit(&port->mac, bytes, memory_order_relaxed);
}
static inline void port_mac(const struct port *port, uint8_t mac[6])
{
    const uint64_t bytes = atomic_load_explicit(&port->mac, memory_order_relaxed);

    memcpy(mac, &bytes, 6);
}

/* Asks the device for its MTU, by a system call: for the control side, and for packets that are too
 * large or were refused for that. */
void port_follow_mtu(struct port *);

bool port_link_up(struct port *);
/* What its Linux device is called now; false: it has none, or it is not there. */
bool port_device_name(struct port *, char name[DP_NAME_SIZE]);
/* What its driver counts: at most `room`, `*n` is how many there are.  May wait.  EOPNOTSUPP. */
int port_counters(struct port *, struct dp_port_counter *, uint32_t room, uint32_t *n);

/* Looks at the link, and what comes with it; if it is another, that is a change of the set of
 * ports.  For who opens the port and the thread that watches its device, without the control
 * mutex. */
void port_follow_link(struct port *);
/* As it was seen last. */
struct link_speed port_link_speed(const struct port *);

/* The set of ports changed: the sequence is another, and every watch is readable. */
void port_table_changed(struct port_table *);
uint64_t port_table_sequence(struct port_table *);

/* An eventfd that is readable once the set of ports has changed.  The caller owns it and reads
 * it.  errno. */
struct port_watch {
    int descriptor;
    struct port_watch *next;
};
int port_watch(struct port_table *, struct port_watch *);
void port_unwatch(struct port_table *, struct port_watch *);

/* The class of a type of port; NULL if there is none. */
const struct port_class *port_class_find(const char *type);
/* EAFNOSUPPORT, with a text that lists the types there are. */
int port_class_unknown(const char *type);

/* The value of a port's option; NULL if it is not given.  Written to `value`. */
const char *port_option(const struct port *, const char *key, char *value, uint32_t size);
/* A number within bounds; `fallback` if it is not given.  EINVAL with a text. */
int port_option_number(const struct port *, const char *key, uint32_t least, uint32_t most, uint32_t fallback, uint32_t *value);
/* A new MTU for a port there is, by the name `mtu` or Open vSwitch's `mtu_request`; EINVAL with a
 * text for another setting or value. */
#define PORT_MTU_LEAST 68u /* Of IPv4. */
int port_setting_mtu(const struct port *, const char *key, const char *value, uint32_t most, uint32_t *mtu);
/* EINVAL with a text that lists the settings of such ports. */
int port_setting_unknown(const struct port *, const char *key);
/* `packet_type`: legacy_l3, for packets without Ethernet header, or legacy_l2, which it is if not
 * given.  EINVAL with a text. */
int port_option_l3(const struct port *, bool *l3);
/* EINVAL, with a text, unless every option given is in `known`, separated by blanks. */
int port_options_check(const struct port *, const char *known);
/* Options of kinds that stand on a Linux device, and what link/ is told about a port. */
#define PORT_DEVICE_OPTIONS "device shared"
struct link_user port_user(const struct port *);
/* What the options of a tunnel say (PORT_CAP_TUNNEL); valid as long as the port is open. */
const struct tunnel_config *port_tnl_config(const struct port *);
/* A locally administered address, derived from the names, for ports without a device. */
void port_make_mac(struct port *);

/* The kinds of ports, one a line: the name of its class, and the file that has it. */
#define PORT_CLASSES(X)                                          \
    X(dummy)                     /* port_dummy.c */              \
    X(null)                      /* port_dummy.c */              \
    X(ring)                      /* port_pair.c */               \
    X(patch)                     /* port_pair.c */               \
    X(system)                    /* port_packet.c */             \
    X(tap)                       /* port_tap.c */                \
    X(internal)                  /* port_tap.c */                \
    X(pcap)                      /* port_pcap.c */               \
    X(memif)                     /* port_memif.c */              \
    X(afxdp)                     /* port_afxdp.c */              \
    X(dpdk)                      /* port_eth_kinds.c */          \
    X(vhost_user)                /* port_eth_kinds.c */          \
    X(vhost_user_client)         /* port_eth_kinds.c */          \
    X(vxlan)                     /* port_tnl.c */                \
    X(geneve)                    /* port_tnl.c */                \
    X(gre)                       /* port_tnl.c */                \
    X(ip6gre)                    /* port_tnl.c */                \
    X(erspan)                    /* port_tnl.c */                \
    X(ip6erspan)                 /* port_tnl.c */                \
    X(gtpu)                      /* port_tnl.c */                \
    X(bareudp)                   /* port_tnl.c */

#define X(name) extern const struct port_class port_class_##name;
PORT_CLASSES(X)
#undef X

#endif
