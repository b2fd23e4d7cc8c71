/* SPDX-License-Identifier: Apache-2.0
 *
 * What attacks on connection tracking cost those who have a connection.  In turn, burst by burst, one port receives packets of 1,000 established
 * connections and another one the attack; the cycles of the former count.  Built and run by ct_bench.ts.
 *
 *   ct_attack_bench [ROUNDS]
 *
 *   quiet   ordinary packets of 32 connections instead of an attack
 *   syn     each packet begins a connection, which is stored
 *   full    the same where the table is full: all are refused
 *
 * Each line: cycles an established packet with its ratio to the quiet case, and cycles an attacking packet; medians of the rounds, in which all
 * cases take turns.  Exit status 1 if established packets became dearer by more than a ninth (they keep 90 %), and 2 if one of them was lost, or
 * a packet was refused that should not be, or none that should. */
#include <rte_cycles.h>
#include <rte_rcu_qsbr.h>

#include "base/rcu.h"
#include "ct_bench_fixture.h"
#include "path/burst.h"
#include "path/tx.h"

#define ESTABLISHED 1000u
#define TURNS 24u                    /* Bursts of either kind in a round. */
#define ROUNDS_MAX 400u
#define ATTACK_PORT 3u
#define ATTACK_ZONE 9u
#define LIMIT (1.0 / 0.9)

enum attack { QUIET, SYN, FULL, ATTACKS };
static const char *const names[] = { "quiet", "syn", "full" };

static struct worker worker;
static struct stat_counters stat;
static uint8_t frames[2 * ESTABLISHED][FRAME];
static double established[ATTACKS][ROUNDS_MAX], ratio[ATTACKS][ROUNDS_MAX], attacking[ATTACKS][ROUNDS_MAX];
static uint64_t sent;

static uint16_t count_all(struct port *port, uint16_t queue, struct rte_mbuf **packets, uint16_t n)
{
    (void)port;
    (void)queue;
    (void)packets;
    sent += n;
    return n;
}

static uint64_t run_burst(uint32_t in_port, uint32_t n)
{
    const struct pkt_md md = { .in_port = in_port };
    struct rte_mbuf *packets[WORKER_BURST];
    uint64_t start;

    memcpy(packets, pool + (in_port == ATTACK_PORT ? WORKER_BURST : 0), sizeof packets);
    start = rte_rdtsc();
    burst_receive(&worker, packets, n, &md);
    tx_flush(&worker);
    return rte_rdtsc() - start;
}

static void load_established(uint32_t at, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++)
        load(pool[i], frames[(at + i) % (2 * ESTABLISHED)]);
}

static void load_attack(enum attack attack)
{
    static uint32_t next;

    for (uint32_t i = 0; i < WORKER_BURST; i++) {
        uint8_t f[FRAME];
        const uint32_t from = attack == QUIET ? i : next++;

        make_frame(f, 6, 0x0b000000u + (from & 0xffffff), 0x0c000001u + (from >> 24), 1024 + from % 60000, 80, false);
        load(pool[WORKER_BURST + i], f);
    }
}

/* Cycles of a round, and the packets of each side that came out. */
static void run_round(enum attack attack, uint32_t round, uint64_t *delivered)
{
    uint64_t cycles = 0, theirs = 0;

    *delivered = 0;
    for (uint32_t i = 0; i < TURNS; i++) {
        load_attack(attack);
        theirs += run_burst(ATTACK_PORT, WORKER_BURST);
        load_established((round * TURNS + i) * WORKER_BURST, WORKER_BURST);
        sent = 0;
        cycles += run_burst(1, WORKER_BURST);
        *delivered += sent;
    }
    established[attack][round] = (double)cycles / (TURNS * WORKER_BURST);
    attacking[attack][round] = (double)theirs / (TURNS * WORKER_BURST);
    ratio[attack][round] = established[attack][round] / established[QUIET][round];
}

static double median(double *values, uint32_t n)
{
    qsort(values, n, sizeof values[0], by_value);
    return values[n / 2];
}

/* Both ways of every connection, twice. */
static void establish(void)
{
    for (uint32_t i = 0; i < ESTABLISHED; i++) {
        const uint32_t src = 0x0a010000u | (rnd() & 0xffff), dst = 0x0a020000u | i, sport = 1024 + rnd() % 64000, dport = 1 + rnd() % 65000;

        make_frame(frames[2 * i], 17, src, dst, sport, dport, false);
        make_frame(frames[2 * i + 1], 17, src, dst, sport, dport, true);
    }
    for (uint32_t at = 0; at < 4 * ESTABLISHED; at++) {
        load_established(at, 1);
        run_burst(1, 1);
    }
}

/* Rounds of all cases in turn.  False: a packet or a connection was lost. */
static bool measure(uint32_t rounds)
{
    const struct ct_filter theirs = { .zone = ATTACK_ZONE };
    bool good = true;

    for (uint32_t round = 0; round < rounds; round++) {
        for (enum attack attack = 0; attack < ATTACKS; attack++) {
            const uint64_t refused = ct_counter(worker.ct, CT_COUNT_full), packets = TURNS * WORKER_BURST;
            uint64_t delivered;

            worker_tick(&worker);
            ct_set_max(worker.ct, attack == FULL ? ESTABLISHED : CT_MAX_DEFAULT);
            run_round(attack, round, &delivered);
            good &= delivered == packets && ct_counter(worker.ct, CT_COUNT_full) - refused == (attack == FULL ? packets : 0)
                    && ct_count(worker.ct) == ESTABLISHED + (attack == QUIET ? WORKER_BURST : attack == SYN ? packets : 0);
            ct_flush(worker.ct, &theirs, worker.now);
            ct_service(worker.ct, worker.now);
            ct_service(worker.ct, worker.now);
        }
    }
    return good;
}

int main(int argc, char **argv)
{
    static const struct port_class class = { .type = "sink", .tx_burst = count_all };
    const uint32_t rounds = argc > 1 && atoi(argv[1]) < (int)ROUNDS_MAX ? (uint32_t)atoi(argv[1]) : ROUNDS_MAX;
    struct rcu *rcu = rcu_create();
    struct cls *cls = cls_create(rcu);
    struct rte_rcu_qsbr *qsbr = aligned_alloc(64, (rte_rcu_qsbr_get_memsize(CT_THREADS) + 63) & ~(size_t)63);
    bool good, cheap = true;

    open_worker(&worker, &stat);
    atomic_load(&worker.tx[2])->port->class = &class;
    rte_rcu_qsbr_init(qsbr, CT_THREADS);
    if (ct_create(qsbr, &worker.ct))
        return 2;
    put_flow(cls, 1, 1, 0, 0, program(7, false, false, 1, 0));
    put_flow(cls, 2, 1, 1, CT_STATE_TRACKED | CT_STATE_NEW, program(7, true, false, 0, 2));
    put_flow(cls, 3, 1, 1, CT_STATE_TRACKED | CT_STATE_EST, program(0, false, false, 0, 2));
    put_flow(cls, 4, ATTACK_PORT, 0, 0, program(ATTACK_ZONE, true, false, 0, 2));
    worker.replica = cls_replica_add(cls, 1);
    establish();
    good = measure(rounds);
    for (enum attack attack = 0; attack < ATTACKS; attack++) {
        const double more = median(ratio[attack], rounds);

        printf("%-6s %6.1f cycles, %.3f of the quiet case; %.0f an attacking packet\n", names[attack], median(established[attack], rounds), more,
               median(attacking[attack], rounds));
        cheap &= more < LIMIT;
    }
    return !good ? 2 : !cheap;
}
