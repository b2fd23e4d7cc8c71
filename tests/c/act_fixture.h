/* SPDX-License-Identifier: Apache-2.0
 * act_fixture.h - act_run.c with its callees replaced by ones that write down what they were given; packets to give it. */
#ifndef UPCALL_ACT_FIXTURE_H
#define UPCALL_ACT_FIXTURE_H

#define act_run test_act_run
#define worker_drop test_drop
#define worker_drop_bulk test_drop_bulk
#define tx_flush_port test_flush_port
#define tx_flush test_flush
#define worker_recirculate test_recirculate
#define upcall_action test_upcall_action
#define meter_run test_meter_run
#define worker_ms test_ms
#define act_balance test_balance
#include "act/act_run.c"

#include <errno.h>
#include <rte_eal.h>
#include <rte_memory.h>

#include "act_model.h"
#include "act_random.h"
#include "check.h"
#include "packet/eal.h"
#include "packet/csum.h"
#include "packet/userdata.h"

#define LOG_MAX 4096
#define PORTS 8

/* What came out; `tag` is the packet's place in the burst, carried in m->port. */
struct record {
    uint32_t tag;
    struct event event;
};
static struct record *events;
static uint32_t event_count, drop_count;
static enum stat_drop last_drop;
static struct rte_mempool *pool;
static struct worker *worker;
static struct stat_counters counters;
static struct userdata *last_userdata;

/* Fragments that wait are a part of it. */
struct rte_mempool *eal_pool(void)
{
    return pool;
}

static void note(uint32_t tag, enum event_kind kind, uint32_t arg, const struct rte_mbuf *m, uint32_t original)
{
    struct record *r = &events[event_count++];
    const struct pkt *pkt = pkt_of((struct rte_mbuf *)(uintptr_t)m);
    uint32_t at = 0;

    if (event_count == LOG_MAX || m->pkt_len > MODEL_ROOM)
        abort();
    r->tag = tag;
    r->event.kind = kind;
    r->event.arg = arg;
    r->event.size = m->pkt_len;
    r->event.original_size = original;
    r->event.md = pkt->md;
    r->event.l3 = (m->ol_flags & PKT_L3) != 0;
    for (; m; m = m->next) {
        memcpy(r->event.bytes + at, rte_pktmbuf_mtod(m, const uint8_t *), m->data_len);
        at += m->data_len;
    }
    if (at != r->event.size)
        abort();
}

void test_drop(struct worker *p, struct rte_mbuf *m, enum stat_drop why)
{
    (void)p;
    last_drop = why;
    drop_count++;
    rte_pktmbuf_free(m);
}

void test_drop_bulk(struct worker *p, struct rte_mbuf **packets, unsigned int n, enum stat_drop why)
{
    while (n--)
        test_drop(p, *packets++, why);
}

void test_flush_port(struct worker *p, struct worker_tx *tx)
{
    (void)p;
    for (uint32_t i = 0; i < tx->n; i++) {
        /* As a port would: finish a checksum that the program left partial. */
        struct rte_mbuf *m = tx->packets[i];

        partial_finish(m);
        note(m->port, EVENT_OUTPUT, tx->no, m, m->pkt_len);
        rte_pktmbuf_free(m);
    }
    tx->n = 0;
}

void test_flush(struct worker *p)
{
    for (uint16_t i = 0; i < PORTS; i++) {
        struct worker_tx *tx = atomic_load(&p->tx[i]);

        test_flush_port(p, tx);
        tx->dirty = 0;
    }
    p->dirty_n = 0;
}

void test_recirculate(struct worker *p, struct rte_mbuf *m)
{
    (void)p;
    partial_finish(m);
    note(m->port, EVENT_RECIRC, pkt_of(m)->md.recirc_id, m, m->pkt_len);
    rte_pktmbuf_free(m);
}

void test_upcall_action(struct worker *p, struct rte_mbuf *m, struct userdata *userdata, uint32_t original)
{
    (void)p;
    last_userdata = userdata;
    partial_finish(m);
    note(m->port, EVENT_UPCALL, 0, m, original);
    rte_pktmbuf_free(m);
}

/* To a port by the bond's number, so that one sees that it was asked. */
void test_balance(struct worker *p, struct rte_mbuf *m, uint32_t bond)
{
    (void)p;
    partial_finish(m);
    note(m->port, EVENT_OUTPUT, bond, m, m->pkt_len);
    rte_pktmbuf_free(m);
}

uint64_t test_ms(struct worker *p)
{
    (void)p;
    return 0;
}

uint32_t test_meter_run(struct meters *meters, uint32_t id, struct rte_mbuf *const *packets, unsigned int n, uint64_t now)
{
    uint32_t over = 0;

    (void)meters;
    (void)now;
    for (unsigned int i = 0; i < n; i++)
        over |= (uint32_t)model_meters(packets[i]->pkt_len, id) << i;
    return over;
}

/* Sends outputs on at once, so that their order among upcalls is seen. */
static void setup_worker(void)
{
    static struct worker_tx txs[PORTS];

    worker = calloc(1, sizeof *worker);
    events = malloc(LOG_MAX * sizeof *events);
    worker->tx = calloc(WORKER_PORTS, sizeof worker->tx[0]);
    worker->stat = &counters;
    worker->random = 88172645463325252ull;
    for (uint16_t i = 0; i < PORTS; i++) {
        txs[i].no = i;
        atomic_init(&worker->tx[i], &txs[i]);
    }
}

/* A packet of these bytes, in segments of at most `segment` bytes. */
static struct rte_mbuf *make_packet(const uint8_t *frame, uint32_t size, uint32_t segment, uint32_t tag)
{
    struct rte_mbuf *first = NULL;

    for (uint32_t at = 0; at < size;) {
        uint32_t part = RTE_MIN(segment, size - at);
        struct rte_mbuf *m = rte_pktmbuf_alloc(pool);

        memcpy(rte_pktmbuf_append(m, (uint16_t)part), frame + at, part);
        if (!first)
            first = m;
        else
            rte_pktmbuf_chain(first, m);
        at += part;
    }
    first->port = (uint16_t)tag;
    memset(pkt_of(first), 0, sizeof(struct pkt));
    return first;
}

/* Frames that the model can judge. */
static __attribute__((unused)) bool has_right_checksums(const uint8_t *frame, uint32_t size)
{
    uint8_t copy[FRAME_MAX];

    memcpy(copy, frame, size);
    model_fix(copy, size);
    return !memcmp(copy, frame, size);
}

/* EAL, the packets' pool and a thread to act for; false where EAL does not start. */
static bool fixture_start(const char *name)
{
    char *arguments[] = { (char *)(uintptr_t)name, (char *)"--no-huge", (char *)"--no-shconf", (char *)"--no-pci",
                          (char *)"--no-telemetry", (char *)"-m", (char *)"128", (char *)"--log-level=error" };

    if (rte_eal_init(8, arguments) < 0) {
        puts("EAL does not start");
        return false;
    }
    pool = rte_pktmbuf_pool_create(name, 2047, 0, sizeof(struct pkt), 2048, SOCKET_ID_ANY);
    if (!pool)
        abort();
    setup_worker();
    return true;
}

#endif
