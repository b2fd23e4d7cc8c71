/* SPDX-License-Identifier: Apache-2.0
 * link: base/mem.c ct/ct*.c base/hash.c packet/csum.c packet/extract.c
 *
 * Any frames through connection tracking: no byte read or written that is not the packet's, no packet without a state, and in the end no connection
 * that is counted and not there.  Checksums are believed, so that what is behind them is reached.  Input: for each frame 1 byte flags of
 * the request, 1 byte what else it wants, 1 byte size, then the frame. */
#include <rte_mbuf.h>
#include <rte_rcu_qsbr.h>
#include <stdlib.h>
#include <string.h>

#include "ct/ct.h"
#include "packet/pkt.h"

#define FRAMES 16u

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct packet {
    struct rte_mbuf m;
    struct pkt pkt;
};

static struct ct *ct;
static uint64_t now = 1000;

static void check(int good)
{
    if (!good)
        abort();
}

static void set_up(void)
{
    struct rte_rcu_qsbr *qsbr = aligned_alloc(64, (rte_rcu_qsbr_get_memsize(1) + 63) & ~(size_t)63);

    check(qsbr && !rte_rcu_qsbr_init(qsbr, 1) && !ct_create(qsbr, &ct));
}

static struct ct_request request_of(uint8_t flags, uint8_t more)
{
    struct ct_request r = { .flags = flags & (CT_COMMIT | CT_NAT), .zone = more >> 6 };

    if (flags & 2)
        r.flags |= CT_COMMIT | CT_FORCE;
    if (flags & 8)
        r.flags |= CT_NAT | (flags & 16 ? CT_NAT_SRC : CT_NAT_DST);
    if (flags & 32) {
        r.flags |= CT_NAT_PORTS;
        r.min_port = more;
        r.max_port = (uint16_t)(more + 2);
    }
    if (flags & 64)
        r.flags |= CT_MARK | CT_LABEL;
    r.helper = (uint8_t)((more >> 3) % 3);
    r.mark = r.mark_mask = r.label[0] = r.label_mask[0] = more;
    r.family = more & 1 ? 6 : more & 2 ? 4 : 0;
    memset(r.min_addr, more, 16);
    memset(r.max_addr, more | 7, 16);
    return r;
}

/* One frame in a buffer of exactly its size, twice: the second time as a flow after a
 * recirculation sees it. */
static void track(const struct ct_request *request, const uint8_t *frame, uint32_t size)
{
    struct packet p;
    struct rte_mbuf *m = &p.m;
    uint8_t *bytes = malloc(size);

    memset(&p, 0, sizeof p);
    memcpy(bytes, frame, size);
    m->buf_addr = bytes;
    m->buf_len = m->data_len = (uint16_t)size;
    m->pkt_len = size;
    m->nb_segs = 1;
    m->ol_flags = RTE_MBUF_F_RX_IP_CKSUM_GOOD | RTE_MBUF_F_RX_L4_CKSUM_GOOD;
    for (int i = 0; i < 2; i++) {
        const uint64_t refused = ct_counter(ct, CT_COUNT_helper_refused);

        if (ct_run(ct, 0, request, &m, 1, now)) {
            check(!memcmp(&p.pkt.md, &(struct pkt_md){ 0 }, sizeof p.pkt.md)); /* A fragment: as it was. */
            ct_refuse(request, m);
            check(p.pkt.md.ct_state == (CT_STATE_INVALID | CT_STATE_TRACKED) && p.pkt.md.ct_zone == request->zone);
            break;
        }
        check(p.pkt.md.ct_state & CT_STATE_TRACKED && p.pkt.md.ct_zone == request->zone);
        /* The second time, bits of the same zone stay and others join them, as in Open vSwitch; and a command that a helper
         * refuses makes its packet invalid beside what else it is. */
        if (!i && p.pkt.md.ct_state & CT_STATE_INVALID && ct_counter(ct, CT_COUNT_helper_refused) == refused)
            check(!(p.pkt.md.ct_state & (CT_STATE_NEW | CT_STATE_EST | CT_STATE_REL)));
        p.pkt.md.more &= (uint8_t)~PKT_MORE_CONN;
    }
    free(bytes);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const struct ct_filter all = { .zone = -1 };
    struct ct_info info[2 * FRAMES];
    uint32_t at = 0, found = 0;

    if (!ct)
        set_up();
    for (uint32_t i = 0; i < FRAMES && size > 3; i++) {
        const struct ct_request request = request_of(data[0], data[1]);
        uint32_t frame = data[2];

        data += 3;
        size -= 3;
        frame = frame < size ? frame : (uint32_t)size;
        if (frame)
            track(&request, data, frame);
        data += frame;
        size -= frame;
        now += 100;
    }
    while (at != CT_DUMP_END)
        found += ct_dump(ct, &at, &all, now, info, 2 * FRAMES - found);
    check(found <= ct_count(ct));
    ct_flush(ct, &all, now);
    check(ct_count(ct) == 0);
    ct_service(ct, now);
    ct_service(ct, now);
    return 0;
}
