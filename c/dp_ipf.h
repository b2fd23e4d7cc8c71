/* SPDX-License-Identifier: Apache-2.0
 * dp_ipf.h - the part of the ABI about fragments; dp.h includes it, and its rules hold here.
 *
 * Threads: any, as dp.h says. */
#ifndef UPCALL_DP_IPF_H
#define UPCALL_DP_IPF_H

#include <stdint.h>

#include "dp_api.h"

/* Of one version of IP; counters of fragments since the datapath was made. */
struct dp_ipf_version {
    uint64_t accepted;
    uint64_t completed;      /* That left as a part of a whole packet. */
    uint64_t expired;        /* The rest did not come in time. */
    uint64_t too_small;      /* Refused: below min_size. */
    uint64_t overlapped;     /* Refused: with one that is there. */
    uint64_t purged;         /* Dropped with the datapath. */
    uint32_t enabled;        /* 0 or 1. */
    uint32_t min_size;       /* Bytes from the IP header on; the last fragment may be smaller. */
};

struct dp_ipf_status {
    struct dp_ipf_version v4;
    struct dp_ipf_version v6;
    uint64_t full;           /* Refused: the maximum was held. */
    uint64_t no_mbuf;        /* Refused: they would hold too many packet buffers. */
    uint64_t bad;            /* Refused: malformed, or of a packet that would be too large. */
    uint32_t held;           /* Now. */
    uint32_t max;
};
DP_API int dp_ipf_get(uint64_t dp, struct dp_ipf_status *status);

#define DP_IPF_ENABLED 0u        /* 0 or 1; plus DP_IPF_V6, as the next. */
#define DP_IPF_MIN_SIZE 2u       /* EPERM below 400. */
#define DP_IPF_MAX 4u            /* EPERM above 5000. */
#define DP_IPF_V6 1u
DP_API int dp_ipf_set(uint64_t dp, uint32_t what, uint32_t value);

/* A packet of which fragments are missing. */
struct dp_ipf_entry {
    uint8_t src[16];         /* IPv4 in the first 4 bytes. */
    uint8_t dst[16];
    uint32_t id;
    uint32_t recirc_id;
    uint16_t zone;
    uint16_t fragments;      /* That are there. */
    uint8_t proto;           /* IPv4 only. */
    uint8_t family;          /* 4 or 6. */
    uint8_t first;           /* 1: the first fragment is there. */
    uint8_t last;
};

/* Packets from position `at` on, 0 at first, as many as fit; `next` is UINT32_MAX at the end. */
DP_API int dp_ipf_dump(uint64_t dp, uint32_t at, uint8_t *entries, uint32_t size, uint32_t *count, uint32_t *next);

#endif
