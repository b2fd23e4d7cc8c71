/* SPDX-License-Identifier: Apache-2.0
 * dp.h - the ABI: everything that TypeScript may call, and nothing else.
 *
 * Flat, fixed-width, versioned.  `ffi/layout.ts` and `ffi/libdatapath.ts` follow this file; a test
 * compares them, and the layout is checked again when the library is opened.
 *
 * Rules.  A function returns 0 or a positive errno; results go to a buffer of the caller.  Handles
 * are numbers that are never reused: a stale one is EBADF, never a crash.  No pointer into a
 * caller's buffer is kept after the call returns.  Text in is NUL-terminated, text out is cut to
 * its buffer and NUL-terminated.
 *
 * Threads: any thread may call any function; a datapath's control mutex puts calls in order.
 * Functions marked "waits" may block for devices or threads and take only integers, so that they
 * can be called as nonblocking FFI symbols; all others return in microseconds.  Poll threads never
 * call these. */
#ifndef UPCALL_DP_H
#define UPCALL_DP_H

#include <stdint.h>

#include "dp_api.h"

#define DP_ABI_VERSION 1

#define DP_NAME_SIZE 64      /* Name of a datapath, port or type, with its NUL. */
#define DP_TEXT_SIZE 1024    /* Options and messages. */
#define DP_DROP_MAX 64       /* Room for drop reasons in struct dp_stats. */
#define DP_PORT_NONE 0xffffffffu

/* --- Process ---------------------------------------------------------------------------------- */

DP_API uint32_t dp_abi_version(void);

/* Writes one line per struct and field: `struct NAME SIZE` and `field STRUCT NAME OFFSET WIDTH`. */
DP_API int dp_abi_layout(char *text, uint32_t size);

/* Why this thread's last call failed, and what to do: the reason only, because the caller knows
 * what it called.  Empty if it did not fail. */
DP_API int dp_error_text(char *text, uint32_t size);

/* The same of a call marked "waits", which ran on another thread: the newest that failed about this
 * handle and, for dp_port_delete(), this port; DP_ABOUT_ALL for other calls.  dp_eal_start() is
 * about handle 0.  Each is answered once; the last 128 are kept.  Empty if there is none. */
#define DP_ABOUT_ALL 4294967295u
DP_API int dp_waited_text(uint64_t handle, uint32_t about, char *text, uint32_t size);

/* An isolate says which it is, by a random number, before its first other call.  A thread runs one
 * isolate at a time: what an earlier one of the same thread has left open, as `deno run --watch`
 * does, is closed. */
DP_API int dp_isolate_begin(uint64_t isolate);

/* Arguments for EAL, separated by '\n', used by the first dp_eal_start(); empty: chosen for this
 * machine. */
DP_API int dp_eal_configure(const char *arguments);

/* Starts EAL once per process; later calls only count.  Waits (150-250 ms the first time). */
DP_API int dp_eal_start(void);

/* What was chosen at start (hugepages or not, fallbacks), for a notice to people. */
DP_API int dp_eal_notice(char *text, uint32_t size);

/* mbufs of all pools that are not in them.  Returns to its baseline when nothing is under way. */
DP_API int dp_mbufs_in_use(uint64_t *count);

/* Stops every poll thread and port of the process; runs by itself at exit.  Waits. */
DP_API int dp_shutdown(void);

/* Key bytes (OVS_KEY_ATTR_*) of a frame as the datapath sees it: the scalar extractor, for tests
 * and tools. */
DP_API int dp_extract(const uint8_t *frame, uint32_t frame_size, uint32_t in_port, uint8_t *key, uint32_t key_size,
                      uint32_t *key_used);

/* Which build of the hot units runs: 0 scalar, 1 AVX2, 2 AVX-512; `set` answers EOPNOTSUPP where
 * the CPU lacks it.  Validate != 0: every burst is looked up by every build that the CPU has, and
 * differences are counted (dp_stats.validator_mismatches). */
DP_API int dp_isa_get(uint32_t *isa);
DP_API int dp_isa_set(uint32_t isa, uint32_t validate);

/* --- Datapaths -------------------------------------------------------------------------------- */

#define DP_CREATE 1u     /* Make it if there is none. */
#define DP_EXCLUSIVE 2u  /* With DP_CREATE: EEXIST if there is one. */

