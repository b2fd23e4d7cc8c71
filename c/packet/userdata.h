/* SPDX-License-Identifier: Apache-2.0
 * userdata.h - what a userspace action sends along with its packets.
 *
 * Counted: the program that has the action owns one reference, each upcall under way another.
 *
 * Threads: any. */
#ifndef UPCALL_USERDATA_H
#define UPCALL_USERDATA_H

#include <stdint.h>

/* A list of actions that several of its userspace actions send along: one copy for all, counted by
 * struct userdata. */
struct userdata_actions {
    _Atomic uint32_t references;
    uint32_t size;
    uint8_t bytes[];
};

struct userdata {
    _Atomic uint32_t references;
    uint32_t given;          /* The action has userdata, if only of size 0. */
    uint32_t size;
    struct userdata_actions *actions; /* If the action asks for them; else NULL. */
    uint8_t bytes[];
};

void userdata_actions_free(struct userdata_actions *); /* Drops one reference; NULL is allowed. */

void userdata_free(struct userdata *); /* Drops one reference; NULL is allowed. */

#endif
