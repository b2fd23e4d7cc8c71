/* SPDX-License-Identifier: Apache-2.0
 * tnl_fixture.h - for tests of tunnels: frames as hexadecimal text, actions and keys of tunnels, a
 * datapath with an underlay and what is ours there.
 *
 * Port 1 is where packets inside come from, port 2 the underlay, port 3 where packets go that came
 * by a tunnel; tunnel ports have numbers from 10 on. */
#ifndef UPCALL_TNL_FIXTURE_H
#define UPCALL_TNL_FIXTURE_H

#include <arpa/inet.h>

#include "dp_fixture.h"

#define ATTR_OUTPUT 1
#define ATTR_SET 3
#define ATTR_TNL_POP 27
#define KEY_TUNNEL_ATTR 16
#define FRAME_ROOM 70000u

/* The addresses of both ends, as in Open vSwitch's own tests. */
#define LOCAL4 "1.1.2.88"
#define REMOTE4 "1.1.2.92"
#define LOCAL6 "2001:cafe::88"
#define REMOTE6 "2001:cafe::92"
#define LOCAL_MAC "aa55aa550000"
#define REMOTE_MAC "f8bc124434b6"
#define ETHERNET4 REMOTE_MAC LOCAL_MAC "0800"
#define ETHERNET6 REMOTE_MAC LOCAL_MAC "86dd"

/* A frame with 28 bytes of IPv4, TOS 0xb8. */
#define INNER "50540000000b505400000009" "0800" "45b8001c00014000261140160a0000010a0000020035003600080000"

struct bytes {
    uint32_t size;
    uint8_t at[FRAME_ROOM];
};

static inline void from_hex(const char *text, struct bytes *bytes)
{
    bytes->size = 0;
    for (; *text; text += 2) {
        unsigned int byte;

        CHECK(sscanf(text, "%2x", &byte) == 1);
        bytes->at[bytes->size++] = (uint8_t)byte;
    }
}

static inline void print_hex(const char *what, const uint8_t *at, uint32_t size)
{
    fprintf(stderr, "%s ", what);
    for (uint32_t i = 0; i < size; i++)
        fprintf(stderr, "%02x", at[i]);
    fputc('\n', stderr);
}

/* Compares with text in which ".." is any byte. */
static inline void expect(const struct bytes *frame, const char *text)
{
    bool same = frame->size * 2 == strlen(text);

    for (uint32_t i = 0; i < frame->size && same; i++) {
        unsigned int byte;

        if (text[2 * i] == '.')
            continue;
        CHECK(sscanf(text + 2 * i, "%2x", &byte) == 1);
        same = frame->at[i] == byte;
    }
    if (same)
        return;
    print_hex("have", frame->at, frame->size);
    fprintf(stderr, "want %s\n", text);
    FAIL("frames differ");
}

static inline void address(const char *text, uint8_t to[16])
{
    memset(to, 0, 16);
    CHECK(inet_pton(strchr(text, ':') ? AF_INET6 : AF_INET, text, to) == 1);
}

/* A tunnel key: attributes behind each other. */
struct nest {
    uint32_t size;
    uint8_t at[600];
};

static inline void nest_put(struct nest *nest, uint16_t type, const void *value, uint16_t size)
{
    nest->size += fixture_attribute(nest->at + nest->size, type, value, size);
}

/* Id, both ends, TTL; `id` 0: none. */
static inline struct nest tunnel_nest(uint64_t id, const char *src, const char *dst)
{
    const bool v6 = strchr(dst, ':');
    const uint64_t wire = __builtin_bswap64(id);
    const uint8_t ttl = 64;
    struct nest nest = { 0 };
    uint8_t bytes[16];

    if (id)
        nest_put(&nest, 0, &wire, 8);
    if (src) {
        address(src, bytes);
        nest_put(&nest, v6 ? 12 : 1, bytes, v6 ? 16 : 4);
    }
    address(dst, bytes);
    nest_put(&nest, v6 ? 13 : 2, bytes, v6 ? 16 : 4);
    nest_put(&nest, 4, &ttl, 1);
    return nest;
}

/* set(tunnel(...)),output(port) */
static inline uint32_t send_actions(uint8_t *actions, const struct nest *nest, uint32_t port)
{
    uint8_t set[700];
    uint32_t size = 0, inner;

    if (nest) {
        inner = fixture_attribute(set, KEY_TUNNEL_ATTR, nest->at, (uint16_t)nest->size);
        size = fixture_attribute(actions, ATTR_SET, set, (uint16_t)inner);
    }
    return size + fixture_attribute(actions + size, ATTR_OUTPUT, &port, 4);
}

static inline uint32_t run(uint64_t dp, const struct bytes *frame, const uint8_t *actions, uint32_t size)
{
    static uint8_t ops[FRAME_ROOM + 4096];
    struct dp_op op = { .type = DP_OP_EXECUTE, .actions_size = size, .packet_size = frame->size };

    return fixture_operate(dp, ops, fixture_append(ops, &op, NULL, actions, frame->at));
}

/* Sends a frame by a tunnel. */
static inline void send_by(uint64_t dp, uint32_t port, const struct nest *nest, const char *frame)
{
    static struct bytes bytes;
    uint8_t actions[1024];

    from_hex(frame, &bytes);
    EQUAL(run(dp, &bytes, actions, send_actions(actions, nest, port)), 0);
}