/* Opens a datapath of this process.  The local port, number 0, is made by the caller
 * (dp_port_*). */
DP_API int dp_open(const char *name, uint32_t flags, uint64_t *dp);

/* Drops a reference; with the last one the datapath goes.  Waits. */
DP_API int dp_close(uint64_t dp);

/* Removes the datapath, even if others have it open: stops its threads, closes its ports, wakes its
 * waiters.  Waits. */
DP_API int dp_destroy(uint64_t dp);

/* Names of the datapaths of this process, one a line. */
DP_API int dp_enumerate(char *text, uint32_t size);

/* One `key=value` a line: see dp_config.c for the keys. */
DP_API int dp_set_config(uint64_t dp, const char *config);

struct dp_stats {
    /* Packets taken from ports and injected; = hit + missed + lost + early drops. */
    uint64_t received;
    uint64_t hit;           /* Lookups that found a flow (a recirculated packet counts again). */
    uint64_t missed;        /* Lookups that found none and were handed up. */
    /* Upcalls, of misses and actions, that did not fit or had no handler. */
    uint64_t lost;
    uint64_t upcalls_handled; /* Upcalls that a handler took. */
    uint64_t upcalls_purged;  /* Upcalls thrown away by purge or close. */
    uint64_t recirculated;
    uint64_t mask_hit;      /* Masks probed, all lookups. */
    uint64_t validator_mismatches;
    uint32_t flows;
    uint32_t masks;
    uint32_t drop_count;    /* Reasons in use below. */
    uint32_t pad;
    uint64_t drops[DP_DROP_MAX]; /* By reason: dp_drop_name(). */
};
DP_API int dp_stats_get(uint64_t dp, struct dp_stats *stats);
DP_API int dp_drop_name(uint32_t reason, char *text, uint32_t size);

/* --- Ports ------------------------------------------------------------------------------------ */

struct dp_port_request {
    uint32_t no;             /* DP_PORT_NONE: the lowest free one from 1. */
    uint32_t pad;
    char name[DP_NAME_SIZE];
    /* dummy null ring patch pcap tap internal system afxdp dpdk memif vhost-user … */
    char type[DP_NAME_SIZE];
    char options[DP_TEXT_SIZE]; /* One `key=value` a line. */
};

#define DP_DUPLEX_HALF 1u
#define DP_DUPLEX_FULL 2u

struct dp_port_info {
    uint32_t no;
    uint32_t rxq_count;
    uint32_t txq_count;
    /* Largest frame that can be sent whole, bytes without the Ethernet header. */
    uint32_t mtu;
    uint32_t link_up;
    /* 1: its device is not there; should one of the same name come, it is taken up. */
    uint32_t gone;
    uint32_t link_speed;     /* Mbit/s; 0: unknown. */
    uint32_t link_duplex;    /* DP_DUPLEX_*; 0: unknown. */
    uint8_t mac[6];
    uint8_t pad[2];
    char name[DP_NAME_SIZE];
    char type[DP_NAME_SIZE];
    char options[DP_TEXT_SIZE];
    char device[DP_NAME_SIZE]; /* What its Linux device is called now; empty: it has none. */
};

struct dp_port_stats {
    uint64_t rx_packets, tx_packets, rx_bytes, tx_bytes;
    uint64_t rx_errors, tx_errors, rx_dropped, tx_dropped;
    uint64_t rx_no_mbuf;     /* Receives that failed because the pool was empty. */
    uint64_t device_lost;    /* How often its device, or its peer, went away. */
};

/* A counter of a device, by its driver's name for it. */
struct dp_port_counter {
    char name[DP_NAME_SIZE];
    uint64_t value;
};

/* Adding a port takes three calls, because only the middle one waits: stage it, add it, fetch what
 * came of it. */
DP_API int dp_port_stage(uint64_t dp, const struct dp_port_request *request, uint64_t *job);
DP_API int dp_port_add(uint64_t job); /* Waits. */
/* Answers what adding came to, ECANCELED if it was not run; frees the job. */
DP_API int dp_port_result(uint64_t job, struct dp_port_info *port, char *error, uint32_t error_size);

