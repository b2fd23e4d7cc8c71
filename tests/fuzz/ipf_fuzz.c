/* SPDX-License-Identifier: Apache-2.0
 * link: ipf/ipf*.c ct/ct*.c base/hash.c base/mem.c packet/csum.c packet/extract.c packet/eal_hold.c
 * eal: yes
 *
 * Fragments of a few packets, right and wrong, in any order: what becomes whole is one datagram without a gap, and cut apart gives the very
 * frames that came; nothing is read or written beside a frame, and no mbuf is lost.  Input, for each fragment: flags (IPv6, more, last is
 * short, two bits of identification, zone, options, time passes), where it starts in units of 32 bytes, its size in units of 8, how it is
 * cut into mbufs, and one byte of the headers that is changed: where, and by what. */
#include "../c/ipf_fixture.h"

#define FRAMES 24u
#define STEP 6u

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct ipf *ipf;
static struct ct *ct;
static uint64_t now = 1000;
static uint8_t came[FRAMES][4096];
static uint32_t came_size[FRAMES];

static void check(int good)
{
    if (!good)
        abort();
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    (void)argc;
    (void)argv;
    check(ipf_start("ipf_fuzz"));
    ipf = ipf_create();
    check(ipf && !ct_create(NULL, &ct) && !ipf_set_min(ipf, false, IPF_MIN_LEAST) && !ipf_set_min(ipf, true, IPF_MIN_LEAST));
    return 0;
}

/* Fragments are those that came, in order and without a gap. */
static void cut(struct ipf_whole *whole, uint32_t step)
{
    struct rte_mbuf *pieces[FRAMES];
    uint32_t n = 0, segments = 0;
    bool left = true;

    rte_mbuf_sanity_check(whole->m, 1);
    for (const struct rte_mbuf *m = whole->m; m; m = m->next) {
        check(m->data_len > 0);
        segments++;
    }
    check(segments == whole->m->nb_segs);
    while (left) {
        n += ipf_cut(ipf, whole, pieces + n, step, &left);
        check(n <= FRAMES);
    }
    for (uint32_t i = 0; i < n; i++) {
        const uint32_t which = pkt_of(pieces[i])->original_size;

        check(mbuf_is(pieces[i], came[which], came_size[which]));
        check(pkt_of(pieces[i])->md.ct_state & CT_STATE_TRACKED);
    }
    rte_pktmbuf_free_bulk(pieces, n);
}

static void bring(const uint8_t *in, uint32_t which)
{
    static struct datagram d[2];
    struct datagram *of = &d[in[0] & 1];
    const struct ct_request request = { .flags = CT_COMMIT, .zone = in[0] >> 5 & 1 };
    const bool more = in[0] & 2;
    uint32_t size = in[0] & 4 ? 1u + in[2] % 16 : in[2] * 8u;
    struct ipf_whole *whole;
    struct rte_mbuf *m;

    if (!of->family)
        make_datagram(of, in[0] & 1 ? 6 : 4, 32768, 0);
    of->id = in[0] >> 3 & 3;
    of->options = in[0] & 0x40 ? 8 : 0;
    came_size[which] = fragment_frame(of, in[1] * 32u, size, more, came[which]);
    came[which][12 + in[4] % 64] ^= in[5];
    m = frame_mbuf(came[which], came_size[which], 0, 256 + in[3] * 7u);
    m->ol_flags |= in[5] & 1 ? RTE_MBUF_F_RX_IP_CKSUM_GOOD : 0;
    pkt_of(m)->original_size = which;
    now += in[0] & 0x80 ? 5000 : 1;
    if (!ct_run(ct, 0, &request, &m, 1, now)) {
        rte_pktmbuf_free(m);
        return;
    }
    switch (ipf_take(ipf, request.zone, m, now, &whole)) {
    case IPF_REFUSED:
        check(mbuf_is(m, came[which], came_size[which]));
        rte_pktmbuf_free(m);
        break;
    case IPF_WHOLE:
        if (ct_run(ct, 0, &request, &whole->m, 1, now))
            ct_refuse(&request, whole->m);
        cut(whole, 1 + in[3] % 4);
        break;
    default:
        break;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct ipf_status status;

    for (uint32_t i = 0; i < FRAMES && size >= STEP; i++, data += STEP, size -= STEP) {
        bring(data, i);
        if (data[3] & 1)
            ipf_service(ipf, now);
    }
    ipf_purge(ipf);
    ct_flush(ct, &(struct ct_filter){ .zone = -1 }, now);
    ipf_status(ipf, &status);
    check(!status.held && !in_use());
    for (int v6 = 0; v6 < 2; v6++)
        check(status.counters[v6].accepted == status.counters[v6].completed + status.counters[v6].expired + status.counters[v6].purged);
    return 0;
}
