/* SPDX-License-Identifier: Apache-2.0
 * link: everything
 *
 * What packets wait for while tables double, all flows are listed, ports and handlers come and go,
 * and the table is flushed.  A probe stream says so: a port that has a packet whenever its poll
 * thread asks, each for a flow at random of those that there are, so that what has just been moved
 * is read at once.  The time between two packets is taken by the thread itself.
 *
 * A stall is more than 50 us in which the thread was on its core all the time; where the scheduler
 * took the core meanwhile, that is counted apart, and the first step, where nothing happens, shows
 * what the machine adds by itself.  Whatever the machine does, a poll thread never waits for
 * anything: neither for a lock, nor for memory that Linux would have to find first.
 *
 *     deno run -A tests/bench/cls_bench.ts stalls [FLOWS] */
#define _GNU_SOURCE
#include <rte_mbuf.h>
#include <sys/resource.h>

#include "dp_fixture.h"
#include "dp_int.h"
#include "packet/eal_packet.h"
#include "port/port.h"

#define BATCH 256u
#define FEW 20000u
#define PORTS 100u
#define STALL_US 50.0

static uint64_t dp;
static uint32_t flows = FEW;
static _Atomic uint32_t known;       /* Flows of tags below this are in the table. */

/* --- The probe, by the poll thread ------------------------------------------------------------ */

/* Since the step began.  Written by the poll thread. */
static struct {
    _Atomic uint64_t packets, stalls, taken; /* Longer than STALL_US: on the core, and not. */
    _Atomic uint64_t faults, waits;
    _Atomic double longest_us;               /* On the core. */
} seen;

static double us(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec * 1e6 + (double)now.tv_nsec / 1e3;
}

/* What there was since the last packet. */
static void look(void)
{
    static struct rusage before;
    static double since;
    struct rusage now;
    double passed, at;

    getrusage(RUSAGE_THREAD, &now);
    at = us();
    passed = at - since;
    if (since && passed > STALL_US && now.ru_nivcsw != before.ru_nivcsw)
        seen.taken++;
    else if (since && passed > STALL_US)
        seen.stalls++;
    if (since && now.ru_nivcsw == before.ru_nivcsw && passed > seen.longest_us)
        seen.longest_us = passed;
    if (since) {
        seen.faults += (uint64_t)(now.ru_minflt - before.ru_minflt);
        seen.waits += (uint64_t)(now.ru_nvcsw - before.ru_nvcsw);
    }
    seen.packets++;
    before = now;
    since = at;
}

static uint16_t probe_rx(struct port *port, uint16_t queue, struct rte_mbuf **packets, uint16_t n)
{
    static uint32_t turn;
    uint8_t frame[60];

    (void)port, (void)queue, (void)n;
    look();
    turn = turn * 1664525 + 1013904223;
    fixture_frame(frame, sizeof frame, (uint32_t)((uint64_t)turn * atomic_load(&known) >> 32));
    packets[0] = eal_packet(frame, sizeof frame);
    return packets[0] != NULL;
}

static uint16_t probe_tx(struct port *port, uint16_t queue, struct rte_mbuf **packets, uint16_t n)
{
    (void)port, (void)queue;
    rte_pktmbuf_free_bulk(packets, n);
    return n;
}

/* Dummy ports become the probe's. */
static void take_over(uint32_t no, bool receives)
{
    static struct port_class classes[2];
    struct dp *of = dp_of(dp);
    struct port *port = port_get(of->ports, no);

    classes[receives] = *port->class;
    if (receives) {
        classes[receives].rx_burst = probe_rx;
        classes[receives].rx_wait = NULL;
        classes[receives].rx_resume = NULL;
    }
    classes[receives].tx_burst = probe_tx;
    port->class = &classes[receives];
    dp_unref(of);
}

/* --- Steps ------------------------------------------------------------------------------------ */