DP_API int dp_port_delete(uint64_t dp, uint32_t no); /* Waits. */
DP_API int dp_port_set_config(uint64_t dp, uint32_t no, const char *config);
DP_API int dp_port_find(uint64_t dp, const char *name, struct dp_port_info *port);
/* The port with the smallest number >= `no`; ENODEV if there is none. */
DP_API int dp_port_next(uint64_t dp, uint32_t no, struct dp_port_info *port);
DP_API int dp_port_stats_get(uint64_t dp, uint32_t no, struct dp_port_stats *stats);
/* What the driver counts, to memory of `room` counters, which stays where it is; a name that is
 * empty is the end.  EOPNOTSUPP: the port has no such counters.  ERANGE: `room` is too small.
 * Waits. */
DP_API int dp_port_counters(uint64_t dp, uint32_t no, uint64_t memory, uint32_t room);

/* Counts changes of the set of ports. */
DP_API int dp_port_sequence(uint64_t dp, uint64_t *sequence);

/* A descriptor that becomes readable when the set of ports changes, or the datapath is destroyed;
 * closed with the watch. */
struct dp_watch_info {
    uint64_t watch;
    int32_t descriptor;
    uint32_t pad;
};
DP_API int dp_port_watch(uint64_t dp, struct dp_watch_info *info);
/* The sequence now; the descriptor is readable again once it is another.  ENODEV: the datapath was
 * destroyed. */
DP_API int dp_port_watch_read(uint64_t watch, uint64_t *sequence);
DP_API int dp_port_watch_close(uint64_t watch);

/* Ports of type dummy: frames in, as if received (ENOBUFS: the queue or pool is full), and frames
 * out, the oldest first (ENOENT: none). */
DP_API int dp_dummy_inject(uint64_t dp, uint32_t no, const uint8_t *frame, uint32_t size);
DP_API int dp_dummy_collect(uint64_t dp, uint32_t no, uint8_t *frame, uint32_t size, uint32_t *used);

/* --- Flows ------------------------------------------------------------------------------------ */

#define DP_OP_PUT 1u
#define DP_OP_DELETE 2u
#define DP_OP_GET 3u
#define DP_OP_EXECUTE 4u

#define DP_OPF_CREATE 1u
#define DP_OPF_MODIFY 2u      /* Alone, with UFID and without a key: the flow of that name. */
#define DP_OPF_ZERO_STATS 4u
#define DP_OPF_PROBE 8u
#define DP_OPF_UFID 16u       /* `ufid` is set. */
#define DP_OPF_MASK 32u       /* A mask is given, even if empty; without it: exact. */
#define DP_OPF_WANT_STATS 64u
/* The key is that of the operation before in the batch, which has one; `key_size` is 0. */
#define DP_OPF_SAME_KEY 128u
#define DP_OPF_SAME_MASK 256u /* Likewise the mask, of the last put. */
/* PUT: the packet is executed with the same actions, even if the put fails; `error` is that of the
 * put if both fail. */
#define DP_OPF_PACKET 512u
/* Key and packet are those of an upcall in the arena, at byte `upcall`; sizes of both are 0.
 * dp_upcall_exchange() only. */
#define DP_OPF_UPCALL 1024u
/* DELETE: `stats` are the last ones.  Poll threads that still count for the flow are waited for
 * behind the batch, for 100 ms at most; without it `stats` are those at the time of deletion. */
#define DP_OPF_FINAL_STATS 2048u
/* PUT: one put for each of `upcall` upcalls, one at least, as with DP_OPF_UPCALL; where they lie
 * follows the actions, each as uint32_t.  The result says nothing, and behind it is the error of
 * each, as uint32_t, without a text.  Both lists are padded to 8 bytes. */
#define DP_OPF_UPCALLS 4096u

/* One operation of a batch: this header, then key, mask, actions and packet, each padded to 8
 * bytes.  `size` is all of it. */
struct dp_op {
    uint32_t size;
    uint32_t type;           /* DP_OP_*. */
    uint32_t flags;          /* DP_OPF_*. */
    uint32_t key_size;
    uint32_t mask_size;
    uint32_t actions_size;
    uint32_t packet_size;
    uint32_t upcall;         /* With DP_OPF_UPCALL and DP_OPF_UPCALLS. */
    uint64_t hash;
    uint8_t ufid[16];
};

struct dp_flow_stats {
    uint64_t packets;
    uint64_t bytes;
    uint64_t used_ms;        /* CLOCK_MONOTONIC; 0: never. */
    uint32_t tcp_flags;
    uint32_t pad;
};

