/* SPDX-License-Identifier: Apache-2.0
 * link: ipf/ipf*.c ct/ct*.c base/hash.c base/mem.c packet/csum.c packet/extract.c packet/eal_hold.c
 * eal: yes
 *
 * Fragments become a packet, which is tracked and translated, and fragments again: in every order, with options and extension headers,
 * padding and chains; what is refused, and when what is missing is no longer waited for.  After each test no mbuf is in use. */
#include <errno.h>

#include "ipf_fixture.h"

#define NOW 1000000u

static struct ipf *ipf;
static struct ct *ct;
static struct datagram d;

static struct ipf_status status(void)
{
    struct ipf_status s;

    ipf_status(ipf, &s);
    return s;
}

/* Fragments of `part` bytes each; answers how many there are. */
static uint32_t parts_of(const struct datagram *whole, uint32_t part)
{
    return (whole->size + part - 1) / part;
}

static struct rte_mbuf *part(const struct datagram *whole, uint32_t size, uint32_t i)
{
    const uint32_t start = i * size, rest = whole->size - start;

    return fragment(whole, start, rest < size ? rest : size, rest > size);
}

static bool refused(struct rte_mbuf *m)
{
    struct ipf_whole *whole;
    const bool is = ipf_take(ipf, 0, m, NOW, &whole) == IPF_REFUSED;

    if (is)
        rte_pktmbuf_free(m);
    return is;
}

static bool held(struct rte_mbuf *m)
{
    struct ipf_whole *whole;

    return ipf_take(ipf, 0, m, NOW, &whole) == IPF_HELD;
}

/* Cuts a packet, `step` fragments at a time, and compares them with what `made` would be cut into. */
static void cut(struct ipf_whole *whole, const struct datagram *made, uint32_t size, uint32_t step)
{
    static uint8_t frame[DATAGRAM_MAX + 256];
    struct rte_mbuf *pieces[PIECES_MAX];
    uint32_t n = 0;
    bool left = true;

    while (left)
        n += ipf_cut(ipf, whole, pieces + n, step, &left);
    CHECK(n == parts_of(made, size));
    for (uint32_t i = 0; i < n; i++) {
        const uint32_t start = i * size, rest = made->size - start;
        const struct pkt *pkt = pkt_of(pieces[i]);

        CHECK(mbuf_is(pieces[i], frame, fragment_frame(made, start, rest < size ? rest : size, rest > size, frame)));
        CHECK(pkt->md.ct_state == 0x21 || pkt->md.ct_state == 0x61 || pkt->md.ct_state == 0x30);
        CHECK(pkt->ct.orig_tp_src == (i || pkt->md.ct_state == 0x30 ? 0 : __builtin_bswap16(1000)));
        rte_pktmbuf_free(pieces[i]);
    }
}

static void drop(struct ipf_whole *whole)
{
    struct rte_mbuf *m;
    bool left = true;

    while (left) {
        CHECK(ipf_cut(ipf, whole, &m, 1, &left) == 1);
        rte_pktmbuf_free(m);
    }
}

/* All orders of up to four fragments, by number, and a few of many. */
static void orders(uint32_t family, uint32_t size, uint32_t piece, uint32_t options)
{
    const struct ct_request request = { .flags = 0 };
    uint32_t n, order[PIECES_MAX];

    make_datagram(&d, family, size, 7);
    d.options = options;
    n = parts_of(&d, piece);
    for (uint32_t round = 0; round < 24; round++) {
        struct ipf_whole *whole = NULL;
        enum ipf_verdict verdict = IPF_HELD;

        for (uint32_t i = 0; i < n; i++)
            order[i] = round == 1 ? n - 1 - i : i;
        for (uint32_t i = n; round > 1 && i-- > 1;) {
            uint32_t j = (round * 2654435761u >> 8) % (i + 1), x = order[i];

            order[i] = order[j];
            order[j] = x;
        }
        for (uint32_t i = 0; i < n; i++) {
            CHECK(verdict == IPF_HELD);
            verdict = ipf_take(ipf, 0, part(&d, piece, order[i]), NOW, &whole);
        }
        CHECK(verdict == IPF_WHOLE);
        if (verdict != IPF_WHOLE)
            return;
        CHECK(!ct_run(ct, 0, &request, &whole->m, 1, NOW));
        CHECK(pkt_of(whole->m)->md.ct_state == 0x21);
        cut(whole, &d, piece, round % 3 ? 32 : 1);
    }
    CHECK(status().held == 0);
    CHECK(in_use() == 0);
}

