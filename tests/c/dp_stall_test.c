/* SPDX-License-Identifier: Apache-2.0
 * link: everything
 *
 * What packets wait for while tables double, all flows are listed, ports and handlers come and go,
 * and the table is flushed.  A probe stream says so: a port that has a packet whenever its poll
 * thread asks, each for a flow at random of those that there are, so that what has just been moved
 * is read at once.  The thread itself takes the time between two packets.
 *
 * That time is ours, or a host's, the scheduler's, an interrupt's.  Four things tell them apart:
 *   - time of the thread's own (CLOCK_THREAD_CPUTIME_ID): in it is neither what other threads nor,
 *     where a hypervisor tells Linux, what other machines took of the core;
 *   - a control: after each packet the thread reads nothing but that clock, for as long as the
 *     packet took, so that whatever comes by chance comes as often to both;
 *   - repetition: a hold of ours comes whenever the same is done again.  Each step is cut into
 *     windows (a batch of puts, a port), and of each window, with the one after it, the best of
 *     several rounds counts, each with a datapath of its own.  The longest of those is what is
 *     ours: 50 us at most.  A window in which Linux looks for memory may be so long that something
 *     comes each time: it says nothing, and is counted.  A step in which the probe is held for
 *     100 us on purpose shows that such a hold is found;
 *   - whatever the machine does, a poll thread never waits for anything: neither for a lock, nor for
 *     memory that Linux would have to find first.
 *
 *     deno run -A tests/bench/cls_bench.ts stalls [FLOWS [ROUNDS]] */
#define _GNU_SOURCE
#include <pthread.h>
#include <rte_cycles.h>
#include <rte_mbuf.h>
#include <sys/resource.h>

#include "dp_fixture.h"
#include "dp_int.h"
#include "packet/eal_packet.h"
#include "port/port.h"

#define BATCH 256u
#define FEW 20000u
#define PORTS 100u
#define STALL_NS 50000u
#define HOLD_NS 100000u
#ifdef __SANITIZE_ADDRESS__
#define ROUNDS_MOST 1u               /* Its own work is longer. */
#else
#define ROUNDS_MOST 20u              /* While a window has been unlucky each time. */
#endif
#define STEPS 32u
#define WINDOWS 8192u
#define FLUSH_WINDOWS 1024u
#define LONG_US 20000u

static uint64_t dp;
static uint32_t flows = FEW;
static _Atomic uint32_t known;       /* Flows of tags below this are in the table. */

/* --- The probe, by the poll thread ------------------------------------------------------------ */

/* Of packets, and of the control beside them. */
struct count {
    _Atomic uint64_t own, passed;    /* Longer than STALL_NS: of the thread's own time, of any. */
    _Atomic uint64_t longest;        /* Of its own, since the window began, ns. */
};

static struct {
    _Atomic uint64_t packets, faults, waits;
    struct count work, control;
    _Atomic uint64_t hold;           /* To be held for so long, ns. */
} seen;

