/* SPDX-License-Identifier: Apache-2.0
 * flow_fixture.h - a flow table with a control side of its own and two ports that swallow packets;
 * keys, masks and actions as bytes; operations. */
#ifndef UPCALL_FLOW_FIXTURE_H
#define UPCALL_FLOW_FIXTURE_H

#include <errno.h>
#include <linux/openvswitch.h>

#include <rte_mbuf.h>

#include "cls_fixture.h"
#include "packet/eal.h"
#include "packet/pkt.h"
#include "flow/flow.h"
#include "odp/odp.h"
#include "path/tx.h"
#include "pmd/pmd_int.h"
#include "port/port.h"

static struct rcu *rcu;
static struct flow_table *table;
static struct worker control;
static struct stat_counters stat;
static uint64_t sent, sent_bytes, sent_marked;

static inline uint16_t count_sent(struct port *port, uint16_t queue, struct rte_mbuf **packets, uint16_t n)
{
    (void)port;
    (void)queue;
    for (uint16_t i = 0; i < n; i++) {
        sent_bytes += packets[i]->pkt_len;
        sent_marked += packets[i]->ol_flags & PKT_MARKED && pkt_of(packets[i])->md.skb_mark == 7;
    }
    sent += n;
    rte_pktmbuf_free_bulk(packets, n);
    return n;
}

static const struct port_class sink_class = { .type = "sink", .tx_burst = count_sent };
static struct port_txq sink_txq;
static struct port sink = { .class = &sink_class, .txqs = &sink_txq, .txq_count = 1, .mtu = 65535, .no = 2, .caps = PORT_CAP_CHAIN };
static struct worker_tx sink_tx[4] = { [2] = { .port = &sink, .no = 2 }, [3] = { .port = &sink, .no = 3 } };

static inline void setup(void)
{
    rcu = rcu_create();
    table = flow_table_create(rcu);
    memset(&stat, 0, sizeof stat);
    if (!table || worker_init(&control, &stat, 0, WORKER_CONTROL_CORE))
        abort();
    control.replica = cls_replica_add(flow_table_cls(table), 0);
    atomic_store(&control.tx[2], &sink_tx[2]);
    atomic_store(&control.tx[3], &sink_tx[3]);
}

static inline void teardown(void)
{
    flow_table_destroy(table);
    worker_fini(&control);
    rcu_destroy(rcu);
}

static inline void flush(void)
{
    uint32_t at = 0;

    CHECK(!flow_flush(table, &at, UINT32_MAX));
}

/* --- Bytes ------------------------------------------------------------------------------------------------ */

struct bytes {
    uint8_t at[4096];
    uint32_t n;
};

static inline void attr(struct bytes *b, uint16_t type, const void *payload, uint16_t size)
{
    uint16_t head[2] = { (uint16_t)(size + 4), type };

    memcpy(b->at + b->n, head, 4);
    memcpy(b->at + b->n + 4, payload, size);
    memset(b->at + b->n + 4 + size, 0, 3);
    b->n += (size + 7u) & ~3u;
}

static inline void attr32(struct bytes *b, uint16_t type, uint32_t value)
{
    attr(b, type, &value, 4);
}

/* UDP over IPv4 from one address to 10.0.`net`.`host`. */
static inline struct bytes udp_key(uint8_t net, uint8_t host)
{
    const struct ovs_key_ethernet eth = { { 2, 0, 0, 0, 0, 1 }, { 2, 0, 0, 0, 0, 2 } };
    const uint16_t type = 0x0008, ports[2] = { 0x0100, 0x0200 };
    struct ovs_key_ipv4 ip = { .ipv4_src = 0x0101a8c0, .ipv4_proto = 17, .ipv4_ttl = 64 };
    struct bytes b = { .n = 0 };

    ip.ipv4_dst = 10u | (uint32_t)net << 16 | (uint32_t)host << 24;
    attr32(&b, OVS_KEY_ATTR_IN_PORT, 1);
    attr(&b, OVS_KEY_ATTR_ETHERNET, &eth, sizeof eth);
    attr(&b, OVS_KEY_ATTR_ETHERTYPE, &type, 2);
    attr(&b, OVS_KEY_ATTR_IPV4, &ip, sizeof ip);
    attr(&b, OVS_KEY_ATTR_UDP, ports, 4);
    return b;
}