/* Addresses in every fragment, ports in the first. */
static void translated(uint32_t family)
{
    struct ct_request request = { .flags = CT_COMMIT | CT_NAT | CT_NAT_SRC | CT_NAT_PORTS, .min_port = 7000, .max_port = 7000,
                                  .family = (uint8_t)family, .min_addr = { 9, 9, 9, 9 }, .max_addr = { 9, 9, 9, 9 } };
    const struct ct_filter all = { .zone = -1 };
    struct ipf_whole *whole = NULL;

    make_datagram(&d, family, 4000, 9);
    for (uint32_t i = 0; i < 3; i++)
        CHECK(ipf_take(ipf, 0, part(&d, 1400 / 8 * 8, i), NOW, &whole) == (i < 2 ? IPF_HELD : IPF_WHOLE));
    CHECK(!ct_run(ct, 0, &request, &whole->m, 1, NOW));
    memcpy(d.src, request.min_addr, family == 4 ? 4 : 16);
    model_put16(d.data, 7000);
    sum_datagram(&d);
    cut(whole, &d, 1400 / 8 * 8, 32);
    ct_flush(ct, &all, NOW);
    CHECK(in_use() == 0);
}

/* A wrong checksum of the whole packet makes all fragments invalid. */
static void spoilt(void)
{
    const struct ct_request request = { .flags = 0 };
    struct ipf_whole *whole = NULL;

    make_datagram(&d, 4, 2800, 3);
    d.data[2000] ^= 1;
    for (uint32_t i = 0; i < 2; i++)
        ipf_take(ipf, 0, part(&d, 1400, i), NOW, &whole);
    CHECK(!ct_run(ct, 0, &request, &whole->m, 1, NOW) && pkt_of(whole->m)->md.ct_state == 0x30);
    cut(whole, &d, 1400, 32);
    CHECK(in_use() == 0);
}

/* Padding behind a small fragment, and chains, come back as they were. */
static void padded_and_chained(void)
{
    static uint8_t frames[2][4096];
    uint32_t sizes[2];
    struct rte_mbuf *pieces[2];
    struct ipf_whole *whole = NULL;
    bool left;

    make_datagram(&d, 4, 3208, 5);
    sizes[0] = fragment_frame(&d, 0, 3200, true, frames[0]);
    sizes[1] = fragment_frame(&d, 3200, 8, false, frames[1]);
    CHECK(ipf_take(ipf, 0, frame_mbuf(frames[1], sizes[1], 18, 2048), NOW, &whole) == IPF_HELD);
    CHECK(ipf_take(ipf, 0, frame_mbuf(frames[0], sizes[0], 4, 512), NOW, &whole) == IPF_WHOLE);
    CHECK(whole->m->pkt_len == 14 + 20 + 3208 && whole->m->nb_segs == 8);
    rte_mbuf_sanity_check(whole->m, 1);
    CHECK(ipf_cut(ipf, whole, pieces, 2, &left) == 2 && !left);
    CHECK(pieces[0]->nb_segs == 7);
    CHECK(mbuf_is(pieces[0], frames[0], sizes[0] + 4));
    CHECK(mbuf_is(pieces[1], frames[1], sizes[1] + 18));
    rte_pktmbuf_free_bulk(pieces, 2);
    /* The frames' own padding is more than the last mbuf has. */
    memset(frames[1] + sizes[1], 0, 18);
    CHECK(refused(frame_mbuf(frames[1], sizes[1] + 18, 0, 50)));
    CHECK(in_use() == 0);
}

