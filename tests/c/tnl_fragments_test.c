/* SPDX-License-Identifier: Apache-2.0
 * Outer packets in fragments: sent where the path takes no larger ones and they may be, put
 * together where they are for a tunnel, and passed on where they are not.
 *
 * link: everything */
#include "tnl_fragments.h"

#define OUTER_SIZE (INNER_SIZE + 50u)

/* The packet that fragments in order were made of; checks what each says of itself. */
static void put_together(const struct bytes *fragments, uint32_t n, struct bytes *whole)
{
    uint32_t at = 0;

    memcpy(whole->at, fragments[0].at, 34);
    for (uint32_t i = 0; i < n; i++) {
        const uint8_t *ip = fragments[i].at + 14;
        const uint32_t size = be16(ip + 2) - 20;
        uint32_t sum = 0;

        for (uint32_t k = 0; k < 20; k += 2)
            sum += be16(ip + k);
        EQUAL((sum & 0xffff) + (sum >> 16), 0xffff);
        EQUAL(be16(ip + 6), at / 8 | (i + 1 < n ? 0x2000u : 0));
        CHECK(!memcmp(ip + 4, fragments[0].at + 18, 2) && !memcmp(ip + 8, fragments[0].at + 22, 2) && !memcmp(ip + 12, fragments[0].at + 26, 8));
        CHECK(i + 1 == n || !(size % 8));
        EQUAL(fragments[i].size, 34 + size);
        memcpy(whole->at + 34 + at, ip + 20, size);
        at += size;
    }
    whole->size = 34 + at;
}

static void send_large(uint64_t dp, const struct bytes *frame)
{
    const uint32_t ten = 10;
    uint8_t actions[8];

    EQUAL(run(dp, frame, actions, fixture_attribute(actions, ATTR_OUTPUT, &ten, 4)), 0);
}

/* The path takes 576 bytes: two fragments; what may not be fragmented is refused as before. */
static void test_sent(void)
{
    const uint64_t dp = tunnel_dp("sent", "vxlan", "remote_ip=1.1.2.92\nkey=9\ndf=false\ncsum=true");
    const uint64_t kept = tunnel_dp("kept", "vxlan", "remote_ip=1.1.2.92\nkey=9\ndf=true");
    struct dp_tnl_hop hop = hop_to(10, REMOTE4, LOCAL4);
    static struct bytes frame, fragments[2], whole, last;
    uint32_t sum = 17 + OUTER_SIZE - 34;

    hop.mtu = 576;
    OK(dp_tnl_hop_set(dp, &hop));
    OK(dp_tnl_hop_set(kept, &hop));
    inner_frame(&frame);
    send_large(dp, &frame);
    collected(dp, 2, &fragments[0]);
    collected(dp, 2, &fragments[1]);
    CHECK(!collect(dp, 2, &last));
    EQUAL(fragments[0].size, 14 + 572);
    put_together(fragments, 2, &whole);
    EQUAL(whole.size, OUTER_SIZE);
    CHECK(!memcmp(whole.at + 50, frame.at, INNER_SIZE));
    EQUAL(be16(whole.at + 38), OUTER_SIZE - 34);
    /* UDP's checksum is that of the whole. */
    whole.at[whole.size] = 0;
    for (uint32_t i = 26; i < whole.size; i += 2)
        sum += be16(whole.at + i);
    EQUAL((((sum & 0xffff) + (sum >> 16)) & 0xffff) + (((sum & 0xffff) + (sum >> 16)) >> 16), 0xffff);
    EQUAL(fixture_drops(dp, "tunnel_mtu"), 0);
    send_large(kept, &frame);
    EQUAL(fixture_drops(kept, "tunnel_mtu"), 1);
    CHECK(!collect(kept, 2, &last));
    /* One that says so itself is answered, by either. */
    put_output(dp, 10, 0x0800, 3);
    frame.at[20] = 0x40;
    send_large(dp, &frame);
    EQUAL(fixture_drops(dp, "tunnel_mtu"), 1);
    collected(dp, 3, &last);
    CHECK(last.at[23] == 1 && last.at[34] == 3 && last.at[35] == 4);
    CHECK(!collect(dp, 2, &last));
    OK(dp_close(kept));
    OK(dp_close(dp));
}

