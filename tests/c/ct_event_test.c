/* SPDX-License-Identifier: Apache-2.0
 * Events of connections: what is told, in which order, to whom, under which mask, and what is lost.
 * link: base/mem.c ct/ct*.c base/hash.c packet/csum.c packet/extract.c
 * sanitize: address thread */
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>

#include "ct/ct_event_int.h"
#include "ct_alg_fixture.h"

#define EVERY (1u << CT_EVENT_NEW | 1u << CT_EVENT_UPDATE | 1u << CT_EVENT_DESTROY)

static struct ct_event events[256];

static uint32_t listen_to(int32_t zone, uint32_t kinds, int *fd)
{
    const struct ct_listening what = { .zone = zone, .kinds = kinds };
    uint32_t listener = 99;

    CHECK(!ct_listen(w->ct, &what, &listener, fd));
    return listener;
}

static bool is_readable(int fd)
{
    struct pollfd p = { .fd = fd, .events = POLLIN };

    return poll(&p, 1, 0) == 1;
}

/* Events as text: kind and reports. */
static const char *taken(uint32_t listener)
{
    static char text[512];
    uint32_t n;

    text[0] = 0;
    while ((n = ct_take_events(w->ct, listener, events, 256)) != 0) {
        for (uint32_t i = 0; i < n; i++)
            snprintf(text + strlen(text), sizeof text - strlen(text), "%c%x ", " NUDL"[events[i].kind], events[i].reports);
    }
    return text;
}

#define TOLD(listener, expected)                                                              \
    do {                                                                                      \
        const char *text_ = taken(listener);                                                  \
        if (strcmp(text_, expected)) {                                                        \
            fprintf(stderr, "%s:%d: told %s, not %s\n", __FILE__, __LINE__, text_, expected); \
            failures++;                                                                       \
        }                                                                                     \
    } while (0)

#define UO "10.1.1.1:1000>10.1.1.2:53"
#define UR "10.1.1.2:53>10.1.1.1:1000"

static void test_kinds(void)
{
    uint32_t l;
    int fd;

    open_world(CT_HELPER_NONE, 0, "", 0);
    udp(w, 1, "10.1.1.1:999>10.1.1.2:53"); /* Nobody listens yet. */
    l = listen_to(-1, EVERY, &fd);
    TOLD(l, "");
    CHECK(!is_readable(fd));
    udp(w, 1, UO);
    CHECK(is_readable(fd));
    TOLD(l, "N1 ");
    CHECK(events[0].info.orig.dport == __builtin_bswap16(53) && events[0].info.timeout == 60);
    CHECK(!is_readable(fd));
    udp(w, 1, UO); /* No change. */
    TOLD(l, "");
    udp(w, 2, UR);
    udp(w, 2, UR);
    udp(w, 1, UO);
    TOLD(l, "U8 ");
    icmp(w, 1, "10.1.1.1:7>10.1.1.2:0", 8, 0);
    icmp(w, 2, "10.1.1.2:7>10.1.1.1:0", 0, 0);
    icmp(w, 1, "10.1.1.1:7>10.1.1.2:0", 8, 0);
    TOLD(l, "N1 U8 ");
    w->flows[0][0].flags |= CT_MARK | CT_LABEL;
    w->flows[0][0].mark = w->flows[0][0].mark_mask = 5;
    w->flows[0][0].label[3] = w->flows[0][0].label_mask[3] = 1;
    udp(w, 1, UO);
    udp(w, 1, UO);
    TOLD(l, "U480 ");
    CHECK(events[0].info.mark == 5 && events[0].info.label[3] == 1);
    ct_flush(w->ct, &(struct ct_filter){ .zone = -1, .mark = 5, .mark_mask = 15 }, w->now);
    TOLD(l, "D4 ");
    CHECK(events[0].info.mark == 5 && events[0].info.orig.sport == __builtin_bswap16(1000) && !events[0].info.timeout);
    ct_unlisten(w->ct, l);
    udp(w, 1, UO);
    world_close(w);
}

static void test_tcp(void)
{
    uint32_t l;
    int fd;

    open_world(CT_HELPER_NONE, 0, "", 0);
    l = listen_to(-1, EVERY, &fd);
    shake(O, R);
    TOLD(l, "N1 U28 U20 ");
    says(1, O, 101, 501, "hello");
    TOLD(l, "");
    tcp(w, 1, O, RST | ACK, 106, 501);
    TOLD(l, "U20 ");
    /* Opened again: the old one ends first. */
    tcp(w, 1, O, SYN, 9000, 0);
    TOLD(l, "D4 N1 ");
    /* Taken by the answers' side, by force. */
    w->flows[1][0].flags = CT_COMMIT | CT_FORCE;
    tcp(w, 2, R, SYN | ACK, 70, 9001);
    TOLD(l, "D4 ");
    ct_unlisten(w->ct, l);
    world_close(w);
}