/* One that is there, and one that overlaps it, repeats it, or says something else of the end. */
static void contradictions(uint32_t family)
{
    const uint64_t before = status().counters[family == 6].overlapped;
    struct ipf_whole *whole = NULL;

    make_datagram(&d, family, 8000, 11);
    CHECK(held(fragment(&d, 1600, 1600, true)));
    CHECK(refused(fragment(&d, 1600, 1600, true)));   /* Again. */
    CHECK(refused(fragment(&d, 800, 1600, true)));    /* Its end is inside. */
    CHECK(refused(fragment(&d, 3192, 1600, true)));   /* Its beginning is. */
    CHECK(refused(fragment(&d, 2000, 1280, true)));   /* Both. */
    CHECK(refused(fragment(&d, 1600 - 8, 1900, true))); /* It swallows the old one. */
    CHECK(refused(fragment(&d, 800, 800, false)));    /* An end before it. */
    CHECK(held(fragment(&d, 4800, 800, false)));      /* The end. */
    CHECK(refused(fragment(&d, 6400, 1600, true)));   /* Something behind the end. */
    CHECK(refused(fragment(&d, 6400, 800, false)));   /* Another end. */
    CHECK(status().counters[family == 6].overlapped == before + 8);
    d.size = 5600;
    model_put16(d.data + 4, 5600);
    sum_datagram(&d);
    CHECK(held(fragment(&d, 0, 1600, true)));
    CHECK(ipf_take(ipf, 0, fragment(&d, 3200, 1600, true), NOW, &whole) == IPF_WHOLE);
    CHECK(whole->m->pkt_len == 14 + (family == 4 ? 20u : 48u) + 5600);
    drop(whole);
    CHECK(in_use() == 0);
}

/* What cannot be, and what is too much. */
static void malformed(void)
{
    const uint64_t bad = status().bad, small = status().counters[0].too_small, small6 = status().counters[1].too_small;
    static uint8_t frame[4096];
    struct ipf_whole *whole;
    uint32_t size;

    make_datagram(&d, 4, 8000, 13);
    size = fragment_frame(&d, 0, 1600, true, frame);
    frame[24] ^= 1;                                    /* The header's checksum. */
    CHECK(refused(frame_mbuf(frame, size, 0, 2048)));
    CHECK(refused(fragment(&d, 1600, 0, false)));      /* Nothing in it. */
    d.size = 8;
    size = fragment_frame(&d, 0, 8, false, frame);
    model_put16(frame + 20, 0x1fff);                   /* The last eight bytes, and a header. */
    model_put16(frame + 24, 0);
    model_put16(frame + 24, (uint16_t)~model_sum(frame + 14, 20, 0));
    CHECK(refused(frame_mbuf(frame, size, 0, 2048)));
    CHECK(status().bad == bad + 3);
    CHECK(refused(fragment(&d, 0, 8, false)));         /* No fragment. */
    d.size = 8000;
    CHECK(refused(fragment(&d, 0, 1176, true)));
    CHECK(held(fragment(&d, 0, 1184, true)));          /* 1,204 bytes; 1,200 is no multiple. */
    d.family = 6;
    CHECK(refused(fragment(&d, 0, 1224, true)));
    CHECK(held(fragment(&d, 0, 1232, true)));
    CHECK(status().counters[0].too_small == small + 1 && status().counters[1].too_small == small6 + 1);
    CHECK(ipf_set_min(ipf, false, 399) == EPERM && !ipf_set_min(ipf, false, 400));
    d.family = 4;
    d.id++;
    CHECK(refused(fragment(&d, 0, 376, true)));
    CHECK(held(fragment(&d, 0, 384, true)));
    ipf_set_min(ipf, false, IPF_MIN_V4_DEFAULT);
    /* The first header is larger than the others: the packet has no room in its length. */
    d.id++;
    d.options = 40;
    d.size = 65480;
    CHECK(held(fragment(&d, 0, 1200, true)));
    d.options = 0;
    for (uint32_t at = 1200; at + 1200 < d.size; at += 1200)
        CHECK(held(fragment(&d, at, 1200, true)));
    CHECK(ipf_take(ipf, 0, fragment(&d, 64800, 680, false), NOW, &whole) == IPF_HELD);
    CHECK(refused(fragment(&d, 0, 1200, true)));
    ipf_purge(ipf);
    CHECK(status().held == 0 && in_use() == 0);
}

