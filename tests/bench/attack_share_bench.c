/* SPDX-License-Identifier: Apache-2.0
 *
 * What attacks leave of a poll thread to those who have a flow.  Two ports of one thread send as fast as it takes: one established traffic, the other one attack after the
 * other.  Built and run by cls_bench.ts.
 *
 *   attack_share_bench [ROUNDS]
 *
 * Each line: established packets a microsecond of the thread's CPU time, with the ratio to the quiet case (ordinary packets, one flow, instead of the attack); medians of
 * the rounds, in which all cases take turns.  Exit status 1 if that ratio is below 0.8, or 0.9 in a flood of misses.  CPU time, because on a busy machine
 * the thread does not run all the time. */
#define _GNU_SOURCE
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <rte_mbuf.h>

#include "../c/dp_fixture.h"
#include "attack_table.h"
#include "dp_int.h"
#include "packet/eal_packet.h"
#include "flow/flow.h"
#include "path/tx.h"
#include "port/port.h"

#define FRAMES 8192u                 /* Of each kind. */
#define WINDOW_US 10000u
#define ROUNDS_MAX 400u

/* Frames of one port, made before, because making some takes longer than forwarding them. */
struct supply {
    uint8_t frames[FRAMES][ATTACK_FRAME];
    uint8_t sizes[FRAMES];
    uint32_t next;
};

static struct supply *supplies[2 + ATTACKS]; /* By port. */
static _Atomic uint32_t attacker;            /* The port whose turn it is. */
static _Atomic uint64_t sent;                /* Established packets. */
static _Atomic bool known;
static clockid_t clock_of_thread;
static double rates[ATTACKS][ROUNDS_MAX], kept[ATTACKS][ROUNDS_MAX];

static uint16_t supply(struct port *port, uint16_t queue, struct rte_mbuf **packets, uint16_t n)
{
    struct supply *s = supplies[port->no];

    (void)queue;
    if (port->no != 1 && port->no != atomic_load_explicit(&attacker, memory_order_relaxed))
        return 0;
    if (!atomic_load_explicit(&known, memory_order_relaxed)) {
        pthread_getcpuclockid(pthread_self(), &clock_of_thread);
        atomic_store(&known, true);
    }
    for (uint16_t i = 0; i < n; i++) {
        packets[i] = eal_packet(s->frames[s->next], s->sizes[s->next]);
        CHECK(packets[i]);
        s->next = (s->next + 1) % FRAMES;
    }
    return n;
}

static uint16_t take(struct port *port, uint16_t queue, struct rte_mbuf **packets, uint16_t n)
{
    (void)port;
    (void)queue;
    atomic_store_explicit(&sent, atomic_load_explicit(&sent, memory_order_relaxed) + n, memory_order_relaxed);
    rte_pktmbuf_free_bulk(packets, n);
    return n;
}

static double cpu_us(void)
{
    struct timespec t;

    clock_gettime(clock_of_thread, &t);
    return (double)t.tv_sec * 1e6 + (double)t.tv_nsec / 1e3;
}

/* Established packets a microsecond while `a` is tried, for so long of the thread's own time. */
static double window(uint32_t a)
{
    double start, now;
    uint64_t before;

    atomic_store(&attacker, 2 + a);
    usleep(1000);
    before = atomic_load(&sent);
    start = cpu_us();
    do {
        usleep(1000);
        now = cpu_us();
    } while (now - start < WINDOW_US);
    return (double)(atomic_load(&sent) - before) / (now - start);
}

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;

    return (x > y) - (x < y);
}

static double median(double *values, uint32_t n)
{
    qsort(values, n, sizeof values[0], by_value);
    return values[n / 2];
}

static int report(uint32_t rounds)
{
    int failed = 0;

    for (uint32_t a = 0; a < ATTACKS; a++) {
        double k = median(kept[a], rounds);

        printf("%-18s %5.2f established packets a microsecond, %5.3f of quiet (%5.3f to %5.3f)\n", attacks[a].name, median(rates[a], rounds), k,
               kept[a][rounds / 4], kept[a][rounds * 3 / 4]);
        if (k < 1 - attacks[a].percent / 100.0) {
            printf("%s: established traffic lost more than %u %%\n", attacks[a].name, attacks[a].percent);
            failed = 1;
        }
    }
    return failed;
}

/* Ports as the thread knows them, but with packets from here. */
static void take_over(struct dp *dp, uint32_t no)
{
    static struct port_class class;

    class = port_class_dummy;
    class.rx_burst = supply;
    class.tx_burst = take;
    class.rx_wait = NULL;
    __atomic_store_n(&port_get(dp->ports, no)->class, &class, __ATOMIC_RELEASE);
}

static struct supply *make_supply(const struct attack *attack)
{
    struct supply *s = calloc(1, sizeof *s);

    CHECK(s);
    for (uint32_t i = 0; i < FRAMES; i++)
        s->sizes[i] = (uint8_t)attack_packet(attack, i, s->frames[i]);
    return s;
}

int main(int argc, char **argv)
{
    uint32_t rounds = argc > 1 ? (uint32_t)atoi(argv[1]) : 60;
    struct dp_handler_info info;
    uint64_t handle;
    struct dp *dp;

    fixture_start();
    CHECK(rounds >= 1 && rounds <= ROUNDS_MAX);
    handle = fixture_dp("share", 0);
    dp = dp_of(handle);
    OK(dp_upcall_open(handle, 0, &info)); /* Nobody takes upcalls: the ring is as full as it gets. */
    OK(dp_poll_threads_set(handle, 1ull << (sysconf(_SC_NPROCESSORS_ONLN) - 1), 0, 0));
    attack_put_flows(flow_table_cls(dp->flows));
    for (uint32_t no = 1; no < 2 + ATTACKS; no++) {
        char name[16];

        supplies[no] = make_supply(no == 1 ? NULL : &attacks[no - 2]);
        snprintf(name, sizeof name, "p%u", no);
        OK(fixture_port(handle, no, name, "dummy", "", NULL));
    }
    OK(fixture_port(handle, ATTACK_OUT, "out", "dummy", "", NULL));
    take_over(dp, ATTACK_OUT);
    for (uint32_t no = 1; no < 2 + ATTACKS; no++)
        take_over(dp, no);
    EVENTUALLY(atomic_load(&known) && atomic_load(&sent));
    for (uint32_t round = 0; round < rounds; round++)
        for (uint32_t a = 0; a < ATTACKS; a++) {
            rates[a][round] = window(a);
            kept[a][round] = rates[a][round] / rates[0][round];
        }
    if (!fixture_drops(handle, "upcall_quota") && !fixture_drops(handle, "upcall_full"))
        FAIL("no upcall was refused");
    for (uint32_t no = 1; no < 2 + ATTACKS; no++)
        __atomic_store_n(&port_get(dp->ports, no)->class, &port_class_dummy, __ATOMIC_RELEASE);
    dp_unref(dp);
    OK(dp_close(handle));
    return report(rounds);
}
