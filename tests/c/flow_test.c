/* SPDX-License-Identifier: Apache-2.0
 * link: everything
 * eal: yes
 * sanitize: address
 *
 * The flow table through flow_operate(): what put, delete, get, dump and execute answer, and that no buffer, however wrong, does harm. */
#include <errno.h>
#include <linux/openvswitch.h>

#include <rte_mbuf.h>

#include "cls_fixture.h"
#include "eal.h"
#include "flow.h"
#include "odp.h"
#include "pmd.h"
#include "pmd_int.h"
#include "port.h"

static struct rcu *rcu;
static struct flow_table *table;
static struct pmd control;
static struct stat_counters stat;
static uint64_t sent, sent_bytes;

static uint16_t count_sent(struct port *port, uint16_t queue, struct rte_mbuf **packets, uint16_t n)
{
    (void)port;
    (void)queue;
    for (uint16_t i = 0; i < n; i++)
        sent_bytes += packets[i]->pkt_len;
    sent += n;
    rte_pktmbuf_free_bulk(packets, n);
    return n;
}

static const struct port_class sink_class = { .type = "sink", .tx_burst = count_sent };
static struct port_txq sink_txq;
static struct port sink = { .class = &sink_class, .txqs = &sink_txq, .txq_count = 1, .mtu = 65535, .no = 2, .caps = PORT_CAP_CHAIN };
static struct pmd_tx sink_tx[4] = { [2] = { .port = &sink, .no = 2 }, [3] = { .port = &sink, .no = 3 } };

static void setup(void)
{
    rcu = rcu_create();
    table = flow_table_create(rcu);
    memset(&stat, 0, sizeof stat);
    if (!table || pmd_init(&control, &stat, 0, PMD_CONTROL_CORE))
        abort();
    control.replica = cls_replica_add(flow_table_cls(table), 0);
    atomic_store(&control.tx[2], &sink_tx[2]);
    atomic_store(&control.tx[3], &sink_tx[3]);
}

static void teardown(void)
{
    flow_table_destroy(table);
    pmd_fini(&control);
    rcu_destroy(rcu);
}

/* --- Bytes ------------------------------------------------------------------------------------------------ */

struct bytes {
    uint8_t at[4096];
    uint32_t n;
};

static void attr(struct bytes *b, uint16_t type, const void *payload, uint16_t size)
{
    uint16_t head[2] = { (uint16_t)(size + 4), type };

    memcpy(b->at + b->n, head, 4);
    memcpy(b->at + b->n + 4, payload, size);
    memset(b->at + b->n + 4 + size, 0, 3);
    b->n += (size + 7u) & ~3u;
}

static void attr32(struct bytes *b, uint16_t type, uint32_t value)
{
    attr(b, type, &value, 4);
}

/* UDP over IPv4 from one address to 10.0.`net`.`host`. */
static struct bytes udp_key(uint8_t net, uint8_t host)
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
static struct bytes dst_mask(uint32_t bits, uint32_t in_port)
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

static struct bytes outputs(uint32_t n)
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

static void part(const struct bytes *b)
{
    if (!b)
        return;
    memcpy(ops + ops_n, b->at, b->n);
    ops_n += (b->n + 7) & ~7u;
}

