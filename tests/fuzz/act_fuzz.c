/* SPDX-License-Identifier: Apache-2.0
 * link: act/act_build*.c act/act_known.c act/act_ct.c base/error.c base/hash.c base/mem.c ct/ct*.c ipf/ipf*.c packet/eal_hold.c act/act_compile.c act/act_frame.c act/act_hash.c act/act_header.c act/act_set.c packet/csum.c packet/extract.c packet/partial.c odp/odp_*.c packet/userdata.c packet/worker.c record/record.c segment/segment.c segment/segment_fix.c segment/segment_fragment.c segment/segment_merge.c segment/segment_walk.c base/rcu.c base/slab.c tnl/tnl*.c
 * eal: yes
 *
 * Any bytes as actions; what compiles is run on any frame, whole and in a chain.  No mbuf may be lost, no byte read or written that is not the
 * packet's.  Input: 2 bytes size of the actions, 1 byte how to cut the frame, actions, frame. */
#define act_run fuzz_act_run
#define worker_drop fuzz_drop
#define worker_drop_bulk fuzz_drop_bulk
#define tx_flush_port fuzz_flush_port
#define tx_flush fuzz_flush
#define worker_recirculate fuzz_recirculate
#define upcall_action fuzz_upcall_action
#define meter_run fuzz_meter_run
#define worker_ms fuzz_ms
#define act_balance fuzz_balance
#include "act/act_run.c"
#include "ipf/ipf.h"
#include "packet/eal.h"
#include "packet/userdata.h"
#include "tnl/tnl.h"

#include <rte_eal.h>
#include <rte_memory.h>
#include <stdlib.h>

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct rte_mempool *pool;
static struct worker *worker;
static struct stat_counters counters;

void fuzz_drop(struct worker *p, struct rte_mbuf *m, enum stat_drop why)
{
    (void)p;
    (void)why;
    rte_mbuf_sanity_check(m, 1);
    rte_pktmbuf_free(m);
}

void fuzz_drop_bulk(struct worker *p, struct rte_mbuf **packets, unsigned int n, enum stat_drop why)
{
    while (n--)
        fuzz_drop(p, *packets++, why);
}

void fuzz_flush_port(struct worker *p, struct worker_tx *tx)
{
    (void)p;
    (void)tx;
    abort(); /* There are no ports. */
}

void fuzz_flush(struct worker *p)
{
    (void)p;
    abort();
}

void fuzz_balance(struct worker *p, struct rte_mbuf *m, uint32_t bond)
{
    (void)bond;
    if (!(m->ol_flags & RTE_MBUF_F_RX_RSS_HASH))
        abort();
    fuzz_drop(p, m, DROP_no_bond);
}

uint64_t fuzz_ms(struct worker *p)
{
    (void)p;
    return 0;
}

/* Any of the packets may be over the rate. */
uint32_t fuzz_meter_run(struct meters *meters, uint32_t id, struct rte_mbuf *const *packets, unsigned int n, uint64_t now)
{
    (void)meters;
    (void)packets;
    (void)now;
    return id & (n < 32 ? (1u << n) - 1 : UINT32_MAX);
}

void fuzz_recirculate(struct worker *p, struct rte_mbuf *m)
{
    fuzz_drop(p, m, DROP_action);
}

void fuzz_upcall_action(struct worker *p, struct rte_mbuf *m, struct userdata *userdata, uint32_t original_size)
{
    if (original_size < m->pkt_len || (userdata && userdata->size > 65536))
        abort();
    fuzz_drop(p, m, DROP_action);
}

/* Fragments that wait are a part of it. */
struct rte_mempool *eal_pool(void)
{
    return pool;
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    char *arguments[] = { (char *)"act_fuzz", (char *)"--no-huge", (char *)"--no-shconf", (char *)"--no-pci",
                          (char *)"--no-telemetry", (char *)"-m", (char *)"128", (char *)"--log-level=error" };

    (void)argc;
    (void)argv;
    if (rte_eal_init(8, arguments) < 0)
        abort();
    pool = rte_pktmbuf_pool_create("act_fuzz", 8191, 0, sizeof(struct pkt), 2048, SOCKET_ID_ANY);
    worker = calloc(1, sizeof *worker);
    worker->tx = calloc(WORKER_PORTS, sizeof worker->tx[0]);
    worker->stat = &counters;
    worker->random = 1;
    worker->now = 1;
    if (ct_create(NULL, &worker->ct)) /* Nothing is freed: inputs are few connections. */
        abort();
    worker->tnl = tnl_create(NULL); /* There are no tunnels. */
    worker->ipf = ipf_create();
    if (!worker->tnl || !worker->ipf || ipf_set_min(worker->ipf, false, IPF_MIN_LEAST) || ipf_set_min(worker->ipf, true, IPF_MIN_LEAST))
        abort();
    return 0;
}

static struct rte_mbuf *make_packet(const uint8_t *frame, uint32_t size, uint32_t segment)
{
    struct rte_mbuf *first = NULL;

    for (uint32_t at = 0; at < size;) {
        uint32_t part = RTE_MIN(segment, size - at);
        struct rte_mbuf *m = rte_pktmbuf_alloc(pool);

        memcpy(rte_pktmbuf_append(m, (uint16_t)part), frame + at, part);
        if (!first)
            first = m;
        else if (rte_pktmbuf_chain(first, m))
            abort();
        at += part;
    }
    memset(pkt_of(first), 0, sizeof(struct pkt));
    return first;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    uint32_t actions_size, frame_size, cut, wishes;
    struct rte_mbuf *packets[2];
    struct act_prog *prog;
    const char *why;

    if (size < 3 + 14 || size > 4096)
        return 0;
    actions_size = (uint32_t)(data[0] | data[1] << 8) % (uint32_t)(size - 16);
    frame_size = (uint32_t)size - 3 - actions_size;
    cut = data[2] & 0x3f;
    wishes = data[2] >> 6;
    if (act_compile(data + 3, actions_size, NULL, &prog, &why))
        return 0;
    packets[0] = make_packet(data + 3 + actions_size, frame_size, 1900);
    packets[1] = make_packet(data + 3 + actions_size, frame_size, 14 + cut);
    for (int i = 0; i < 2 && wishes; i++) {
        packets[i]->ol_flags |= wishes == 1 ? RTE_MBUF_F_TX_TCP_CKSUM : wishes == 2 ? RTE_MBUF_F_TX_UDP_CKSUM
                                            : RTE_MBUF_F_TX_TCP_CKSUM | RTE_MBUF_F_TX_TCP_SEG;
        packets[i]->tso_segsz = 100;
    }
    fuzz_act_run(worker, prog, packets, 2, NULL);
    act_free(prog);
    ipf_purge(worker->ipf);
    ct_flush(worker->ct, &(struct ct_filter){ .zone = -1 }, worker->now);
    if (rte_mempool_in_use_count(pool))
        abort();
    return 0;
}