static void step(const char *name, void (*run)(void))
{
    const double since = us();
    uint64_t packets;

    usleep(20000); /* What the step before began has ended. */
    memset(&seen, 0, sizeof seen);
    run();
    packets = seen.packets;
    EVENTUALLY(seen.packets > packets + 100);
    printf("%-22s %7.0f ms %9llu packets, %4llu waited longer than %.0f us, the longest %6.0f us | the core taken %5llu times |"
           " page faults %llu, waits %llu\n",
           name, (us() - since) / 1e3, (unsigned long long)seen.packets, (unsigned long long)seen.stalls, STALL_US, seen.longest_us,
           (unsigned long long)seen.taken, (unsigned long long)seen.faults, (unsigned long long)seen.waits);
    fflush(stdout);
    EQUAL(seen.faults, 0);
    EQUAL(seen.waits, 0);
}

static void nothing(void)
{
    usleep(flows == FEW ? 200000 : 2000000);
}

static void put(void)
{
    static uint8_t ops[BATCH * 256] __attribute__((aligned(8))), results[BATCH * 128] __attribute__((aligned(8)));
    const uint32_t first = atomic_load(&known), end = first ? RTE_MIN(flows, 2 * first) : BATCH, out = 2;

    for (uint32_t tag = first; tag < end; atomic_store(&known, tag)) {
        uint32_t used = 0, n = 0, answered;

        for (; n < BATCH && tag < end; n++, tag++) {
            struct dp_op op = { .type = DP_OP_PUT, .flags = DP_OPF_CREATE };
            uint8_t key[256], actions[16];

            op.key_size = fixture_key(key, 1, tag);
            op.actions_size = fixture_attribute(actions, 1, &out, 4);
            used += fixture_append(ops + used, &op, key, actions, NULL);
        }
        OK(dp_operate(dp, ops, used, n, results, sizeof results, &answered));
    }
}

static void dump(void)
{
    static uint8_t records[1 << 16] __attribute__((aligned(8)));
    uint32_t count, used;
    uint64_t dumped;

    OK(dp_dump_open(dp, 0, &dumped));
    do
        OK(dp_dump_next(dumped, 1000, records, sizeof records, &count, &used));
    while (count);
    OK(dp_dump_close(dumped));
}

static void ports_come(void)
{
    char name[16];

    for (uint32_t i = 0; i < PORTS; i++) {
        snprintf(name, sizeof name, "s%u", i);
        OK(fixture_port(dp, 10 + i, name, "null", "", NULL));
    }
}

static void ports_go(void)
{
    for (uint32_t i = 0; i < PORTS; i++)
        OK(dp_port_delete(dp, 10 + i));
}

static void handlers(void)
{
    OK(dp_upcall_set_handlers(dp, 64));
    OK(dp_upcall_set_handlers(dp, 1));
}

static void flush(void)
{
    OK(dp_flow_flush(dp));
}

int main(int argc, char **argv)
{
    uint64_t mbufs;

    if (argc > 1)
        flows = (uint32_t)atoi(argv[1]);
    if (flows < BATCH)
        FAIL("usage: stalls [FLOWS], at least %u", BATCH);
    fixture_start();
    mbufs = fixture_mbufs();
    dp = fixture_dp("stall", 2);
    OK(dp_poll_threads_set(dp, 1, 0, 0)); /* It never naps. */
    put();
    take_over(2, false);
    take_over(1, true);
    EVENTUALLY(seen.packets > 10000); /* What is touched for the first time is. */
    step("nothing", nothing);
    while (atomic_load(&known) < flows) {
        char name[32];

        snprintf(name, sizeof name, "%u flows", RTE_MIN(flows, 2 * atomic_load(&known)));
        step(name, put);
    }
    step("all flows listed", dump);
    step("ports come", ports_come);
    step("handlers come and go", handlers);
    step("ports go", ports_go);
    step("a flush", flush);
    OK(dp_close(dp));
    EVENTUALLY(fixture_mbufs() <= mbufs);
    return 0;
}