/* Packets without Ethernet header begin with IP, whatever their addresses look like. */
static void without_ethernet(void)
{
    struct rte_mbuf *m;

    make_datagram(&d, 4, 4000, 17);
    m = part(&d, 1200, 0);
    rte_pktmbuf_adj(m, 14);
    pkt_set_l3(m, rte_cpu_to_be_16(0x0800));
    CHECK(held(m));
    /* A checksum that somebody else is to compute is none that can be judged. */
    m = part(&d, 1200, 1);
    m->ol_flags |= RTE_MBUF_F_TX_UDP_CKSUM;
    CHECK(refused(m));
    ipf_purge(ipf);
}

/* Bounds of all fragments, of one packet, and of what may be waited for at all. */
static void bounds(void)
{
    const struct ipf_status before = status();
    uint32_t n = 0;

    make_datagram(&d, 4, 60000, 17);
    CHECK(ipf_set_max(ipf, IPF_MAX_MOST + 1) == EPERM && !ipf_set_max(ipf, 9));
    for (uint32_t i = 0; i < 5; i++, d.id++)
        CHECK(held(fragment(&d, 0, 1200, true)));
    CHECK(refused(fragment(&d, 1200, 1200, true)));
    CHECK(status().full == before.full + 1 && status().held == 5); /* Of one port. */
    ipf_set_max(ipf, 0);
    CHECK(refused(fragment(&d, 0, 1200, true)));
    ipf_set_max(ipf, IPF_MAX_MOST);
    /* A quarter of the pool. */
    for (; n < POOL && !refused(fragment(&d, 0, 1200, true)); n++)
        d.id++;
    CHECK(n == (POOL / 2 + 1) / 2 - 5 && status().no_mbuf == before.no_mbuf + 1);
    ipf_purge(ipf);
    CHECK(status().counters[0].purged == before.counters[0].purged + (POOL / 2 + 1) / 2);
    ipf_set_max(ipf, IPF_MAX_DEFAULT);
    /* No packet has more pieces than the smallest ones make: two, of 60,000 bytes. */
    make_datagram(&d, 4, 4000, 19);
    CHECK(held(part(&d, 1200, 0)) && held(part(&d, 1200, 1)));
    ipf_set_min(ipf, false, 60000);
    CHECK(refused(part(&d, 1200, 3)) && status().counters[0].overlapped == before.counters[0].overlapped);
    ipf_set_min(ipf, false, IPF_MIN_V4_DEFAULT);
    CHECK(held(part(&d, 1200, 3)));
    /* IPv6 too, where one that looks for its place would look at all of them. */
    make_datagram(&d, 6, 4960, 17);
    CHECK(held(part(&d, 1240, 0)) && held(part(&d, 1240, 1)));
    ipf_set_min(ipf, true, 60000);
    CHECK(refused(part(&d, 1240, 3)) && status().counters[1].overlapped == before.counters[1].overlapped);
    ipf_set_min(ipf, true, IPF_MIN_V6_DEFAULT);
    CHECK(held(part(&d, 1240, 3)));
    for (int v6 = 0; v6 < 2; v6++) {
        make_datagram(&d, v6 ? 6 : 4, 4000, 23);
        ipf_set_enabled(ipf, v6, false);
        CHECK(refused(fragment(&d, 0, 1600, true)));
        ipf_set_enabled(ipf, v6, true);
        CHECK(held(fragment(&d, 0, 1600, true)));
    }
    ipf_purge(ipf);
    CHECK(status().held == 0 && in_use() == 0);
}

