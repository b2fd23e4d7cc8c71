/* SPDX-License-Identifier: Apache-2.0
 * dp_fixture.h - datapaths for tests of the whole library by its ABI: start, ports, flows, packets,
 * the balance of counters.
 *
 * Header only, because every test is a program of its own. */
#ifndef UPCALL_DP_FIXTURE_H
#define UPCALL_DP_FIXTURE_H

#include <poll.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "dp.h"

#define FAIL(...) (fprintf(stderr, "%s:%d: ", __FILE__, __LINE__), fprintf(stderr, __VA_ARGS__), fputc('\n', stderr), exit(1))
#define CHECK(condition) ((condition) ? (void)0 : FAIL("%s", #condition))
#define EQUAL(a, b)                                                                                                    \
    __extension__({                                                                                                    \
        unsigned long long a_ = (unsigned long long)(a), b_ = (unsigned long long)(b);                                \
        if (a_ != b_)                                                                                                  \
            FAIL("%s is %llu, not %llu (%s)", #a, a_, b_, fixture_error());                                            \
    })
#define OK(call) EQUAL(call, 0)

static inline const char *fixture_error(void)
{
    static char text[DP_TEXT_SIZE];

    dp_error_text(text, sizeof text);
    return text;
}

/* Starts EAL, or ends the program with status 77 where it cannot be. */
static inline void fixture_start(void)
{
    if (dp_eal_start()) {
        printf("EAL: %s\n", fixture_error());
        exit(77);
    }
}

static inline uint64_t fixture_mbufs(void)
{
    uint64_t count;

    OK(dp_mbufs_in_use(&count));
    return count;
}

/* Repeats `condition` for 10 s at most. */
#define EVENTUALLY(condition)                                                                                          \
    do {                                                                                                               \
        int tries_ = 0;                                                                                                \
        while (!(condition)) {                                                                                         \
            if (++tries_ > 20000)                                                                                      \
                FAIL("never: %s", #condition);                                                                         \
            usleep(500);                                                                                               \
        }                                                                                                              \
    } while (0)

/* A thread that is about to wait for something says where to find it, and another waits until it
 * does. */
static inline void fixture_waits(_Atomic int *thread)
{
    atomic_store(thread, (int)syscall(SYS_gettid));
}

static inline bool fixture_asleep(_Atomic int *thread)
{
    char path[64], state = 0;
    FILE *file;

    if (!atomic_load(thread))
        return false;
    snprintf(path, sizeof path, "/proc/self/task/%d/stat", atomic_load(thread));
    file = fopen(path, "re");
    if (!file)
        return true; /* It has waited already. */
    if (fscanf(file, "%*d (%*[^)]) %c", &state) != 1)
        state = 0;
    fclose(file);
    return state == 'S';
}

/* Waits until a descriptor is readable. */
static inline void fixture_readable(int descriptor)
{
    struct pollfd fd = { .fd = descriptor, .events = POLLIN };

    while (poll(&fd, 1, -1) != 1)
        ;
}

/* errno of adding a port. */
static inline int fixture_port(uint64_t dp, uint32_t no, const char *name, const char *type, const char *options,
                               struct dp_port_info *info)
{
    struct dp_port_request request = { .no = no };
    struct dp_port_info ignored;
    uint64_t job;
    char text[DP_TEXT_SIZE];
    int error;

    snprintf(request.name, sizeof request.name, "%s", name);
    snprintf(request.type, sizeof request.type, "%s", type);
    snprintf(request.options, sizeof request.options, "%s", options);
    error = dp_port_stage(dp, &request, &job);
    if (error)
        return error;
    error = dp_port_add(job);
    EQUAL(dp_port_result(job, info ? info : &ignored, text, sizeof text), error);
    CHECK(!error == !text[0]);
    return error;
}

/* A datapath with its local port 0 and dummy ports 1 to `ports`. */
static inline uint64_t fixture_dp(const char *name, uint32_t ports)
{
    uint64_t dp;

    OK(dp_open(name, DP_CREATE | DP_EXCLUSIVE, &dp));
    OK(fixture_port(dp, 0, name, "dummy", "", NULL));
    for (uint32_t no = 1; no <= ports; no++) {
        char port[16];

        snprintf(port, sizeof port, "p%u", no);
        OK(fixture_port(dp, no, port, "dummy", "", NULL));
    }
    return dp;
}

/* A frame of EtherType 0x1234, `tag` in its source address and payload. */
static inline void fixture_frame(uint8_t *frame, uint32_t size, uint32_t tag)
{
    memset(frame, (int)(tag & 0xff), size);
    memcpy(frame, "\x02\x00\x00\x00\x00\x01\x02\x00", 8);
    memcpy(frame + 8, &tag, 4);
    frame[12] = 0x12;
    frame[13] = 0x34;
}

static inline void fixture_inject(uint64_t dp, uint32_t no, uint32_t size, uint32_t tag)
{
    static uint8_t frame[65536];
    int error;

    fixture_frame(frame, size, tag);
    do
        error = dp_dummy_inject(dp, no, frame, size);
    while (error == 105); /* ENOBUFS: the poll thread catches up. */
    OK(error);
}

static inline uint32_t fixture_attribute(uint8_t *at, uint16_t type, const void *value, uint16_t size)
{
    uint16_t header[2] = { (uint16_t)(size + 4), type };

    memset(at, 0, (size + 7u) & ~3u);
    memcpy(at, header, 4);
    if (size)
        memcpy(at + 4, value, size);
    return (size + 7u) & ~3u;
}

/* The key of all frames of fixture_frame() that come in by a port; with `tag`, of one. */
static inline uint32_t fixture_key(uint8_t *key, uint32_t in_port, uint32_t tag)
{
    uint8_t frame[14], ethernet[12];
    uint16_t type = 0x3412;
    uint32_t used;

    fixture_frame(frame, sizeof frame, tag);
    memcpy(ethernet, frame + 6, 6); /* Source first, as OVS_KEY_ATTR_ETHERNET has it. */
    memcpy(ethernet + 6, frame, 6);
    used = fixture_attribute(key, 3, &in_port, 4);
    used += fixture_attribute(key + used, 4, ethernet, 12);
    return used + fixture_attribute(key + used, 6, &type, 2);
}

static inline uint32_t fixture_append(uint8_t *ops, struct dp_op *op, const void *key, const void *actions, const void *packet)
{
    const struct { const void *bytes; uint32_t size; } parts[] = {
        { key, op->key_size }, { actions, op->actions_size }, { packet, op->packet_size },
    };

    op->size = sizeof *op;
    for (int i = 0; i < 3; i++) {
        if (parts[i].size)
            memcpy(ops + op->size, parts[i].bytes, parts[i].size);
        op->size += (parts[i].size + 7) & ~7u;
    }
    memcpy(ops, op, sizeof *op);
    return op->size;
}

/* One operation, by dp_operate(); its errno. */
static inline uint32_t fixture_operate(uint64_t dp, const uint8_t *ops, uint32_t size)
{
    struct dp_result result;
    uint8_t results[4096] __attribute__((aligned(8)));
    uint32_t used;

    OK(dp_operate(dp, ops, size, 1, results, sizeof results, &used));
    memcpy(&result, results, sizeof result);
    return result.error;
}

/* Sends what comes in by one port out by others. */
static inline void fixture_flow(uint64_t dp, uint32_t in_port, uint32_t out_port)
{
    struct dp_op op = { .type = DP_OP_PUT, .flags = DP_OPF_CREATE | DP_OPF_MODIFY | DP_OPF_MASK };
    uint8_t ops[1024], key[256], actions[16];

    op.key_size = fixture_key(key, in_port, 0);
    op.actions_size = fixture_attribute(actions, 1, &out_port, 4);
    EQUAL(fixture_operate(dp, ops, fixture_append(ops, &op, key, actions, NULL)), 0);
}

static inline struct dp_stats fixture_stats(uint64_t dp)
{
    struct dp_stats stats;

    OK(dp_stats_get(dp, &stats));
    return stats;
}

/* Drops for a reason, by name. */
static inline uint64_t fixture_drops(uint64_t dp, const char *reason)
{
    struct dp_stats stats = fixture_stats(dp);
    char name[64];

    for (uint32_t i = 0; i < stats.drop_count; i++) {
        OK(dp_drop_name(i, name, sizeof name));
        if (!strcmp(name, reason))
            return stats.drops[i];
    }
    FAIL("no drop reason %s", reason);
}

/* Runs the tests of a program; each gives back every mbuf that it took. */
static inline int fixture_run(void (*const tests[])(void), size_t n)
{
    uint64_t baseline;

    fixture_start();
    baseline = fixture_mbufs();
    for (size_t i = 0; i < n; i++) {
        tests[i]();
        if (fixture_mbufs() != baseline)
            FAIL("test %zu left %llu mbufs in use", i, (unsigned long long)(fixture_mbufs() - baseline));
    }
    return 0;
}

#endif