/* In any order; together with those of another packet, which is for nobody and goes to flows. */
static void test_received(void)
{
    const uint64_t dp = tunnel_dp("received", "vxlan", "remote_ip=1.1.2.92\nkey=9");
    static struct bytes inner, whole, other, fragment, got;
    struct dp_ipf_status status;

    put_output(dp, 10, 0x0800, 3);
    put_output(dp, 2, 0x0800, 1);
    inner_frame(&inner);
    inner.size = 2000;
    inner.at[16] = (uint8_t)((inner.size - 14) >> 8);
    inner.at[17] = (uint8_t)(inner.size - 14);
    outer_packet("12b5", &inner, &whole);
    outer_packet("1234", &inner, &other);
    other.at[19] = 0x78; /* Identification. */
    fragment_of(&whole, 1304, whole.size - 34 - 1304, &fragment);
    OK(dp_dummy_inject(dp, 2, fragment.at, fragment.size));
    fragment_of(&other, 0, 1304, &fragment);
    OK(dp_dummy_inject(dp, 2, fragment.at, fragment.size));
    fragment_of(&whole, 0, 1304, &fragment);
    OK(dp_dummy_inject(dp, 2, fragment.at, fragment.size));
    collected(dp, 3, &got);
    EQUAL(got.size, inner.size);
    CHECK(!memcmp(got.at, inner.at, inner.size));
    /* The other's come out as they went in. */
    CHECK(!collect(dp, 1, &got));
    fragment_of(&other, 1304, other.size - 34 - 1304, &fragment);
    OK(dp_dummy_inject(dp, 2, fragment.at, fragment.size));
    collected(dp, 1, &got);
    fragment_of(&other, 0, 1304, &fragment);
    CHECK(got.size == fragment.size && !memcmp(got.at, fragment.at, got.size));
    collected(dp, 1, &got);
    fragment_of(&other, 1304, other.size - 34 - 1304, &fragment);
    CHECK(got.size == fragment.size && !memcmp(got.at, fragment.at, got.size));
    /* Those to others never waited. */
    whole.at[33] = 0x59;
    fragment_of(&whole, 0, 1304, &fragment);
    OK(dp_dummy_inject(dp, 2, fragment.at, fragment.size));
    collected(dp, 1, &got);
    EQUAL(got.size, fragment.size);
    OK(dp_ipf_get(dp, &status));
    EQUAL(status.held, 0);
    OK(dp_close(dp));
}

/* Smaller ones than `ct` takes: the last of a packet is not kept back where the others went on. */
static void test_small(void)
{
    const uint64_t dp = tunnel_dp("small", "vxlan", "remote_ip=1.1.2.92\nkey=9");
    static struct bytes inner, whole, other, fragment, got;

    put_output(dp, 10, 0x0800, 3);
    put_output(dp, 2, 0x0800, 1);
    inner_frame(&inner);
    outer_packet("12b5", &inner, &whole);
    outer_packet("1234", &inner, &other);
    other.at[19] = 0x78; /* Identification. */
    inject_in(dp, &whole, 504);
    collected(dp, 3, &got);
    CHECK(got.size == inner.size && !memcmp(got.at, inner.at, inner.size));
    inject_in(dp, &other, 504);
    for (uint32_t at = 0; at < other.size - 34; at += 504) {
        const uint32_t left = other.size - 34 - at;

        fragment_of(&other, at, left < 504 ? left : 504, &fragment);
        collected(dp, 1, &got);
        CHECK(got.size == fragment.size && !memcmp(got.at, fragment.at, got.size));
    }
    OK(dp_close(dp));
}