/* Zone, recirc_id, protocol and identification keep packets apart. */
static void keys(void)
{
    struct ipf_whole *whole;
    struct ipf_info info[8];
    struct rte_mbuf *m;
    uint32_t at = 0, n = 0, seen = 0;

    make_datagram(&d, 4, 2400, 29);
    CHECK(ipf_take(ipf, 1, part(&d, 1200, 0), NOW, &whole) == IPF_HELD);
    CHECK(ipf_take(ipf, 2, part(&d, 1200, 1), NOW, &whole) == IPF_HELD);
    m = part(&d, 1200, 1);
    pkt_of(m)->md.recirc_id = 7;
    CHECK(ipf_take(ipf, 1, m, NOW, &whole) == IPF_HELD);
    d.id++;
    CHECK(ipf_take(ipf, 1, part(&d, 1200, 1), NOW, &whole) == IPF_HELD);
    while (at != UINT32_MAX)
        n += ipf_dump(ipf, &at, info + n, n + 3 > 8 ? 8 - n : 3);
    CHECK(n == 4);
    for (uint32_t i = 0; i < n; i++) {
        const struct ipf_info *p = &info[i];
        const uint32_t which = p->zone == 2 ? 1 : p->recirc_id ? 2 : p->id == 30 ? 4 : 8;

        seen |= which;
        CHECK(p->pieces == 1 && p->proto == 17 && p->family == 4 && p->first == (which == 8) && p->last == (which != 8));
        CHECK(!memcmp(p->dst, "\x0a\x01\x01\x02", 4) && p->id == (which == 4 ? 30 : 29) && p->recirc_id == (which == 2 ? 7 : 0));
    }
    CHECK(seen == 15);
    d.id--;
    CHECK(ipf_take(ipf, 2, part(&d, 1200, 0), NOW, &whole) == IPF_WHOLE);
    drop(whole);
    ipf_purge(ipf);
    CHECK(in_use() == 0);
}

/* Fifteen seconds after the first fragment, by the service or by one that comes too late. */
static void expiry(void)
{
    const uint64_t before = status().counters[1].expired;
    struct ipf_whole *whole;

    make_datagram(&d, 6, 3600, 31);
    CHECK(ipf_service(ipf, NOW) == 1000);
    CHECK(held(part(&d, 1240, 0)));
    CHECK(ipf_take(ipf, 0, part(&d, 1240, 1), NOW + 10000, &whole) == IPF_HELD);
    CHECK(ipf_service(ipf, NOW + 14600) == 400 && status().held == 2);
    CHECK(ipf_service(ipf, NOW + 14999) == 1);
    CHECK(ipf_service(ipf, NOW + 15000) == 1000 && status().held == 0 && in_use() == 0);
    CHECK(status().counters[1].expired == before + 2);
    CHECK(held(part(&d, 1240, 0)));
    CHECK(held(part(&d, 1240, 1)));
    CHECK(ipf_take(ipf, 0, part(&d, 1240, 2), NOW + 15000, &whole) == IPF_HELD);
    CHECK(status().held == 1 && status().counters[1].expired == before + 4);
    CHECK(ipf_service(ipf, NOW + 30000) == 1000 && in_use() == 0);
    /* Many at once, in slices. */
    for (uint32_t i = 0; i < 200; i++, d.id++)
        CHECK(held(part(&d, 1240, 0)));
    for (uint32_t i = 0; i < 3; i++)
        CHECK(ipf_service(ipf, NOW + 15000) == 0);
    CHECK(ipf_service(ipf, NOW + 15000) == 1000 && in_use() == 0);
}

int main(void)
{
    if (!ipf_start("ipf_test")) {
        puts("EAL does not start");
        return 77;
    }
    ipf = ipf_create();
    if (!ipf || ct_create(NULL, &ct))
        return 1;
    orders(4, 4000, 1400, 0);
    orders(4, 4000, 1400, 40);
    orders(6, 4000, 1400, 0);
    orders(6, 4000, 1400, 24);
    orders(4, 65507, 1200, 0);
    orders(6, 65000, 1240, 8);
    translated(4);
    translated(6);
    spoilt();
    padded_and_chained();
    contradictions(4);
    contradictions(6);
    malformed();
    without_ethernet();
    bounds();
    keys();
    expiry();
    CHECK(held(part(&d, 1240, 0)));
    ipf_destroy(ipf);                /* With it goes what it holds. */
    CHECK(in_use() == 0);
    ct_destroy(ct);
    return failures != 0;
}
