/* SPDX-License-Identifier: Apache-2.0
 * cores.h - keeps the other threads of the process off the cores that poll threads run on.
 *
 * A poll thread that shares its core with the program's own thread forwards and is fed in time
 * slices: 55 times fewer upcalls were measured.  So all other threads get the rest of the cores
 * while there is a rest, and what they had when the last poll thread is gone.
 *
 * Threads: any. */
#ifndef UPCALL_CORES_H
#define UPCALL_CORES_H

#include <stdbool.h>
#include <stdint.h>

/* The cores that the process may use are those that it may use now: called once, before anything is
 * claimed. */
void cores_init(void);

bool cores_allowed(uint32_t core);
/* Where a poll thread runs if nobody says: the last core that no poll thread of another process of
 * the machine, and of this network namespace, is on; the last one of all where that would leave no
 * core without one. */
uint32_t cores_default(void);
/* Whether a poll thread of another process, of root or of this user, is on a core, as far as this
 * one can tell.  What others pretend does not count. */
bool cores_elsewhere(uint32_t core);
/* That choice among those whose bits are set of `n`, a multiple of 8. */
uint32_t cores_pick(const uint8_t *allowed, uint32_t n, bool (*is_taken)(uint32_t core));
/* How many are allowed. */
uint32_t cores_count(void);
/* The NUMA node of a core; 0 where the machine does not say. */
uint32_t cores_numa(uint32_t core);
/* Those that are allowed, as `0-3,6`; what does not fit is left out. */
void cores_text(char *text, uint32_t size);

/* A poll thread is about to run on a core, or has ended; counted. */
void cores_claim(uint32_t core);
void cores_release(uint32_t core);

#endif
