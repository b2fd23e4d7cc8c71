/* SPDX-License-Identifier: Apache-2.0
 * link: everything
 *
 * A poll thread's time is shared among its queues, however dear their packets are; and new queues go to threads that have few. */
#include <rte_cycles.h>
#include <rte_mbuf.h>

#include "dp_fixture.h"
#include "dp_int.h"
#include "packet/eal_packet.h"
#include "path/tx.h"
#include "port/port.h"
#include "pmd/rxq.h"

/* --- The rule, with a clock of its own -------------------------------------------------------------------- */

#define QUEUES 3u

struct model {
    uint64_t cost;                   /* Cycles a burst. */
    uint32_t period;                 /* A burst comes every so many cycles; 0: always. */
    bool full;                       /* Bursts are full ones. */
    uint64_t used, bursts;
};

/* What the loop of a poll thread does, for so many cycles. */
static void simulate(struct model *models, uint32_t n, uint64_t cycles)
{
    struct rxq queues[QUEUES] = { 0 };
    struct rxq_list *list;
    struct rxq *rxqs[QUEUES];
    uint64_t now = 0;

    for (uint32_t i = 0; i < n; i++)
        rxqs[i] = &queues[i];
    list = rxq_list_make(rxqs, n, 0, 1, 0);
    CHECK(list && list->n == n);
    while (now < cycles) {
        for (uint32_t i = 0; i < n; i++) {
            struct model *m = &models[i];
            bool some = !m->period || m->bursts * m->period <= now;

            if (queues[i].ahead > RXQ_AHEAD)
                continue;
            queues[i].full = some && m->full;
            now += some ? m->cost : 10;
            queues[i].ahead += some ? m->cost : 10;
            m->used += some ? m->cost : 0;
            m->bursts += some;
        }
        rxq_level(list);
        now += 10;
    }
    free(list);
}

static bool near(uint64_t value, uint64_t wanted)
{
    return value > wanted / 10 * 9 && value < wanted / 10 * 11;
}

static void test_rule(void)
{
    const uint64_t time = 100 * 1000 * 1000;
    struct model dear[] = { { .cost = 1600, .full = true }, { .cost = 6400, .full = true } };
    /* One packet less than a burst is no way around it. */
    struct model almost[] = { { .cost = 1600, .full = true }, { .cost = 6400 } };
    /* Who wants less than its share gets all it wants, and the others the rest. */
    struct model modest[] = { { .cost = 1600, .full = true, .period = 5000 }, { .cost = 6400, .full = true }, { .cost = 100000, .full = true } };

    simulate(dear, 2, time);
    CHECK(near(dear[0].used, time / 2) && near(dear[1].used, time / 2));
    simulate(almost, 2, time);
    CHECK(near(almost[0].used, time / 2) && near(almost[1].used, time / 2));
    simulate(modest, 3, time);
    CHECK(near(modest[0].bursts, time / 5000));
    CHECK(near(modest[1].used, (time - modest[0].used) / 2) && near(modest[2].used, (time - modest[0].used) / 2));
}

static void test_place(void)
{
    static const bool isolated[3] = { false, true, false }, all[3] = { true, true, true };
    struct rxq queues[5] = { 0 }, *rxqs[5];

    for (uint32_t i = 0; i < 5; i++) {
        rxqs[i] = &queues[i];
        queues[i].owner = i < 2 ? 0 : RXQ_NOBODY;
    }
    rxq_place(rxqs, 5, isolated, 3);
    CHECK(queues[0].next_owner == 0 && queues[1].next_owner == 0); /* They stay. */
    CHECK(queues[2].next_owner == 2 && queues[3].next_owner == 2 && queues[4].next_owner == 0);
    rxq_place(rxqs, 5, all, 3);
    CHECK(queues[1].next_owner == 0 && queues[2].next_owner == RXQ_NOBODY);
}

/* --- The thread, with ports that spin --------------------------------------------------------------------- */

#define SPIN (RXQ_CHARGE_MAX * 3 / 4)
#define DEAR_BURSTS 300u

static struct {
    uint32_t spin;                   /* Cycles a poll. */
    uint32_t period;                 /* A full burst each poll if 1, or a packet each `period` polls. */
    _Atomic uint64_t polls;
} play[4];
static _Atomic bool go;

static uint16_t receive(struct port *port, uint16_t queue, struct rte_mbuf **packets, uint16_t n)
{
    uint64_t start = rte_rdtsc(), poll;
    uint8_t frame[60];

    (void)queue;
    if (!atomic_load(&go))
        return 0;
    poll = atomic_fetch_add(&play[port->no].polls, 1);
    if (play[port->no].period > 1)
        n = poll % play[port->no].period ? 0 : 1;
    fixture_frame(frame, sizeof frame, 0);
    for (uint16_t i = 0; i < n; i++) {
        packets[i] = eal_packet(frame, sizeof frame);
        CHECK(packets[i]);
    }
    while (rte_rdtsc() - start < play[port->no].spin)
        ;
    return n;
}

/* Lets a poll thread receive by ports 1 to 3 until port 2 has sent enough.  Frames of port 1 have a flow, others only if all have. */
static void run_thread(bool flows)
{
    static struct port_class class;
    uint64_t handle = fixture_dp("share", 3);
    struct dp *dp = dp_of(handle);
    struct port *ports[4];

    OK(dp_poll_threads_set(handle, 1, 0, 0));
    for (uint32_t no = 1; no <= (flows ? 3u : 1u); no++)
        fixture_flow(handle, no, 9); /* There is no such port. */
    class = port_class_dummy;
    class.rx_burst = receive;
    class.rx_wait = NULL;
    for (uint32_t no = 1; no <= 3; no++) {
        ports[no] = port_get(dp->ports, no);
        atomic_store(&play[no].polls, 0);
        __atomic_store_n(&ports[no]->class, &class, __ATOMIC_RELEASE);
    }
    atomic_store(&go, true);
    EVENTUALLY(atomic_load(&play[2].polls) >= DEAR_BURSTS);
    atomic_store(&go, false);
    for (uint32_t no = 1; no <= 3; no++)
        __atomic_store_n(&ports[no]->class, &port_class_dummy, __ATOMIC_RELEASE);
    dp_unref(dp);
    OK(dp_close(handle));
    printf("%llu bursts, %llu of the other port, %llu polls of a quiet one\n", (unsigned long long)play[1].polls,
           (unsigned long long)play[2].polls, (unsigned long long)play[3].polls);
}

/* Port 1: all that is asked for, at little cost.  Port 2: the same, dear.  Port 3: a packet now and then. */
static void test_dear(void)
{
    play[1].spin = 0;
    play[2].spin = SPIN;
    play[3].period = 64;
    run_thread(true);
    /* By packets they would get the same. */
    if (play[1].polls < 2 * play[2].polls)
        FAIL("%llu cheap bursts while %llu dear ones", (unsigned long long)play[1].polls, (unsigned long long)play[2].polls);
    /* Who sends little is asked as often. */
    CHECK(play[3].polls > play[1].polls / 2);
}

/* Equally dear packets, of which those of port 2 have no flow. */
static void test_misses(void)
{
    play[1].spin = play[2].spin = SPIN;
    run_thread(false);
    if (play[1].polls < 2 * play[2].polls)
        FAIL("%llu bursts with a flow while %llu without", (unsigned long long)play[1].polls, (unsigned long long)play[2].polls);
}

int main(void)
{
    static void (*const tests[])(void) = { test_rule, test_place, test_dear, test_misses };

    return fixture_run(tests, sizeof tests / sizeof tests[0]);
}
