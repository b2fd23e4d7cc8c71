/* SPDX-License-Identifier: Apache-2.0
 * hazard_fixture.h - one classifier with one replica, for tests that put a few flows and look single frames up, in every build. */
#ifndef UPCALL_HAZARD_FIXTURE_H
#define UPCALL_HAZARD_FIXTURE_H

#include <rte_mbuf.h>

#include "cls_fixture.h"
#include "cls/cls_int.h"

static struct rcu *rcu;
static struct cls *cls;
static struct cls_replica *replica;
static struct stat_counters stat;
static struct act_prog *program;

static inline void setup(void)
{
    rcu = rcu_create();
    cls = cls_create(rcu);
    replica = cls_replica_add(cls, 1);
}

static inline void teardown(void)
{
    cls_replica_remove(cls, replica);
    cls_destroy(cls);
    rcu_destroy(rcu);
}

static inline void always(struct key *mask)
{
    memset(mask, 0, sizeof *mask);
    mask->base.in_port = mask->base.recirc_id = UINT32_MAX;
    mask->base.l2 = 0xff;
    mask->base.eth_type = 0xffff;
    mask->base.vlan[0].tci = 0x10;
    mask->base.nw_frag = 0xff;
}

static inline void key_of(const uint8_t *frame, uint32_t size, uint32_t in_port, struct key *key)
{
    const struct pkt_md md = { .in_port = in_port };

    extract_key(frame, size, size, &md, NULL, key, NULL);
}

static inline void add(uint32_t flow, const uint8_t *frame, uint32_t size, uint32_t in_port, const struct key *mask)
{
    struct key key;

    key_of(frame, size, in_port, &key);
    CHECK(cls_insert(cls, flow, &key, mask, act_verdict(program)) == 0);
}

static uint16_t last_flags;

static inline uint32_t find(const uint8_t *frame, uint32_t size, uint32_t in_port)
{
    struct packet p = packet_create(frame, size);
    const struct pkt_md md = { .in_port = in_port };
    uint32_t flow;

    cls_lookup(replica, in_port, 0, &p.m, 1, &md, &flow, &last_flags, &stat);
    packet_free(&p);
    return flow;
}

static inline const struct cls_view *view_of(uint32_t in_port)
{
    struct cls_part *part = cls_part_find(cls, in_port, 0);

    return part ? atomic_load(&part->view) : NULL;
}

/* Runs tests with an empty classifier, once for each build that this CPU has. */
static inline void for_each_build(void (*const *tests)(void), size_t n)
{
    program = output_program(1);
    for (uint32_t isa = 0; isa < 3; isa++) {
        if (cls_isa_set(isa, false)) {
            printf("this CPU lacks build %u\n", isa);
            continue;
        }
        setup();
        for (size_t i = 0; i < n; i++)
            tests[i]();
        CHECK(!cls_flow_count(cls) && !cls_mask_count(cls));
        teardown();
    }
    act_free(program);
}

#endif