/* Puts a flow: what comes by `in_port` with this EtherType (host order) goes to `actions`. */
static inline void put_flow(uint64_t dp, uint32_t in_port, uint16_t type, const struct nest *key_nest, const struct nest *mask_nest,
                            const uint8_t *actions, uint32_t actions_size)
{
    struct dp_op op = { .type = DP_OP_PUT, .flags = DP_OPF_CREATE | DP_OPF_MODIFY | DP_OPF_MASK, .actions_size = actions_size };
    static const uint8_t zeros[40], ones[4] = { 0xff, 0xff, 0xff, 0xff };
    const uint16_t wire = __builtin_bswap16(type);
    uint8_t ops[4096], key[1024], mask[1024];

    op.key_size = fixture_attribute(key, 3, &in_port, 4);
    op.mask_size = fixture_attribute(mask, 3, ones, 4);
    if (key_nest) {
        op.key_size += fixture_attribute(key + op.key_size, KEY_TUNNEL_ATTR, key_nest->at, (uint16_t)key_nest->size);
        op.mask_size += fixture_attribute(mask + op.mask_size, KEY_TUNNEL_ATTR, mask_nest->at, (uint16_t)mask_nest->size);
    }
    op.key_size += fixture_attribute(key + op.key_size, 4, zeros, 12);
    op.key_size += fixture_attribute(key + op.key_size, 6, &wire, 2);
    op.mask_size += fixture_attribute(mask + op.mask_size, 6, ones, 2);
    if (type == 0x0800)
        op.key_size += fixture_attribute(key + op.key_size, 7, zeros, 12);
    if (type == 0x0806)
        op.key_size += fixture_attribute(key + op.key_size, 13, zeros, 24);
    if (type == 0x86dd)
        op.key_size += fixture_attribute(key + op.key_size, 8, zeros, 40);
    op.size = sizeof op;
    memset(ops, 0, sizeof ops);
    memcpy(ops + op.size, key, op.key_size);
    op.size += (op.key_size + 7) & ~7u;
    memcpy(ops + op.size, mask, op.mask_size);
    op.size += (op.mask_size + 7) & ~7u;
    memcpy(ops + op.size, actions, actions_size);
    op.size += (actions_size + 7) & ~7u;
    memcpy(ops, &op, sizeof op);
    EQUAL(fixture_operate(dp, ops, op.size), 0);
}

static inline void put_output(uint64_t dp, uint32_t in_port, uint16_t type, uint32_t to)
{
    uint8_t actions[16];

    put_flow(dp, in_port, type, NULL, NULL, actions, fixture_attribute(actions, ATTR_OUTPUT, &to, 4));
}

static inline bool collect(uint64_t dp, uint32_t port, struct bytes *frame)
{
    return !dp_dummy_collect(dp, port, frame->at, sizeof frame->at, &frame->size);
}

/* The next frame that a port sent. */
static inline void collected(uint64_t dp, uint32_t port, struct bytes *frame)
{
    EVENTUALLY(collect(dp, port, frame));
}

static inline void expect_at(uint64_t dp, uint32_t port, const char *text)
{
    static struct bytes frame;

    collected(dp, port, &frame);
    expect(&frame, text);
}

static inline void inject(uint64_t dp, uint32_t port, const char *frame)
{
    static struct bytes bytes;

    from_hex(frame, &bytes);
    OK(dp_dummy_inject(dp, port, bytes.at, bytes.size));
}

static inline struct dp_tnl_hop hop_to(uint32_t port, const char *dst, const char *src)
{
    const bool v6 = strchr(dst, ':');
    struct dp_tnl_hop hop = { .key = { .port = port, .family = v6 ? DP_TNL_IPV6 : DP_TNL_IPV4 }, .underlay = 2, .header_size = 14 };
    static struct bytes header;

    from_hex(v6 ? ETHERNET6 : ETHERNET4, &header);
    memcpy(hop.header, header.at, 14);
    address(dst, hop.key.dst);
    address(src, hop.src);
    return hop;
}

/* Ports as above, addresses of ours at port 2, hops to the remote ends from a tunnel port. */
static inline uint64_t tunnel_dp(const char *name, const char *type, const char *options)
{
    const uint64_t dp = fixture_dp(name, 3);
    struct dp_tnl_local locals[2] = { { .port = 2, .flags = DP_TNL_LOCAL_RECEIVED, .family = DP_TNL_IPV4 },
                                      { .port = 2, .flags = DP_TNL_LOCAL_RECEIVED, .family = DP_TNL_IPV6 } };
    struct dp_tnl_hop hop;
    const bool only6 = !strncmp(type, "ip6", 3), only4 = !strncmp(type, "gre", 3) || !strncmp(type, "erspan", 6);

    OK(fixture_port(dp, 10, "t10", type, options, NULL));
    address(LOCAL4, locals[0].address);
    address(LOCAL6, locals[1].address);
    OK(dp_tnl_locals_set(dp, locals, 2));
    hop = hop_to(10, REMOTE4, LOCAL4);
    if (!only6)
        OK(dp_tnl_hop_set(dp, &hop));
    hop = hop_to(10, REMOTE6, LOCAL6);
    if (!only4)
        OK(dp_tnl_hop_set(dp, &hop));
    return dp;
}

#endif