/* One result: this header, then, for GET, key, mask and actions, each padded to 8 bytes.  `size` is
 * all of it.  `ufid` names the flow that was put or got, or, with EEXIST, the one in its way. */
struct dp_result {
    uint32_t size;
    uint32_t error;          /* 0 or errno. */
    uint32_t key_size;
    uint32_t mask_size;
    uint32_t actions_size;
    uint32_t pad;
    uint8_t ufid[16];
    struct dp_flow_stats stats;
};

/* Runs `count` operations in order.  A result that does not fit its buffer is answered with ENOBUFS
 * in its `error`; the buffer must hold `count` headers and the errors of lists at least, aligned to
 * 8 bytes (EINVAL). */
DP_API int dp_operate(uint64_t dp, const uint8_t *ops, uint32_t ops_size, uint32_t count, uint8_t *results,
                      uint32_t results_size, uint32_t *results_used);

DP_API int dp_flow_flush(uint64_t dp);

/* One flow of a dump: this header, then key, mask and actions, each padded to 8 bytes. */
struct dp_flow_record {
    uint32_t size;
    uint32_t key_size;
    uint32_t mask_size;
    uint32_t actions_size;
    uint8_t ufid[16];
    struct dp_flow_stats stats;
    uint32_t flow;           /* Index in the table. */
    uint32_t simple;         /* 1: its only action is one output. */
};

#define DP_DUMP_TERSE 1u
DP_API int dp_dump_open(uint64_t dp, uint32_t flags, uint64_t *dump);
/* As many flows as fit, `max` at most; 0 flows: the end. */
DP_API int dp_dump_next(uint64_t dump, uint32_t max, uint8_t *records, uint32_t size, uint32_t *count, uint32_t *used);
DP_API int dp_dump_close(uint64_t dump);

/* --- Upcalls ---------------------------------------------------------------------------------- */

DP_API int dp_upcall_set_handlers(uint64_t dp, uint32_t count);
DP_API int dp_upcall_enable(uint64_t dp, uint32_t enable);
DP_API int dp_upcall_purge(uint64_t dp);

/* A handler: its ring, and an arena owned by C that exchange writes upcalls to. */
struct dp_handler_info {
    uint64_t handler;
    /* Address; mapped once by the caller, valid until dp_upcall_close(). */
    uint64_t arena;
    uint64_t arena_size;
    /* A descriptor: readable when upcalls wait, once dp_upcall_arm() was called, and when the
     * handler is closed for its owner.  Closed with the handler. */
    int32_t doorbell;
    uint32_t pad;
};
DP_API int dp_upcall_open(uint64_t dp, uint32_t id, struct dp_handler_info *info);

#define DP_UPCALL_MISS 0u
#define DP_UPCALL_ACTION 1u
#define DP_UPCALLF_USERDATA 1u   /* The action has userdata, if only of size 0. */
#define DP_UPCALLF_ACTIONS 2u    /* The actions are given. */

/* One upcall in the arena: this header, then key, userdata, actions and packet, each padded to 8
 * bytes. */
struct dp_upcall {
    uint32_t size;
    uint32_t kind;           /* DP_UPCALL_*. */
    uint32_t key_size;
    uint32_t userdata_size;
    uint32_t actions_size;
    uint32_t packet_size;
    uint32_t original_size;  /* Before truncation. */
    uint32_t flags;          /* DP_UPCALLF_*. */
    uint64_t hash;           /* As the device gave it; 0: it gave none. */
    uint32_t in_port;        /* As in the key; DP_PORT_NONE: none. */
    /* Keys of which this is the same have the same attributes at the same places; 0: who knows. */
    uint32_t layout;
};

struct dp_exchange {
    uint32_t count;          /* Upcalls now in the arena. */
    uint32_t used;           /* Bytes of the arena that they take. */
    uint32_t results_used;
    uint32_t more;           /* Further upcalls wait. */
    uint64_t lost;           /* Of this handler so far. */
};

/* Runs the operations (as dp_operate; they may be about upcalls of the exchange before that took
 * any), then takes up to `max` (256 at most) upcalls.  ESHUTDOWN: closed; nothing ran if 0. */