static void test_mask(void)
{
    struct ct_request *r;
    uint32_t l;
    int fd;

    open_world(CT_HELPER_NONE, 0, "", 0);
    r = &w->flows[0][0];
    r->flags |= CT_EVENT_MASK;
    l = listen_to(-1, EVERY, &fd);
    r->event_mask = CT_REPORT_DESTROY | CT_REPORT_MARK;
    udp(w, 1, UO);
    udp(w, 2, UR);
    TOLD(l, "");
    r->flags |= CT_MARK;
    r->mark = r->mark_mask = 1;
    udp(w, 1, UO);
    TOLD(l, "U80 ");
    udp(w, 1, "10.1.1.1:1001>10.1.1.2:53"); /* New, with a mark. */
    TOLD(l, "N81 ");
    r->event_mask = CT_REPORT_NEW; /* A commit of a known one sets its mask, too. */
    r->mark = 3;
    r->mark_mask = 3;
    udp(w, 1, UO);
    TOLD(l, "");
    ct_flush(w->ct, &(struct ct_filter){ .zone = -1 }, w->now);
    TOLD(l, "D4 ");
    /* Without `commit` it says nothing. */
    r->flags &= ~CT_EVENT_MASK;
    udp(w, 1, UO);
    r->flags = CT_EVENT_MASK;
    r->event_mask = 0;
    udp(w, 2, UR);
    TOLD(l, "N81 U8 ");
    ct_unlisten(w->ct, l);
    world_close(w);
}

static void test_helper(void)
{
    struct ct_info info[8] = { 0 };
    uint32_t l, at = 0;
    int fd;

    open_world(CT_HELPER_FTP, 0, "", 0);
    l = listen_to(-1, EVERY, &fd);
    shake(O, R);
    TOLD(l, "N41 U28 U20 ");
    CHECK(!strcmp(events[0].info.helper, "ftp"));
    CHECK(ct_dump_expected(w->ct, &at, -1, w->now, info, 8) == 0 && at == CT_DUMP_END);
    says(1, O, 101, 501, "PORT 10,1,1,1,20,10\r\n");
    at = 0;
    CHECK(ct_dump_expected(w->ct, &at, 0, w->now, info, 8) == 1);
    CHECK(info[0].orig.dport == __builtin_bswap16(5130) && !info[0].orig.sport && info[0].orig.src[3] == 2 && !info[0].reply.family);
    CHECK(info[0].parent.dport == __builtin_bswap16(21) && !strcmp(info[0].helper, "ftp") && info[0].timeout == 300);
    at = 0;
    CHECK(ct_dump_expected(w->ct, &at, 1, w->now, info, 8) == 0);
    w->flows[1][0].flags = CT_COMMIT;
    tcp(w, 2, "10.1.1.2:20>10.1.1.1:5130", SYN, 1, 0);
    TOLD(l, "N2 ");
    CHECK(events[0].info.parent.dport == __builtin_bswap16(21));
    ct_flush_tuple(w->ct, &info[0].parent, w->now);
    at = 0;
    CHECK(ct_dump_expected(w->ct, &at, -1, w->now, info, 8) == 0);
    TOLD(l, "D4 ");
    ct_unlisten(w->ct, l);
    world_close(w);
}