/* Destination addresses up to `bits`. */
static inline struct bytes dst_mask(uint32_t bits, uint32_t in_port)
{
    const uint16_t type = 0xffff;
    struct ovs_key_ipv4 ip = { 0 };
    struct bytes b = { .n = 0 };
    uint8_t dst[4] = { 0 };

    prefix(dst, bits);
    memcpy(&ip.ipv4_dst, dst, 4);
    attr32(&b, OVS_KEY_ATTR_IN_PORT, in_port);
    attr(&b, OVS_KEY_ATTR_ETHERTYPE, &type, 2);
    attr(&b, OVS_KEY_ATTR_IPV4, &ip, sizeof ip);
    return b;
}

static inline struct bytes outputs(uint32_t n)
{
    struct bytes b = { .n = 0 };

    for (uint32_t i = 0; i < n; i++)
        attr32(&b, OVS_ACTION_ATTR_OUTPUT, 2 + i % 2);
    return b;
}

/* --- Operations ------------------------------------------------------------------------------------------- */

static uint8_t ops[1 << 20] __attribute__((aligned(8)));
static uint32_t ops_n, ops_count;
static uint8_t results[1 << 16] __attribute__((aligned(8)));

static inline void part(const struct bytes *b)
{
    if (!b)
        return;
    memcpy(ops + ops_n, b->at, b->n);
    ops_n += (b->n + 7) & ~7u;
}

static inline void add_op(uint32_t type, uint32_t flags, const uint8_t *ufid, const struct bytes *key, const struct bytes *mask,
                   const struct bytes *actions, const struct bytes *packet)
{
    struct dp_op op = { .type = type, .flags = flags | (ufid ? DP_OPF_UFID : 0) | (mask ? DP_OPF_MASK : 0),
                        .key_size = key ? key->n : 0, .mask_size = mask ? mask->n : 0, .actions_size = actions ? actions->n : 0,
                        .packet_size = packet ? packet->n : 0 };
    uint32_t at = ops_n;

    if (ufid)
        memcpy(op.ufid, ufid, 16);
    ops_n += sizeof op;
    part(key);
    part(mask);
    part(actions);
    part(packet);
    op.size = ops_n - at;
    memcpy(ops + at, &op, sizeof op);
    ops_count++;
}

static inline int operate(uint32_t room, uint32_t *used)
{
    int error = flow_operate(table, &control, NULL, NULL, ops, ops_n, ops_count, results, room, used);

    ops_n = ops_count = 0;
    return error;
}

/* One operation; its result. */
static inline struct dp_result one(uint32_t type, uint32_t flags, const uint8_t *ufid, const struct bytes *key, const struct bytes *mask,
                            const struct bytes *actions)
{
    struct dp_result result;
    uint32_t used;

    add_op(type, flags, ufid, key, mask, actions, NULL);
    CHECK(operate(sizeof results, &used) == 0 && used >= sizeof result);
    memcpy(&result, results, sizeof result);
    CHECK(result.size == used);
    return result;
}

#define PUT(flags, ufid, key, mask, actions) one(DP_OP_PUT, flags, ufid, key, mask, actions)
#define CREATE DP_OPF_CREATE
#define MODIFY DP_OPF_MODIFY

static inline uint32_t udp_frame(uint8_t net, uint8_t host, uint8_t *frame)
{
    uint32_t size = frame_named("IPv4 UDP", frame);

    frame[30] = 10;
    frame[31] = 0;
    frame[32] = net;
    frame[33] = host;
    return size;
}

#endif