DP_API int dp_upcall_exchange(uint64_t handler, const uint8_t *ops, uint32_t ops_size, uint32_t ops_count, uint8_t *results,
                              uint32_t results_size, uint32_t max, struct dp_exchange *exchange);

/* Asks for the doorbell; answers EAGAIN if an upcall waits already, then do not wait.  ESHUTDOWN:
 * the handler was closed for its owner. */
DP_API int dp_upcall_arm(uint64_t handler);
DP_API int dp_upcall_close(uint64_t handler);

/* A miss decided on the poll thread itself: dpif's register_upcall_cb.  Returns 0 to run `actions`
 * and put a flow with `mask`, ENOSPC to run them only, anything else to drop.  It must not block
 * and must return quickly. */
struct dp_direct_upcall {
    const uint8_t *key;      /* OVS_KEY_ATTR_*. */
    const uint8_t *packet;
    uint32_t key_size;
    uint32_t packet_size;
    uint8_t *mask;           /* To be filled: OVS_KEY_ATTR_*. */
    uint8_t *actions;        /* To be filled: OVS_ACTION_ATTR_*. */
    uint32_t mask_size;      /* Room in, use out. */
    uint32_t actions_size;   /* Room in, use out. */
};
typedef int (*dp_direct_upcall_fn)(struct dp_direct_upcall *, void *aux);
/* `function` 0: back to handlers. */
DP_API int dp_upcall_direct(uint64_t dp, uint64_t function, uint64_t aux);

/* --- Poll threads ----------------------------------------------------------------------------- */

#define DP_POLL_SLEEP_US 50        /* Longest nap unless another is asked for. */
#define DP_POLL_SLEEP_MAX_US 10000 /* Longest nap that may be asked for. */

#define DP_CORES 1024              /* Cores have numbers below this. */

/* Chooses any cores for the next dp_poll_threads_set() by this handle, whose two words then count
 * for nothing: bit i % 8 of byte i / 8 is core i.  EINVAL: not below DP_CORES. */
DP_API int dp_poll_threads_choose(uint64_t dp, const uint8_t *cores, uint32_t size);

/* Runs poll threads on exactly these cores (bits of two words); 0, 0: one, on the last free core.
 * Receive queues are spread over them.  `max_sleep_us`: longest nap of an idle one, 0 never sleeps,
 * DP_POLL_SLEEP_MAX_US at most (ERANGE); one that has long been idle sleeps until a port wakes it,
 * or for a nap if it has ports that cannot.  Waits. */
DP_API int dp_poll_threads_set(uint64_t dp, uint64_t cores_low, uint64_t cores_high, uint32_t max_sleep_us);

/* Deals the receive queues out anew, by load, pins and settings.  Waits. */
DP_API int dp_poll_threads_rebalance(uint64_t dp);

struct dp_poll_thread_info {
    uint32_t core;
    uint32_t rxq_count;
    uint32_t isolated;       /* 1: queues are pinned to it, and it takes no others. */
    uint32_t numa;
    uint64_t cycles_busy, cycles_idle, cycles_sleep;
    uint64_t packets, hit, missed, lost, recirculated, mask_hit;
    uint64_t rx_batches, tx_packets, tx_batches, iterations, iterations_busy, sleeps;
    uint64_t woken;          /* Sleeps that packets ended. */
    uint64_t cycles_upcall;  /* Handing up, while that is recorded (dp_perf.h). */
    uint32_t max_sleep_us;
    uint32_t pad;
};
/* The poll thread on the smallest core >= `core`; ENOENT if there is none. */
DP_API int dp_poll_thread_next(uint64_t dp, uint32_t core, struct dp_poll_thread_info *info);

struct dp_rxq_info {
    uint32_t port;
    uint32_t queue;
    uint32_t core;           /* UINT32_MAX: nobody polls it. */
    uint32_t pin;            /* The core that it is pinned to; UINT32_MAX: none. */
    uint64_t packets;
    uint64_t cycles;         /* That its packets took. */
};
/* The `index`-th receive queue, from 0; ENOENT past the last. */
DP_API int dp_rxq_get(uint64_t dp, uint32_t index, struct dp_rxq_info *info);

#include "dp_ct.h"
#include "dp_ipf.h"
#include "dp_meter.h"
#include "dp_ports.h"
#include "dp_tnl.h"
#include "dp_perf.h"

#endif