static void test_listeners(void)
{
    uint32_t all, zone, ends, more[CT_LISTENERS];
    int fd, zone_fd, ends_fd;
    const struct ct_listening every = { .zone = -1, .kinds = EVERY };

    open_world(CT_HELPER_NONE, 0, "", 0);
    all = listen_to(-1, EVERY, &fd);
    zone = listen_to(3, EVERY, &zone_fd);
    ends = listen_to(-1, 1u << CT_EVENT_DESTROY, &ends_fd);
    TOLD(zone, "");
    udp(w, 1, UO);
    CHECK(is_readable(zone_fd)); /* It looks, and sleeps again. */
    TOLD(zone, "");
    CHECK(!is_readable(zone_fd));
    w->flows[0][0].zone = 3;
    udp(w, 1, UO);
    TOLD(zone, "N1 ");
    ct_flush(w->ct, &(struct ct_filter){ .zone = -1 }, w->now);
    TOLD(ends, "D4 D4 ");
    TOLD(zone, "D4 ");
    TOLD(all, "N1 N1 D4 D4 ");
    for (uint32_t i = 0; i < CT_LISTENERS - 3; i++)
        more[i] = listen_to(-1, EVERY, &fd);
    CHECK(ct_listen(w->ct, &every, &more[CT_LISTENERS - 3], &fd) == ENFILE);
    for (uint32_t i = 0; i < CT_LISTENERS - 3; i++)
        ct_unlisten(w->ct, more[i]);
    ct_wake_listeners(w->ct);
    CHECK(is_readable(zone_fd) && is_readable(ends_fd));
    ct_unlisten(w->ct, all);
    ct_unlisten(w->ct, zone);
    ct_unlisten(w->ct, ends);
    /* What happened before is not told, wherever it still lies. */
    udp(w, 1, UO);
    all = listen_to(-1, EVERY, &fd);
    TOLD(all, "");
    ct_unlisten(w->ct, all);
    world_close(w);
}

/* What expires is told by the service, from its own ring. */
static void test_expiry(void)
{
    uint32_t l;
    int fd;

    open_world(CT_HELPER_NONE, 0, "", 0);
    l = listen_to(-1, EVERY, &fd);
    udp(w, 1, UO);
    TOLD(l, "N1 ");
    w->now += 61000;
    ct_service(w->ct, w->now);
    TOLD(l, "D4 ");
    ct_unlisten(w->ct, l);
    world_close(w);
}

/* A connection that cannot be stored is not new; what has no room is counted. */
static void test_lost(void)
{
    uint32_t slow, l, n = 0;
    uint64_t lost = 0;
    char text[64];
    int fd;

    open_world(CT_HELPER_NONE, 0, "", 0);
    l = listen_to(-1, EVERY, &fd);
    slow = listen_to(-1, EVERY, &fd);
    ct_set_max(w->ct, 0);
    udp(w, 1, UO);
    TOLD(l, "");
    ct_set_max(w->ct, 3000000);
    for (uint32_t i = 0; i < CT_EVENT_RING + 100; i++) {
        snprintf(text, sizeof text, "10.1.%u.%u:%u>10.1.1.2:53", i >> 16 & 255, i >> 8 & 255, 1000 + (i & 255));
        udp(w, 1, text);
    }
    for (uint32_t got; (got = ct_take_events(w->ct, l, events, 256)) != 0;) {
        for (uint32_t i = 0; i < got; i++) {
            lost += events[i].lost;
            n += events[i].kind == CT_EVENT_NEW;
        }
    }
    CHECK(n == CT_EVENT_RING && lost == 100);
    /* One that reads keeps rings empty; one that does not loses what the log drops. */
    for (uint32_t i = 0; i < CT_EVENT_LOG; i++) {
        snprintf(text, sizeof text, "10.2.%u.%u:%u>10.1.1.2:53", i >> 16 & 255, i >> 8 & 255, 1000 + (i & 255));
        udp(w, 1, text);
        if (i % 1024 == 0)
            taken(l);
    }
    taken(l);
    n = 0;
    lost = 0;
    for (uint32_t got; (got = ct_take_events(w->ct, slow, events, 256)) != 0;) {
        for (uint32_t i = 0; i < got; i++) {
            lost += events[i].lost;
            n += events[i].kind == CT_EVENT_NEW;
        }
    }
    CHECK(n == CT_EVENT_KEPT && lost == CT_EVENT_RING + 100 + CT_EVENT_LOG - CT_EVENT_KEPT);
    ct_unlisten(w->ct, l);
    ct_unlisten(w->ct, slow);
    world_close(w);
}

/* --- Threads ---------------------------------------------------------------------------------- */

#define WORKERS 3u
#define ROUNDS 1500u
#define TUPLES 64u

static _Atomic uint32_t running;
static _Atomic uint64_t clock_ms = 1000000;