static uint64_t clock_ns(clockid_t clock)
{
    struct timespec now;

    clock_gettime(clock, &now);
    return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

static void note(struct count *count, uint64_t own, uint64_t passed)
{
    count->own += own > STALL_NS;
    count->passed += passed > STALL_NS;
    if (own > atomic_load_explicit(&count->longest, memory_order_relaxed))
        atomic_store_explicit(&count->longest, own, memory_order_relaxed);
}

/* Does nothing for so long; each look at the clock is as a packet. */
static void do_nothing(uint64_t own, uint64_t ns)
{
    const uint64_t begin = clock_ns(CLOCK_MONOTONIC);

    for (uint64_t at = begin, now, own_now; at - begin < ns; at = now, own = own_now) {
        own_now = clock_ns(CLOCK_THREAD_CPUTIME_ID);
        now = clock_ns(CLOCK_MONOTONIC);
        note(&seen.control, own_now - own, now - at);
    }
}

/* What there was since the last packet, and as much of nothing. */
static void look(void)
{
    static struct rusage before;
    static uint64_t since, own;
    const uint64_t own_now = clock_ns(CLOCK_THREAD_CPUTIME_ID), now = clock_ns(CLOCK_MONOTONIC);
    struct rusage usage;

    getrusage(RUSAGE_THREAD, &usage);
    if (since && own_now >= own) { /* Otherwise it is another thread. */
        note(&seen.work, own_now - own, now - since);
        seen.faults += (uint64_t)(usage.ru_minflt - before.ru_minflt);
        seen.waits += (uint64_t)(usage.ru_nvcsw - before.ru_nvcsw);
        do_nothing(own_now, now - since);
    }
    seen.packets++;
    getrusage(RUSAGE_THREAD, &before);
    own = clock_ns(CLOCK_THREAD_CPUTIME_ID);
    since = clock_ns(CLOCK_MONOTONIC);
}

static uint16_t probe_rx(struct port *port, uint16_t queue, struct rte_mbuf **packets, uint16_t n)
{
    static uint32_t turn;
    const uint64_t hold = atomic_exchange_explicit(&seen.hold, 0, memory_order_relaxed);
    uint8_t frame[60];

    (void)port, (void)queue, (void)n;
    look();
    if (hold)
        for (const uint64_t own = clock_ns(CLOCK_THREAD_CPUTIME_ID); clock_ns(CLOCK_THREAD_CPUTIME_ID) - own < hold;)
            ;
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

/* --- Steps, windows, rounds ------------------------------------------------------------------- */

/* The longest of a window, ns, and how long it was itself. */
struct window {
    uint32_t work, control, us;
};

static struct step {
    char name[32];
    struct window *best;             /* Of all rounds, by window. */
    uint32_t n;
    double ms;
    uint64_t packets, own[2], passed[2]; /* Of work, of control. */
} steps[STEPS];

static struct step *step;            /* That is under way. */
static struct window round_of[WINDOWS + 1];
static uint32_t marked;              /* Windows that have ended, ... */
static uint64_t marked_ns;           /* ... the last one then. */

/* Windows below `end` end here, by each others' measure. */
static void mark_at(uint32_t end)
{
    const struct window w = { (uint32_t)atomic_exchange(&seen.work.longest, 0), (uint32_t)atomic_exchange(&seen.control.longest, 0),
                              (uint32_t)((clock_ns(CLOCK_MONOTONIC) - marked_ns) / 1000) };

    CHECK(end <= WINDOWS);
    while (marked < end)
        round_of[marked++] = w;
    marked_ns = clock_ns(CLOCK_MONOTONIC);
}

static void mark(void)
{
    mark_at(marked + 1);
}

/* What comes in this window of one round may come in the next of another. */
static void keep(void)
{
    const bool first = !step->best;

    if (first)
        step->best = calloc(step->n = marked, sizeof *step->best);
    EQUAL(marked, step->n);
    round_of[marked] = round_of[marked - 1];
    for (uint32_t i = 0; i < marked; i++) {
        const struct window *a = &round_of[i], *b = &round_of[i + 1];
        const struct window best = first ? (struct window){ UINT32_MAX, UINT32_MAX, UINT32_MAX } : step->best[i];
        const uint32_t work = RTE_MAX(a->work, b->work), control = RTE_MAX(a->control, b->control);

        step->best[i] = (struct window){ RTE_MIN(best.work, work), RTE_MIN(best.control, control), RTE_MIN(best.us, a->us + b->us) };
    }
}

/* Of all windows that say something, or of those that do not; `us` is how many that are. */
static struct window longest(const struct step *s, bool too_long)
{
    struct window w = { 0 };

    for (uint32_t i = 0; i < s->n; i++)
        if ((s->best[i].us > LONG_US) == too_long)
            w = (struct window){ RTE_MAX(w.work, s->best[i].work), RTE_MAX(w.control, s->best[i].control), w.us + 1 };
    return w;
}

static void begin(uint32_t at, const char *name, void (*run)(void))
{
    uint64_t packets, since;

    CHECK(at < STEPS);
    step = &steps[at];
    snprintf(step->name, sizeof step->name, "%s", name);
    usleep(2000); /* What the step before began has ended. */
    memset(&seen, 0, sizeof seen);
    marked = 0;
    marked_ns = since = clock_ns(CLOCK_MONOTONIC);
    run();
    packets = seen.packets;
    EVENTUALLY(seen.packets > packets + 10);
    mark();
    step->ms += (double)(clock_ns(CLOCK_MONOTONIC) - since) / 1e6;
    step->packets += seen.packets;
    step->own[0] += seen.work.own;
    step->own[1] += seen.control.own;
    step->passed[0] += seen.work.passed;
    step->passed[1] += seen.control.passed;
    EQUAL(seen.faults, 0);
    EQUAL(seen.waits, 0);
    keep();
}

static void nothing(void)
{
    for (uint32_t i = 0; i < 100; i++, mark())
        usleep(1000);
}

static void hold(void)
{
    uint64_t packets;

    for (uint32_t i = 0; i < 5; i++, mark()) {
        atomic_store(&seen.hold, i == 2 ? HOLD_NS : 0);
        EVENTUALLY(!seen.hold);
        packets = seen.packets;
        EVENTUALLY(seen.packets > packets + 2);
    }
}

static void put(void)
{
    static uint8_t ops[BATCH * 256] __attribute__((aligned(8))), results[BATCH * 128] __attribute__((aligned(8)));
    const uint32_t first = atomic_load(&known), end = first ? RTE_MIN(flows, 2 * first) : BATCH, out = 2;

    for (uint32_t tag = first; tag < end; atomic_store(&known, tag), mark()) {
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
    for (uint32_t listed = 0; listed < flows; listed += count, mark_at(listed / BATCH)) {
        OK(dp_dump_next(dumped, BATCH, records, sizeof records, &count, &used));
        CHECK(count);
    }
    OK(dp_dump_close(dumped));
}

static void ports_come(void)
{
    char name[16];

    for (uint32_t i = 0; i < PORTS; i++, mark()) {
        snprintf(name, sizeof name, "s%u", i);
        OK(fixture_port(dp, 10 + i, name, "null", "", NULL));
    }
}

static void ports_go(void)
{
    for (uint32_t i = 0; i < PORTS; i++, mark())
        OK(dp_port_delete(dp, 10 + i));
}

static void handlers(void)
{
    for (uint32_t i = 0; i < 8; i++, mark())
        OK(dp_upcall_set_handlers(dp, i % 2 ? 1 : 64));
}

static void *flush_all(void *unused)
{
    OK(dp_flow_flush(dp));
    return unused;
}

/* Its windows are so many flows less. */
static void flush(void)
{
    pthread_t thread;
    uint32_t left = flows;

    CHECK(!pthread_create(&thread, NULL, flush_all, NULL));
    for (; left; mark_at((uint32_t)((uint64_t)(flows - left) * FLUSH_WINDOWS / flows))) {
        usleep(100);
        left = (uint32_t)fixture_stats(dp).flows;
    }
    pthread_join(thread, NULL);
}

/* All of it once, with a datapath that has grown nothing yet.  How many steps there were. */
static uint32_t take_round(void)
{
    uint32_t n = 0;

    dp = fixture_dp("stall", 2);
    OK(dp_poll_threads_set(dp, 1, 0, 0)); /* It never naps. */
    step = NULL;
    marked = 0;
    put();
    take_over(2, false);
    take_over(1, true);
    memset(&seen, 0, sizeof seen);
    EVENTUALLY(seen.packets > 10000); /* What is touched for the first time is. */
    begin(n++, "a hold of 100 us", hold);
    begin(n++, "nothing", nothing);
    while (atomic_load(&known) < flows) {
        char name[32];

        snprintf(name, sizeof name, "%u flows", RTE_MIN(flows, 2 * atomic_load(&known)));
        begin(n++, name, put);
    }
    begin(n++, "all flows listed", dump);
    begin(n++, "ports come", ports_come);
    begin(n++, "handlers come and go", handlers);
    begin(n++, "ports go", ports_go);
    begin(n++, "a flush", flush);
    OK(dp_close(dp));
    atomic_store(&known, 0);
    return n;
}

/* --- What came of it -------------------------------------------------------------------------- */

/* The longest hold of ours in all steps but the first, beside the control's. */
static struct window bound(uint32_t n, bool too_long)
{
    struct window w = { 0 };

    for (uint32_t i = 1; i < n; i++) {
        const struct window of = longest(&steps[i], too_long);

        w = (struct window){ RTE_MAX(w.work, of.work), RTE_MAX(w.control, of.control), w.us + of.us };
    }
    return w;
}

static void say(uint32_t n, uint32_t rounds)
{
    const struct window all = bound(n, false), rest = bound(n, true);

    printf("%u rounds | longer than 50 us: of the thread's own time, of any time; beside each, a thread that does nothing | the longest that"
           " came in each round, us\n", rounds);
    for (uint32_t i = 0; i < n; i++) {
        const struct step *s = &steps[i];
        const struct window w = longest(s, false);

        printf("%-22s %7.0f ms %9llu packets | own %4llu (nothing: %llu), any %5llu (nothing: %llu) | %6.1f (nothing: %.1f)\n", s->name, s->ms,
               (unsigned long long)s->packets, (unsigned long long)s->own[0], (unsigned long long)s->own[1],
               (unsigned long long)s->passed[0], (unsigned long long)s->passed[1], w.work / 1e3, w.control / 1e3);
    }
    printf("the longest hold of ours %.1f us, %.1f of a thread that does nothing; %u of %u windows too long to say: %.1f us, %.1f of nothing\n",
           all.work / 1e3, all.control / 1e3, rest.us, all.us + rest.us, rest.work / 1e3, rest.control / 1e3);
}

int main(int argc, char **argv)
{
    const uint32_t wanted = argc > 2 ? (uint32_t)atoi(argv[2]) : RTE_MIN(3u, ROUNDS_MOST);
    uint32_t rounds = 0, n = 0;
    uint64_t mbufs;

    flows = argc > 1 ? (uint32_t)atoi(argv[1]) : FEW;
    if (flows < BATCH || flows > WINDOWS * BATCH || !wanted)
        FAIL("usage: stalls [FLOWS [ROUNDS]], %u to %u flows", BATCH, WINDOWS * BATCH);
    fixture_start();
    mbufs = fixture_mbufs();
    while (rounds < wanted || (rounds < ROUNDS_MOST && bound(n, false).work >= STALL_NS)) {
        n = take_round();
        rounds++;
        EVENTUALLY(fixture_mbufs() <= mbufs);
    }
    say(n, rounds);
    CHECK(longest(&steps[0], false).work >= HOLD_NS);
    CHECK(ROUNDS_MOST == 1 || bound(n, false).work < STALL_NS);
    return 0;
}