static void add_op(uint32_t type, uint32_t flags, const uint8_t *ufid, const struct bytes *key, const struct bytes *mask,
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

static int operate(uint32_t room, uint32_t *used)
{
    int error = flow_operate(table, &control, ops, ops_n, ops_count, results, room, used);

    ops_n = ops_count = 0;
    return error;
}

/* One operation; its result. */
static struct dp_result one(uint32_t type, uint32_t flags, const uint8_t *ufid, const struct bytes *key, const struct bytes *mask,
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

/* Looks a frame up as a poll thread does; counts it. */
static uint32_t hit(const uint8_t *frame, uint32_t size)
{
    struct packet p = packet_create(frame, size);
    const struct pkt_md md = { .in_port = 1 };
    uint16_t tcp_flags;
    uint32_t flow;

    cls_lookup(control.replica, 1, 0, &p.m, 1, &md, &flow, &tcp_flags, &stat);
    if (flow) {
        struct cls_entry *entry = &cls_entries(control.replica)[flow];

        stat_add(&entry->packets, 1);
        stat_add(&entry->bytes, size);
        entry->used_ms = pmd_clock_ms();
        entry->tcp_flags |= 2;
    }
    packet_free(&p);
    return flow;
}

static uint32_t udp_frame(uint8_t net, uint8_t host, uint8_t *frame)
{
    uint32_t size = frame_named("IPv4 UDP", frame);

    frame[30] = 10;
    frame[31] = 0;
    frame[32] = net;
    frame[33] = host;
    return size;
}

static void test_put(void)
{
    struct bytes key = udp_key(1, 1), other = udp_key(1, 2), far = udp_key(2, 1), exact = dst_mask(32, UINT32_MAX);
    struct bytes wide = dst_mask(24, UINT32_MAX), drop = { .n = 0 }, two = outputs(2), output = outputs(1);
    struct dp_result r;
    uint8_t frame[FRAME_MAX];
    uint32_t size;

    setup();
    CHECK(PUT(MODIFY, NULL, &key, &wide, &drop).error == ENOENT);
    CHECK(PUT(0, NULL, &key, &wide, &drop).error == ENOENT);
    r = PUT(CREATE, NULL, &key, &wide, &drop);
    CHECK(!r.error && !r.stats.packets && (r.ufid[6] & 0xf0) == 0x40 && (r.ufid[8] & 0xc0) == 0x80);
    CHECK(PUT(CREATE, NULL, &key, &wide, &drop).error == EEXIST);
    CHECK(PUT(CREATE, NULL, &other, &exact, &drop).error == EEXIST); /* Overlaps. */
    CHECK(PUT(CREATE | DP_OPF_PROBE, NULL, &other, &exact, &drop).error == EEXIST);
    CHECK(!PUT(CREATE, NULL, &far, &wide, &drop).error);
    CHECK(cls_flow_count(flow_table_cls(table)) == 2 && cls_mask_count(flow_table_cls(table)) == 1);

    /* Modify: the counters of before are answered, and go on. */
    size = udp_frame(1, 9, frame);
    CHECK(hit(frame, size) && hit(frame, size));
    r = PUT(MODIFY | DP_OPF_WANT_STATS, NULL, &other, &wide, &two);
    CHECK(!r.error && r.stats.packets == 2 && r.stats.bytes == 2 * size && r.stats.tcp_flags == 2 && r.stats.used_ms);
    CHECK(hit(frame, size));
    r = PUT(CREATE | MODIFY, NULL, &key, &wide, &output);
    CHECK(!r.error && r.stats.packets == 3);
    r = PUT(MODIFY | DP_OPF_ZERO_STATS, NULL, &key, &wide, &output);
    CHECK(!r.error && r.stats.packets == 3);
    r = one(DP_OP_GET, 0, NULL, &key, NULL, NULL);
    CHECK(!r.error && !r.stats.packets && !r.stats.bytes && !r.stats.used_ms && !r.stats.tcp_flags);
    CHECK(hit(frame, size));
    r = one(DP_OP_GET, 0, NULL, &key, NULL, NULL);
    CHECK(r.stats.packets == 1 && r.stats.bytes == size);
    CHECK(r.actions_size == output.n && cls_flow_count(flow_table_cls(table)) == 2);

    /* Without a mask, only what the key has counts. */
    r = one(DP_OP_DELETE, 0, NULL, &key, NULL, NULL);
    CHECK(!r.error && r.stats.packets == 1);
    CHECK(!hit(frame, size));
    CHECK(!one(DP_OP_PUT, CREATE, NULL, &key, NULL, &drop).error);
    CHECK(!PUT(CREATE, NULL, &other, NULL, &drop).error);
    CHECK(cls_flow_count(flow_table_cls(table)) == 3);
    teardown();
}

static void test_refused(void)
{
    struct bytes key = udp_key(1, 1), mask = dst_mask(24, UINT32_MAX), inexact = dst_mask(24, 1), drop = { .n = 0 };
    struct bytes cut = key, bad = { .n = 0 };

    setup();
    CHECK(PUT(CREATE, NULL, &key, &inexact, &drop).error == EINVAL);
    cut.n = 10;
    CHECK(PUT(CREATE, NULL, &cut, &mask, &drop).error == EINVAL);
    attr32(&bad, 999, 0);
    CHECK(PUT(CREATE, NULL, &key, &mask, &bad).error == EINVAL);
    CHECK(PUT(CREATE, NULL, &bad, &mask, &drop).error == EINVAL);
    CHECK(one(DP_OP_DELETE, 0, NULL, &cut, NULL, NULL).error == EINVAL);
    CHECK(one(99, 0, NULL, &key, NULL, NULL).error == EINVAL);
    CHECK(cls_flow_count(flow_table_cls(table)) == 0 && cls_mask_count(flow_table_cls(table)) == 0);
    teardown();
}

static void test_ufid(void)
{
    struct bytes key = udp_key(1, 1), other = udp_key(2, 1), mask = dst_mask(24, UINT32_MAX), exact = dst_mask(32, UINT32_MAX);
    struct bytes drop = { .n = 0 }, output = outputs(1);
    uint8_t a[16] = { 1 }, b[16] = { 2 };
    struct dp_result r;

    setup();
    r = PUT(CREATE, a, &key, &mask, &drop);
    CHECK(!r.error && !memcmp(r.ufid, a, 16));
    CHECK(PUT(CREATE, a, &other, &mask, &drop).error == EEXIST);
    CHECK(PUT(MODIFY, a, &other, &mask, &drop).error == ENOENT);
    CHECK(PUT(CREATE | MODIFY, a, &other, &mask, &drop).error == ENOENT);
    CHECK(PUT(CREATE | MODIFY, a, &key, &exact, &drop).error == ENOENT);
    CHECK(PUT(CREATE, b, &key, &mask, &drop).error == EEXIST);
    r = PUT(CREATE | MODIFY, b, &key, &mask, &output);
    CHECK(!r.error && !memcmp(r.ufid, a, 16)); /* The flow keeps its name. */
    CHECK(one(DP_OP_GET, 0, b, NULL, NULL, NULL).error == ENOENT);
    r = one(DP_OP_GET, 0, a, NULL, NULL, NULL);
    CHECK(!r.error && r.actions_size == output.n);
    CHECK(!PUT(CREATE, b, &other, &mask, &drop).error);
    CHECK(one(DP_OP_DELETE, 0, b, &key, NULL, NULL).error == 0); /* The UFID counts, not the key. */
    CHECK(one(DP_OP_GET, 0, NULL, &key, NULL, NULL).error == 0);
    CHECK(one(DP_OP_GET, 0, NULL, &other, NULL, NULL).error == ENOENT);
    CHECK(one(DP_OP_DELETE, 0, b, NULL, NULL, NULL).error == ENOENT);

    /* The name that a flow gets is taken already: it gets another. */
    CHECK(!one(DP_OP_DELETE, 0, a, NULL, NULL, NULL).error);
    r = PUT(CREATE, NULL, &key, &mask, &drop);
    memcpy(a, r.ufid, 16);
    CHECK(!one(DP_OP_DELETE, 0, a, NULL, NULL, NULL).error);
    CHECK(!PUT(CREATE, a, &other, &mask, &drop).error);
    r = PUT(CREATE, NULL, &key, &mask, &drop);
    CHECK(!r.error && memcmp(r.ufid, a, 16));
    CHECK(!one(DP_OP_GET, 0, r.ufid, NULL, NULL, NULL).error);
    teardown();
}

/* Flows by UFID, many of them coming and going. */
static void test_ufid_churn(void)
{
    static bool there[65536];
    struct bytes mask = dst_mask(32, UINT32_MAX), drop = { .n = 0 };

    setup();
    for (uint32_t round = 0; round < 6000; round++) {
        const uint32_t i = rnd(round < 3000 ? 1500 : 300);
        uint8_t ufid[16] = { (uint8_t)i, (uint8_t)(i >> 8) };
        struct bytes key = udp_key((uint8_t)(i >> 8), (uint8_t)i);

        CHECK(one(DP_OP_GET, 0, ufid, NULL, NULL, NULL).error == (there[i] ? 0 : ENOENT));
        CHECK(there[i] ? !one(DP_OP_DELETE, 0, ufid, NULL, NULL, NULL).error : !PUT(CREATE, ufid, &key, &mask, &drop).error);
        there[i] = !there[i];
    }
    teardown();
}

/* What is put is what get gives back: the same key and mask, the same action bytes. */
static void test_get(void)
{
    struct bytes key = udp_key(1, 1), mask = dst_mask(20, UINT32_MAX), actions = outputs(3);
    struct key a, b, am, bm;
    struct dp_result r;
    const uint8_t *at = results + sizeof r;
    const char *why;
    uint32_t used;

    setup();
    CHECK(!PUT(CREATE, NULL, &key, &mask, &actions).error);
    r = one(DP_OP_GET, 0, NULL, &key, NULL, NULL);
    CHECK(!odp_key_read(key.at, key.n, &a, &why) && !odp_key_read(at, r.key_size, &b, &why));
    CHECK(!memcmp(&a, &b, sizeof a));
    at += (r.key_size + 7) & ~7u;
    CHECK(!odp_mask_read(mask.at, mask.n, &a, &am, &why) && !odp_mask_read(at, r.mask_size, &b, &bm, &why));
    CHECK(!memcmp(&am, &bm, sizeof am));
    at += (r.mask_size + 7) & ~7u;
    CHECK(r.actions_size == actions.n && !memcmp(at, actions.at, actions.n));

    /* Room for the headers only: get does not fit, those behind it run. */
    add_op(DP_OP_GET, 0, NULL, &key, NULL, NULL, NULL);
    add_op(DP_OP_DELETE, 0, NULL, &key, NULL, NULL, NULL);
    CHECK(!operate(2 * sizeof r + 16, &used) && used == 2 * sizeof r);
    memcpy(&r, results, sizeof r);
    CHECK(r.error == ENOBUFS && r.size == sizeof r && !r.key_size);
    memcpy(&r, results + sizeof r, sizeof r);
    CHECK(!r.error && !cls_flow_count(flow_table_cls(table)));
    add_op(DP_OP_GET, 0, NULL, &key, NULL, NULL, NULL);
    add_op(DP_OP_GET, 0, NULL, &key, NULL, NULL, NULL);
    CHECK(operate(2 * sizeof r - 1, &used) == EINVAL && !used);
    teardown();
}

/* Wrong sizes anywhere: the whole batch is refused, and nothing of it done. */
static void test_hostile(void)
{
    struct bytes key = udp_key(1, 1), mask = dst_mask(24, UINT32_MAX), actions = outputs(1);
    static const uint32_t sizes[] = { 0, 1, 7, 63, 64, 65, 1000, 0x7fffffff, 0x80000000, 0xfffffff8, 0xffffffff };
    uint32_t n, used;

    setup();
    add_op(DP_OP_PUT, CREATE, NULL, &key, &mask, &actions, NULL);
    n = ops_n;
    for (uint32_t field = 0; field < 32; field += 4) {
        if (field == 4 || field == 8 || field == 28)
            continue; /* Type, flags and mru are no sizes. */
        for (uint32_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
            uint8_t *copy = malloc(2 * n); /* Of exactly the size, for AddressSanitizer. */
            uint32_t value = sizes[i];

            memcpy(copy, ops, n);
            memcpy(copy + n, ops, n);
            memcpy(copy + n + field, &value, 4);
            if (!flow_operate(table, &control, copy, 2 * n, 2, results, sizeof results, &used)) {
                CHECK(field && value <= n); /* Shorter is no harm. */
                flow_flush(table);
            } else {
                CHECK(!used);
            }
            CHECK(!cls_flow_count(flow_table_cls(table)));
            free(copy);
        }
    }
    for (uint32_t cut = 0; cut < n; cut++) {
        uint8_t *copy = malloc(cut + 1);

        memcpy(copy, ops, cut);
        CHECK(flow_operate(table, &control, copy, cut, 1, results, sizeof results, &used) == EINVAL);
        free(copy);
    }
    ops_n = ops_count = 0;
    teardown();
}

/* Flows that stay through a dump are in it exactly once, whatever comes and goes. */
static void test_dump(void)
{
    struct bytes mask = dst_mask(32, UINT32_MAX), drop = { .n = 0 };
    static uint32_t seen[256];
    uint32_t count, used, total = 0;
    struct flow_dump *dump;

    setup();
    memset(seen, 0, sizeof seen);
    for (uint32_t i = 0; i < 200; i++) {
        struct bytes key = udp_key(1, (uint8_t)i);

        CHECK(!PUT(CREATE, NULL, &key, &mask, &drop).error);
    }
    CHECK(!flow_dump_open(table, 0, &dump));
    do {
        const uint8_t *at = results;

        CHECK(!flow_dump_next(table, dump, 7, results, 4096, &count, &used));
        for (uint32_t i = 0; i < count; i++) {
            struct dp_flow_record record;
            struct key key;
            const char *why;

            memcpy(&record, at, sizeof record);
            CHECK(!odp_key_read(at + sizeof record, record.key_size, &key, &why));
            CHECK(record.key_size && record.mask_size && !record.actions_size && !record.simple);
            seen[key.base.ip4_dst >> 24] += ((key.base.ip4_dst >> 16) & 0xff) == 1;
            at += record.size;
        }
        CHECK(at == results + used);
        total += count;
        /* The odd ones go, others come. */
        if (total < 150) {
            struct bytes gone = udp_key(1, (uint8_t)(rnd(100) * 2 + 1)), come = udp_key(2, (uint8_t)rnd(256));

            one(DP_OP_DELETE, 0, NULL, &gone, NULL, NULL);
            PUT(CREATE, NULL, &come, &mask, &drop);
        }
    } while (count);
    for (uint32_t i = 0; i < 200; i++)
        CHECK(i % 2 ? seen[i] <= 1 : seen[i] == 1);
    flow_dump_close(dump);

    CHECK(!flow_dump_open(table, DP_DUMP_TERSE, &dump));
    CHECK(flow_dump_next(table, dump, 7, results, sizeof(struct dp_flow_record) - 1, &count, &used) == ENOBUFS);
    total = 0;
    do {
        CHECK(!flow_dump_next(table, dump, 50, results, sizeof results, &count, &used));
        CHECK(used == count * sizeof(struct dp_flow_record));
        total += count;
    } while (count);
    CHECK(total == cls_flow_count(flow_table_cls(table)));
    flow_dump_close(dump);
    flow_flush(table);
    CHECK(!cls_flow_count(flow_table_cls(table)) && !cls_mask_count(flow_table_cls(table)));
    teardown();
}

static struct dp_result execute(uint32_t flags, const struct bytes *key, const struct bytes *actions, const struct bytes *packet)
{
    struct dp_result result;
    uint32_t used;

    add_op(DP_OP_EXECUTE, flags, NULL, key, NULL, actions, packet);
    CHECK(!operate(sizeof results, &used) && used == sizeof result);
    memcpy(&result, results, sizeof result);
    return result;
}

static void test_execute(void)
{
    struct bytes packet = { .n = 0 }, key = { .n = 0 }, bad = { .n = 0 }, drop = { .n = 0 }, actions, recirc = { .n = 0 };
    struct bytes flow_key, mask = dst_mask(24, UINT32_MAX);
    uint64_t before, after;

    setup();
    CHECK(!dp_mbufs_in_use(&before));
    packet.n = udp_frame(1, 1, packet.at);
    attr32(&key, OVS_KEY_ATTR_IN_PORT, 1);
    for (uint32_t n = 0; n < 4; n++) {
        sent = 0;
        actions = outputs(n);
        for (int again = 0; again < 3; again++)
            CHECK(!execute(0, &key, &actions, &packet).error);
        CHECK(sent == 3 * n);
    }
    sent = 0;
    actions = outputs(40); /* Too long for the cache. */
    CHECK(!execute(0, NULL, &actions, &packet).error && sent == 40);
    for (uint32_t n = 1; n < 200; n++) { /* More lists than it holds. */
        struct bytes list = { .n = 0 };

        attr32(&list, OVS_ACTION_ATTR_OUTPUT, 2);
        attr32(&list, OVS_ACTION_ATTR_OUTPUT, 1000 + n);
        CHECK(!execute(0, &key, &list, &packet).error);
    }
    CHECK(stat.drops[DROP_no_port] == 199);

    /* Looked up again. */
    attr32(&recirc, OVS_ACTION_ATTR_RECIRC, 7);
    flow_key = udp_key(1, 1);
    attr32(&flow_key, OVS_KEY_ATTR_RECIRC_ID, 7);
    actions = outputs(1);
    CHECK(!PUT(CREATE, NULL, &flow_key, &mask, &actions).error);
    sent = 0;
    CHECK(!execute(0, &key, &recirc, &packet).error);
    CHECK(sent == 1 && stat.hit == 1 && stat.recirculated == 1);
    CHECK(one(DP_OP_GET, 0, NULL, &flow_key, NULL, NULL).stats.packets == 1);

    sent = 0;
    attr32(&bad, 999, 0);
    CHECK(execute(0, &key, &bad, &packet).error == EINVAL);
    CHECK(execute(0, &bad, &actions, &packet).error == EINVAL);
    CHECK(!execute(DP_OPF_PROBE, &key, &actions, &packet).error);
    CHECK(!execute(0, &key, &drop, &packet).error);
    packet.n = 13;
    CHECK(execute(0, &key, &actions, &packet).error == EINVAL);
    packet.n = 0;
    CHECK(execute(0, &key, &actions, &packet).error == EINVAL);
    packet.n = 14;
    CHECK(!execute(0, &key, &actions, &packet).error && sent == 1);
    CHECK(!dp_mbufs_in_use(&after) && before == after);
    teardown();
}

/* Packets of up to 65535 bytes. */
static void test_execute_large(void)
{
    static const uint32_t sizes[] = { 2048, 2049, 65535, 65536 };
    struct bytes actions = outputs(1);

    setup();
    for (uint32_t i = 0; i < 4; i++) {
        struct dp_op op = { .type = DP_OP_EXECUTE, .actions_size = actions.n, .packet_size = sizes[i] };
        struct dp_result result;
        uint32_t used;

        ops_n = sizeof op;
        part(&actions);
        memset(ops + ops_n, 0x42, sizes[i]);
        ops_n += (sizes[i] + 7) & ~7u;
        op.size = ops_n;
        memcpy(ops, &op, sizeof op);
        ops_count = 1;
        sent_bytes = 0;
        CHECK(!operate(sizeof results, &used));
        memcpy(&result, results, sizeof result);
        CHECK(result.error == (sizes[i] > 65535 ? EINVAL : 0));
        CHECK(sent_bytes == (sizes[i] > 65535 ? 0 : sizes[i]));
    }
    teardown();
}

int main(void)
{
    test_put();
    test_refused();
    test_ufid();
    test_ufid_churn();
    test_get();
    test_hostile();
    test_dump();
    if (dp_eal_start()) {
        printf("EAL\n");
        return failures ? 1 : 77;
    }
    test_execute();
    test_execute_large();
    return failures != 0;
}