/* Sends a packet to port 2 in two fragments, of this ECN each. */
static void inject_marked(uint64_t dp, const struct bytes *whole, uint8_t first, uint8_t second)
{
    static struct bytes fragment;

    for (uint32_t at = 0; at <= 504; at += 504) {
        fragment_of(whole, at, at ? whole->size - 34 - at : 504, &fragment);
        fragment.at[15] = at ? second : first;
        set_checksum(fragment.at + 14);
        OK(dp_dummy_inject(dp, 2, fragment.at, fragment.size));
    }
}

/* Congestion that any fragment met is the packet's; what cannot be is dropped. */
static void test_congestion(void)
{
    const uint64_t dp = tunnel_dp("congestion", "vxlan", "remote_ip=1.1.2.92\nkey=9");
    static struct bytes inner, whole, got;

    put_output(dp, 10, 0x0800, 3);
    inner_frame(&inner);
    inner.at[15] = 2;
    set_checksum(inner.at + 14);
    outer_packet("12b5", &inner, &whole);
    inject_marked(dp, &whole, 2, 2);
    collected(dp, 3, &got);
    EQUAL(got.at[15], 2);
    inject_marked(dp, &whole, 2, 3);
    collected(dp, 3, &got);
    EQUAL(got.at[15], 3);
    inject_marked(dp, &whole, 0, 3);
    EVENTUALLY(fixture_drops(dp, "tunnel_ecn") == 1);
    inject_marked(dp, &whole, 0, 0);
    collected(dp, 3, &got);
    EQUAL(got.at[15], 2);
    OK(dp_close(dp));
}

/* Actions that take a fragment for a tunnel's packet: it has a part of it only, and is not waited for. */
static void test_popped(void)
{
    const uint64_t dp = tunnel_dp("popped", "vxlan", "remote_ip=1.1.2.92\nkey=9");
    static struct bytes inner, whole, fragment, got;
    const uint32_t ten = 10;
    uint8_t actions[8];

    put_output(dp, 10, 0x0800, 3);
    inner_frame(&inner);
    outer_packet("12b5", &inner, &whole);
    set_checksum(whole.at + 14);
    EQUAL(run(dp, &whole, actions, fixture_attribute(actions, ATTR_TNL_POP, &ten, 4)), 0);
    collected(dp, 3, &got);
    for (uint32_t i = 0; i < 2; i++) {
        fragment_of(&whole, i * 504, 504, &fragment);
        EQUAL(run(dp, &fragment, actions, fixture_attribute(actions, ATTR_TNL_POP, &ten, 4)), 0);
        EQUAL(fixture_drops(dp, "tunnel_fragment"), i + 1);
    }
    CHECK(!collect(dp, 3, &got));
    OK(dp_close(dp));
}

/* What waits in vain goes, and not only where connections are tracked. */
static void test_expired(void)
{
    const uint64_t dp = tunnel_dp("expired", "vxlan", "remote_ip=1.1.2.92\nkey=9");
    static struct bytes inner, whole, fragment;
    struct dp_ipf_status status;
    uint32_t ms = 0;

    inner_frame(&inner);
    inner.size = 2000;
    outer_packet("12b5", &inner, &whole);
    fragment_of(&whole, 0, 1304, &fragment);
    OK(dp_dummy_inject(dp, 2, fragment.at, fragment.size));
    EVENTUALLY(!dp_ipf_get(dp, &status) && status.held == 1);
    for (; !dp_ipf_get(dp, &status) && status.held && ms < 30000; ms += 100)
        usleep(100000);
    EQUAL(status.held, 0);
    OK(dp_close(dp));
}

int main(void)
{
    static void (*const tests[])(void) = { test_sent, test_received, test_small, test_congestion, test_popped, test_expired };

    return fixture_run(tests, sizeof tests / sizeof tests[0]);
}
