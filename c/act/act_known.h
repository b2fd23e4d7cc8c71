/* SPDX-License-Identifier: Apache-2.0
 * act_known.h - what is known of a packet at a place in a list of actions, from the flow's key and
 * the actions before: whether an action can be done to every packet that will come there.
 *
 * Nothing rests on it for memory's sake: act_run.c takes any list on any packet.  It is so that a
 * flow that cannot do what it says is refused when it is put, as Linux does, and not found out by
 * its packets.
 *
 * Threads: any; plain values. */
#ifndef UPCALL_ACT_KNOWN_H
#define UPCALL_ACT_KNOWN_H

#include <stdbool.h>
#include <stdint.h>

#include "packet/key.h"

enum act_header { ACT_ETHERNET, ACT_NO_ETHERNET, ACT_EITHER };

struct act_known {
    bool checked;                /* Otherwise nothing is known, and everything allowed. */
    bool sure;                   /* `eth_type` and what follows it are the packet's. */
    uint8_t header;              /* enum act_header. */
    uint8_t proto;               /* Of IP. */
    bool nd;                     /* Neighbour discovery. */
    uint8_t nsh_next;            /* What a service header says of what follows it; 0: unknown. */
    uint16_t eth_type;           /* be16. */
};

/* Of packets with this key, of which what is not matched is zero; NULL: of any. */
struct act_known act_known_of(const struct key *);

/* What each of these needs; NULL: it is there, else why not. */
const char *act_known_set(const struct act_known *, uint32_t attr);
const char *act_known_ethernet(const struct act_known *, bool wanted);
const char *act_known_pop_mpls(const struct act_known *);
const char *act_known_push_nsh(const struct act_known *);
const char *act_known_pop_nsh(const struct act_known *);

/* What is known after them. */
void act_known_push_mpls(struct act_known *, uint16_t eth_type, bool in_front);
void act_known_popped_mpls(struct act_known *, uint16_t eth_type);
void act_known_pushed_nsh(struct act_known *);
void act_known_popped_nsh(struct act_known *);

#endif
