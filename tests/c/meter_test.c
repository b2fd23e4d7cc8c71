/* SPDX-License-Identifier: Apache-2.0
 * Meters one thread at a time: what was seen of Open vSwitch 3.1.0, random ones beside the plainest way to write its arithmetic, and the
 * table's errors.
 * link: meter/meter.c meter/meter_run.c base/rcu.c base/slab.c base/mem.c */
#include <errno.h>

#include "meter_fixture.h"

static struct world world;

/* How many of `n` packets of `size` bytes pass at `now`. */
static unsigned int pass(uint32_t id, unsigned int n, uint32_t size, uint64_t now)
{
    struct burst burst;

    burst_make(&burst, size);
    return n - (unsigned int)__builtin_popcount(meter_run(world.meters, id, burst.packets, n, now));
}

static struct meter_stats stats_of(uint32_t id)
{
    struct meter_config config;
    struct meter_stats stats;

    memset(&stats, 0xff, sizeof stats);
    CHECK(!meter_get(world.meters, id, &config, &stats));
    return stats;
}

/* What Open vSwitch's userspace datapath was seen to let pass. */
static void test_observed(void)
{
    struct meter_config config = one_band(METER_PKTPS, 2, 3);
    struct meter_stats stats;
    struct burst burst;

    CHECK(!meter_set(world.meters, 1, &config, 1000));
    CHECK(pass(1, 5, 44, 1000) == 3);
    CHECK(pass(1, 2, 44, 1499) == 0);
    CHECK(pass(1, 2, 44, 1500) == 1);
    CHECK(pass(1, 2, 44, 2000) == 1);
    CHECK(pass(1, 5, 44, 7000) == 3);
    stats = stats_of(1);
    CHECK(stats.all.packets == 16 && stats.all.bytes == 16 * 44);
    CHECK(stats.bands[0].packets == 8 && stats.bands[0].bytes == 8 * 44);

    config = one_band(METER_KBPS, 1, 1);
    CHECK(!meter_set(world.meters, 1, &config, 0));
    CHECK(!stats_of(1).all.packets);
    CHECK(pass(1, 4, 44, 0) == 2);
    CHECK(pass(1, 2, 44, 352) == 1);
    CHECK(pass(1, 4, 44, 10352) == 2);
    CHECK(!meter_set(world.meters, 1, &config, 0));
    CHECK(!pass(1, 1, 126, 100000)); /* 1,008 bits: never. */
    burst_make(&burst, 100);
    burst.m[1].pkt_len = 60;
    burst.m[2].pkt_len = 25;
    CHECK(meter_run(world.meters, 1, burst.packets, 3, 200000) == 2); /* The third still fits. */

    /* 142 ms give 994 of the 1,000 that a packet takes, however long it was idle. */
    config = one_band(METER_PKTPS, 7, 1);
    CHECK(!meter_set(world.meters, 2, &config, 0));
    CHECK(pass(2, 1, 60, 0) == 1);
    CHECK(pass(2, 1, 60, 10000) == 0);
    CHECK(pass(2, 1, 60, 10001) == 1);
    CHECK(pass(2, 1, 60, 10002) == 0);
    CHECK(pass(2, 1, 60, 20002) == 1);
    CHECK(pass(2, 1, 60, 30002) == 0);

    /* The second packet is over the first band, the third over both, and charged to the one of the higher rate. */
    config = (struct meter_config){ .unit = METER_PKTPS, .band_count = 2, .bands = { { 1, 1 }, { 5, 2 } } };
    CHECK(!meter_set(world.meters, 3, &config, 0));
    burst_make(&burst, 50);
    CHECK(meter_run(world.meters, 3, burst.packets, 3, 0) == 6);
    stats = stats_of(3);
    CHECK(stats.bands[0].packets == 1 && stats.bands[1].packets == 1);
}

static void test_table(void)
{
    struct meter_config config = one_band(METER_PKTPS, 5, 0), bad;
    struct meter_stats stats;

    CHECK(pass(9, 32, 60, 0) == 32 && pass(METER_IDS, 32, 60, 0) == 32 && pass(UINT32_MAX, 1, 60, 0) == 1);
    CHECK(meter_set(world.meters, METER_IDS, &config, 0) == EFBIG);
    CHECK(!meter_set(world.meters, METER_IDS - 1, &config, 0));
    CHECK(pass(METER_IDS - 1, 32, 60, 0) == 5); /* A burst of 0 is the rate. */
    CHECK(meter_next(world.meters, 4) == METER_IDS - 1);
    bad = config;
    bad.bands[0].rate = 0;
    CHECK(meter_set(world.meters, 4, &bad, 0) == EDOM);
    for (uint32_t n = 0; n < 20; n++) {
        bad = (struct meter_config){ .band_count = n };
        for (uint32_t b = 0; b < METER_BANDS; b++)
            bad.bands[b].rate = 1;
        CHECK(meter_set(world.meters, 4, &bad, 0) == (n && n <= METER_BANDS ? 0 : EINVAL));
    }
    bad = config;
    bad.unit = (enum meter_unit)2;
    CHECK(meter_set(world.meters, 4, &bad, 0) == EINVAL);
    CHECK(!meter_get(world.meters, 4, &bad, &stats) && bad.band_count == METER_BANDS && bad.bands[7].burst == 1);
    CHECK(!meter_delete(world.meters, 4) && meter_delete(world.meters, 4) == ENOENT);
    CHECK(meter_get(world.meters, 4, &bad, &stats) == ENOENT && meter_get(world.meters, METER_IDS, &bad, &stats) == ENOENT);
    CHECK(meter_delete(world.meters, METER_IDS - 1) == 0 && meter_next(world.meters, 4) == METER_IDS);
    CHECK(pass(METER_IDS - 1, 32, 60, 0) == 32);
}

