/* SPDX-License-Identifier: Apache-2.0
 * record.h - a bounded ring of records of one size, which one thread reads at leisure.
 *
 * Threads: record_claim and record_publish by any, without waiting for each other; record_oldest
 * and record_release by one. */
#ifndef UPCALL_RECORD_H
#define UPCALL_RECORD_H

#include <stdint.h>

struct records;

/* `count` is a power of two.  NULL: no memory. */
struct records *records_create(uint32_t count, uint32_t size);
void records_destroy(struct records *);

/* Room for a record, or NULL if the ring is full: the record is lost, and counted.  What is claimed
 * must be published, soon: readers wait for it. */
void *record_claim(struct records *, uint64_t *ticket);
void record_publish(struct records *, uint64_t ticket);

/* The oldest, until it is released; NULL: there is none. */
const void *record_oldest(struct records *);
void record_release(struct records *);
uint64_t records_lost(const struct records *);

#endif
