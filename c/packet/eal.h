/* SPDX-License-Identifier: Apache-2.0
 * eal.h - DPDK's environment (EAL), one per process, and the pools of mbufs.
 *
 * EAL cannot be started twice in a process, and all programs in a process share this library: it is
 * started once, counted, and stays.  Its threads float over all allowed cores, so that neither the
 * caller nor what it starts later is pinned.
 *
 * Threads: any. */
#ifndef UPCALL_EAL_H
#define UPCALL_EAL_H

#include <rte_memory.h>
#include <stdbool.h>
#include <stdint.h>

struct rte_mbuf;

#define EAL_FRAME_ROOM 2048  /* Bytes of a frame that one mbuf holds; larger frames are chains. */
#define EAL_LARGE_ROOM 65280u /* Bytes in a large one. */

/* What dp.h says of these four. */
int eal_configure(const char *arguments);
int eal_start(void);
void eal_notice(char *text, uint32_t size);
uint64_t eal_in_use(void);

bool eal_started(void);

/* The pool of all packets of all datapaths; NULL before EAL is started. */
struct rte_mempool *eal_pool(void);

/* The pool for what comes from a NUMA node (SOCKET_ID_ANY: any): that of all packets, or one like
 * it on that node, made when first asked for.  Where there is no memory left, that of all. */
struct rte_mempool *eal_pool_near(int numa);

/* The pool of large buffers (EAL_LARGE_ROOM), in which kinds of ports that receive 64 KiB at once
 * hold the rest of a frame behind its first mbuf; made when first asked for.  NULL: no memory, so
 * frames larger than EAL_FRAME_ROOM cannot be received. */
struct rte_mempool *eal_pool_large(void);

/* A further pool with at least `count` mbufs with `room` bytes for data, for ports that keep many
 * (no memory: NULL); `ops`: mempool operations of the port's own, or NULL; `numa`: the node that
 * its memory is on, or SOCKET_ID_ANY.  Given back by eal_pool_retire(); it goes when its last mbuf
 * has come home. */
struct rte_mempool *eal_pool_make(uint32_t count, uint32_t room, const char *ops, int numa);
/* Why it was NULL, if not for memory: ENOSPC, and error_set(), where there are as many pools as
 * there may be; 0. */
int eal_pools_full(void);
/* Mbufs that each thread may keep by in its cache of a pool. */
#define EAL_POOL_CACHE 256u
void eal_pool_retire(struct rte_mempool *);

#endif