/* The arithmetic as Open vSwitch's is described, one packet after the other wherever that can be. */
struct model {
    struct meter_config config;
    unsigned __int128 bucket[METER_BANDS];
    uint64_t used, longest;
    struct meter_stats stats;
};

static void model_set(struct model *m, const struct meter_config *config, uint64_t now)
{
    memset(m, 0, sizeof *m);
    m->config = *config;
    m->used = now;
    for (uint32_t b = 0; b < config->band_count; b++) {
        if (!config->bands[b].burst)
            m->config.bands[b].burst = config->bands[b].rate;
        m->bucket[b] = m->config.bands[b].burst * (uint64_t)1000;
        if (m->config.bands[b].burst * (uint64_t)1000 / config->bands[b].rate > m->longest)
            m->longest = m->config.bands[b].burst * (uint64_t)1000 / config->bands[b].rate;
    }
    if (!m->longest)
        m->longest = 1;
    if (m->longest > UINT32_MAX)
        m->longest = UINT32_MAX;
}

static uint32_t model_run(struct model *m, struct rte_mbuf *const *packets, unsigned int n, uint64_t now)
{
    uint64_t ms = now > m->used ? now - m->used : 0;
    uint32_t over = 0, rate[METER_BURST] = { 0 }, band[METER_BURST] = { 0 };

    if (ms > m->longest)
        ms = m->longest;
    if (now > m->used)
        m->used = now;
    for (uint32_t b = 0; b < m->config.band_count; b++) {
        unsigned __int128 most = m->config.bands[b].burst * (uint64_t)1000;

        m->bucket[b] += (unsigned __int128)ms * m->config.bands[b].rate;
        if (m->bucket[b] > most)
            m->bucket[b] = most;
        for (unsigned int i = 0; i < n; i++) {
            uint64_t units = m->config.unit == METER_KBPS ? packets[i]->pkt_len * (uint64_t)8 : 1000;

            if (m->bucket[b] >= units) {
                m->bucket[b] -= units;
                continue;
            }
            over |= 1u << i;
            if (m->config.bands[b].rate > rate[i]) {
                rate[i] = m->config.bands[b].rate;
                band[i] = b;
            }
        }
    }
    for (unsigned int i = 0; i < n; i++) {
        m->stats.all.packets++;
        m->stats.all.bytes += packets[i]->pkt_len;
        if (over >> i & 1) {
            m->stats.bands[band[i]].packets++;
            m->stats.bands[band[i]].bytes += packets[i]->pkt_len;
        }
    }
    return over;
}

static uint64_t state = 20261129;

static uint32_t below(uint32_t n)
{
    state = state * 6364136223846793005ull + 1442695040888963407ull;
    return (uint32_t)(state >> 33) % n;
}

static uint32_t random_rate(void)
{
    static const uint32_t odd[] = { 1, 2, 7, 1000, 999999, 0x7fffffff, UINT32_MAX - 1, UINT32_MAX };

    return below(4) ? 1 + below(5000) : odd[below(8)];
}

/* A burst that is less than a millisecond has. */
static void test_short_burst(void)
{
    const struct meter_config config = { .unit = METER_PKTPS, .band_count = 1, .bands = { { .rate = 100000, .burst = 50 } } };

    CHECK(!meter_set(world.meters, 6, &config, 1000));
    CHECK(pass(6, 32, 60, 1000) == 32);
    CHECK(pass(6, 32, 60, 1000) == 18);
    for (uint64_t now = 1001; now < 1100; now++) {
        CHECK(pass(6, 32, 60, now) == 32);
        CHECK(pass(6, 32, 60, now) == 18);
    }
    CHECK(!meter_delete(world.meters, 6));
}

static void test_random(void)
{
    static const uint32_t steps[] = { 0, 0, 0, 1, 1, 2, 10, 143, 999, 60000, 5000000 };
    uint32_t dropped = 0;

    for (uint32_t round = 0; round < 2000; round++) {
        struct meter_config config = { .unit = below(2) ? METER_KBPS : METER_PKTPS, .band_count = 1 + below(METER_BANDS) };
        uint64_t now = ((uint64_t)below(1u << 30) << below(20)) + below(1000);
        struct meter_stats stats;
        struct burst burst;
        struct model model;

        for (uint32_t b = 0; b < config.band_count; b++) {
            config.bands[b].rate = random_rate();
            config.bands[b].burst = below(3) ? random_rate() : 0;
        }
        CHECK(!meter_set(world.meters, 5, &config, now));
        model_set(&model, &config, now);
        for (uint32_t i = 0; i < 40; i++) {
            unsigned int n = 1 + below(METER_BURST);

            burst_make(&burst, 0);
            for (unsigned int k = 0; k < n; k++)
                burst.m[k].pkt_len = below(8) ? 14 + below(1500) : below(65535);
            now += below(20) ? steps[below(11)] : (uint64_t)0 - below(3);
            if (meter_run(world.meters, 5, burst.packets, n, now) != model_run(&model, burst.packets, n, now))
                CHECK(!"as the model says");
        }
        stats = stats_of(5);
        CHECK(stats.all.packets == model.stats.all.packets && stats.all.bytes == model.stats.all.bytes);
        CHECK(!memcmp(stats.bands, model.stats.bands, sizeof stats.bands));
        dropped += stats.bands[0].packets > 0 && stats.bands[0].packets < stats.all.packets;
        rcu_reclaim(world.rcu);
    }
    CHECK(dropped > 500);
}

int main(void)
{
    world_begin(&world);
    test_observed();
    test_table();
    test_short_burst();
    test_random();
    world_end(&world);
    return failures != 0;
}
