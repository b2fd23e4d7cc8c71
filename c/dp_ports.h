/* SPDX-License-Identifier: Apache-2.0
 * dp_ports.h - the part of the ABI about ports together: bonds, and packets that they or the
 * datapath drop; dp.h includes it, and its rules hold here.
 *
 * Threads: any, as dp.h says. */
#ifndef UPCALL_DP_PORTS_H
#define UPCALL_DP_PORTS_H

#include <stdint.h>

#include "dp_api.h"

#define DP_BOND_BUCKETS 256

/* Buckets of a bond: the low 8 bits of a packet's hash are one. */
struct dp_bond {
    uint32_t ports[DP_BOND_BUCKETS];
    uint64_t bytes[DP_BOND_BUCKETS]; /* Sent since the port was set; dp_bond_add() ignores it. */
};

/* Makes a bond, or sets its ports: buckets whose port stays go on counting. */
DP_API int dp_bond_add(uint64_t dp, uint32_t id, const struct dp_bond *bond);
DP_API int dp_bond_delete(uint64_t dp, uint32_t id);                   /* ENOENT. */
DP_API int dp_bond_get(uint64_t dp, uint32_t id, struct dp_bond *bond); /* ENOENT. */
/* The smallest id >= `id` of a bond.  ENOENT. */
DP_API int dp_bond_next(uint64_t dp, uint32_t id, uint32_t *next);

/* --- Dropped packets -------------------------------------------------------------------------- */

/* A packet that was dropped, and its first bytes. */
#define DP_DROPPED_BYTES 2016u
#define DP_DROPPED_MAX 1024u      /* Kept until they are read. */
struct dp_dropped {
    uint64_t ns;             /* Since 1970. */
    uint32_t reason;         /* dp_drop_name(). */
    uint32_t in_port;        /* DP_PORT_NONE: not known any more. */
    uint32_t out_port;       /* The port that would not take it; DP_PORT_NONE. */
    uint32_t size;
    uint32_t kept;           /* Bytes in `bytes`. */
    uint32_t pad;
    uint8_t bytes[2016];
};
/* The datapath keeps copies of what it drops, DP_DROPPED_MAX at most, until they are read or this
 * handle is closed.  EBUSY: somebody looks at them already, by this handle or another. */
DP_API int dp_drops_watch(uint64_t dp);
/* The oldest; ENOENT: none.  `lost` are those that found no room. */
DP_API int dp_drops_read(uint64_t dp, struct dp_dropped *dropped, uint64_t *lost);
DP_API int dp_drops_unwatch(uint64_t dp);

/* --- Sampled packets -------------------------------------------------------------------------- */

/* A packet that came to a psample action, and its first bytes. */
#define DP_SAMPLE_BYTES 2000u
#define DP_SAMPLE_COOKIE 16u
#define DP_SAMPLES_MAX 1024u      /* Kept until they are read. */
struct dp_sample {
    uint64_t ns;             /* Since 1970. */
    uint32_t group;
    /* Of the sample action that psample stands in, out of 2^32 - 1; all of them if in none. */
    uint32_t probability;
    uint32_t in_port;
    uint32_t size;
    uint32_t kept;           /* Bytes in `bytes`: a trunc before it leaves fewer. */
    uint32_t cookie_size;    /* 0: none. */
    uint8_t cookie[16];
    uint8_t bytes[2000];
};
/* As dp_drops_watch() and the others. */
DP_API int dp_samples_watch(uint64_t dp);
DP_API int dp_samples_read(uint64_t dp, struct dp_sample *sample, uint64_t *lost);
DP_API int dp_samples_unwatch(uint64_t dp);

#endif
