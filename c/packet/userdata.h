/* SPDX-License-Identifier: Apache-2.0
 * userdata.h - what a userspace action sends along with its packets.
 *
 * Counted: the program that has the action owns one reference, each upcall under way another.
 *
 * Threads: any. */
#ifndef UPCALL_USERDATA_H
#define UPCALL_USERDATA_H

#include <stdint.h>

struct userdata {
    _Atomic uint32_t references;
    uint32_t given;          /* The action has userdata, if only of size 0. */
    uint32_t size;           /* Of the userdata, which `bytes` begins with. */
    uint32_t actions_size;   /* Of the actions that follow it, if the action asks for them. */
    uint8_t bytes[];
};

void userdata_free(struct userdata *); /* Drops one reference; NULL is allowed. */

#endif