/* The same few tuples, opened, answered, reset and opened again by all. */
static void *work(void *arg)
{
    const uint32_t self = (uint32_t)(uintptr_t)arg;
    struct packet *packets = aligned_alloc(64, CT_BURST * sizeof *packets); /* As mbufs are. */
    struct ct_request request = { .flags = CT_COMMIT | CT_MARK, .mark = self, .mark_mask = 3 };
    struct rte_mbuf *burst[CT_BURST];
    uint32_t state = self * 77 + 1;
    char text[64];

    CHECK(packets);
    memset(packets, 0, CT_BURST * sizeof *packets);
    rte_rcu_qsbr_thread_online(w->qsbr, self);
    for (uint32_t round = 0; round < ROUNDS; round++) {
        for (uint32_t i = 0; i < CT_BURST; i++) {
            state = state * 1664525 + 1013904223;
            if (state & 0x100)
                snprintf(text, sizeof text, "10.1.1.1:%u>10.1.1.2:80", 1000 + (state >> 12 & (TUPLES - 1)));
            else
                snprintf(text, sizeof text, "10.1.1.2:80>10.1.1.1:%u", 1000 + (state >> 12 & (TUPLES - 1)));
            tcp_packet(&packets[i], text, (const uint8_t[]){ SYN, SYN | ACK, RST | ACK, ACK }[state >> 24 & 3], state, state, 0, 8192, "", 0);
            burst[i] = &packets[i].m;
        }
        ct_run(w->ct, self, &request, burst, CT_BURST, atomic_load(&clock_ms));
        rte_rcu_qsbr_quiescent(w->qsbr, self);
    }
    rte_rcu_qsbr_thread_offline(w->qsbr, self);
    free(packets);
    atomic_fetch_sub(&running, 1);
    return NULL;
}

static void *serve(void *arg)
{
    (void)arg;
    while (atomic_load(&running)) {
        atomic_fetch_add(&clock_ms, 997);
        ct_service(w->ct, atomic_load(&clock_ms));
        sched_yield();
    }
    return NULL;
}

/* Of each tuple, new and destroy in turn, and updates in between: by whatever threads they are
 * told. */
static void follow(uint32_t n, uint32_t told[4], uint8_t open[65536])
{
    for (uint32_t i = 0; i < n; i++) {
        const struct ct_key *key = &events[i].info.orig;
        uint8_t *at = &open[key->src[3] == 1 ? key->sport : key->dport];

        told[events[i].kind - 1]++;
        CHECK(*at == (events[i].kind != CT_EVENT_NEW));
        *at = events[i].kind != CT_EVENT_DESTROY;
    }
}

static void test_threads(void)
{
    static uint8_t open[65536];
    pthread_t threads[WORKERS + 1];
    uint32_t told[4] = { 0 }, listener, sleeps = 0, other;
    int fd, other_fd;

    open_world(CT_HELPER_NONE, 0, "", 0);
    ct_set_sweep_ms(w->ct, 500);
    listener = listen_to(-1, EVERY, &fd);
    for (uint32_t i = 1; i <= WORKERS; i++)
        rte_rcu_qsbr_thread_register(w->qsbr, i);
    atomic_store(&running, WORKERS);
    for (uint32_t i = 1; i <= WORKERS; i++)
        CHECK(!pthread_create(&threads[i - 1], NULL, work, (void *)(uintptr_t)i));
    CHECK(!pthread_create(&threads[WORKERS], NULL, serve, NULL));
    while (atomic_load(&running)) {
        const uint32_t n = ct_take_events(w->ct, listener, events, 256);
        struct pollfd p = { .fd = fd, .events = POLLIN };

        follow(n, told, open);
        if (!n)
            sleeps += poll(&p, 1, 1000) == 1;
        /* Others come and go. */
        other = listen_to(0, EVERY, &other_fd);
        ct_take_events(w->ct, other, &events[128], 16);
        ct_unlisten(w->ct, other);
    }
    for (uint32_t i = 0; i <= WORKERS; i++)
        pthread_join(threads[i], NULL);
    ct_flush(w->ct, &(struct ct_filter){ .zone = -1 }, atomic_load(&clock_ms));
    for (uint32_t n; (n = ct_take_events(w->ct, listener, events, 256)) != 0;)
        follow(n, told, open);
    for (uint32_t i = 0; i < 65536; i++)
        CHECK(!open[i]);
    CHECK(told[0] >= TUPLES && told[0] == told[2] && told[1] && !told[3] && told[0] == ct_counter(w->ct, CT_COUNT_created));
    CHECK(sleeps);
    ct_unlisten(w->ct, listener);
    world_close(w);
}

int main(void)
{
    test_kinds();
    test_tcp();
    test_mask();
    test_helper();
    test_listeners();
    test_expiry();
    test_lost();
    test_threads();
    return failures != 0;
}
