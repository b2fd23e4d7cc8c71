/* SPDX-License-Identifier: Apache-2.0
 * dp_ct.h - the part of the ABI about connections; dp.h includes it, and its rules hold here.
 *
 * Threads: any, as dp.h says. */
#ifndef UPCALL_DP_CT_H
#define UPCALL_DP_CT_H

#include <stdint.h>

#include "dp_api.h"

#define DP_CT_ALL UINT32_MAX     /* In place of a zone. */
#define DP_CT_DEFAULT 65536u     /* The limit of zones that have none of their own. */
#define DP_CT_TIMEOUTS 16        /* In the order of CT_DPIF_TP_ATTR_*: TCP_SYN_SENT … ICMP_REPLY. */

struct dp_ct_tuple {
    uint8_t src[16];         /* IPv4 in the first 4 bytes. */
    uint8_t dst[16];
    uint8_t sport[2];        /* As in the packet; ICMP: the identifier. */
    uint8_t dport[2];        /* ICMP: type and code. */
    uint16_t zone;
    uint8_t proto;
    uint8_t family;          /* 4 or 6; 0: no tuple. */
};

struct dp_ct_entry {
    struct dp_ct_tuple orig;
    struct dp_ct_tuple reply;
    struct dp_ct_tuple parent; /* Of the connection that it is related to. */
    uint32_t mark;
    uint32_t timeout;        /* Seconds left. */
    uint8_t label[16];       /* Least significant byte first. */
    uint8_t tcp_state[2];    /* Of either side: CT_DPIF_TCPS_*. */
    uint8_t tcp_scale[2];
    uint8_t tcp_flags[2];    /* IP_CT_TCP_FLAG_*. */
    uint8_t pad[2];
    char helper[16];
};

/* Connections from position `at` on, 0 at first, of a zone or DP_CT_ALL, as many as fit.  Looks
 * at a part of the table, so that there may be none before `next` says UINT32_MAX, the end.  One
 * that is there all the time is told exactly once. */
DP_API int dp_ct_dump(uint64_t dp, uint32_t zone, uint32_t at, uint8_t *entries, uint32_t size, uint32_t *count, uint32_t *next);
/* The same of connections that helpers have announced and that may still come: `orig` is their
 * tuple, whose source port is 0 for any, `parent` who announced them, and there is no `reply`.
 * EINVAL: less room than DP_CT_EXPECTED of them need. */
#define DP_CT_EXPECTED 4u
DP_API int dp_ct_expected(uint64_t dp, uint32_t zone, uint32_t at, uint8_t *entries, uint32_t size, uint32_t *count, uint32_t *next);
DP_API int dp_ct_flush(uint64_t dp, uint32_t zone);   /* Forgets those of a zone or DP_CT_ALL. */

/* Which connections; bits of a mask are those that count. */
struct dp_ct_filter {
    struct dp_ct_tuple orig; /* Their zones do not count. */
    struct dp_ct_tuple orig_mask;
    struct dp_ct_tuple reply;
    struct dp_ct_tuple reply_mask;
    uint32_t zone;           /* Or DP_CT_ALL. */
    uint32_t mark;
    uint32_t mark_mask;
    uint32_t pad;
    uint8_t label[16];       /* Least significant byte first. */
    uint8_t label_mask[16];
};
DP_API int dp_ct_flush_where(uint64_t dp, const struct dp_ct_filter *filter); /* None: no error. */
DP_API int dp_ct_flush_tuple(uint64_t dp, const struct dp_ct_tuple *tuple); /* One; ENOENT. */

/* What has become of connections. */
#define DP_CT_EVENT_NEW 1u
#define DP_CT_EVENT_UPDATE 2u    /* State of TCP, first answer, mark or label have changed. */
#define DP_CT_EVENT_DESTROY 3u
#define DP_CT_EVENT_LOST 4u      /* `lost` events are missing here, of whatever zone and kind. */

struct dp_ct_event {
    uint32_t kind;           /* DP_CT_EVENT_*. */
    uint32_t reports;        /* What has changed, in bits of IPCT_*. */
    uint64_t lost;
    struct dp_ct_entry entry; /* As it was then. */
};

/* Watches connections, of a zone or DP_CT_ALL; `kinds` has the bits 1 << DP_CT_EVENT_*.  No event
 * after this call is missed without being counted.  `info` as of dp_port_watch(): the descriptor is
 * readable when there may be events, or the datapath is destroyed.  ENFILE: 16 watches at most. */
struct dp_watch_info;
DP_API int dp_ct_watch(uint64_t dp, uint32_t zone, uint32_t kinds, struct dp_watch_info *info);
/* As many events as fit; with none, the descriptor becomes readable once there is one.  ENODEV: the
 * datapath was destroyed. */
DP_API int dp_ct_watch_read(uint64_t watch, uint8_t *events, uint32_t size, uint32_t *count);
DP_API int dp_ct_watch_close(uint64_t watch);

#define DP_CT_COUNT 0u           /* Connections; to read only. */
#define DP_CT_MAX 1u
#define DP_CT_TCP_SEQ_CHECK 2u   /* 0 or 1. */
#define DP_CT_SWEEP_MS 3u
#define DP_CT_COUNTER 16u        /* The first of the counters, which can be read only (EINVAL). */
DP_API int dp_ct_get(uint64_t dp, uint32_t what, uint64_t *value);
DP_API int dp_ct_set(uint64_t dp, uint32_t what, uint32_t value);
DP_API int dp_ct_counter_name(uint32_t counter, char *text, uint32_t size); /* From 0; ENOENT. */

struct dp_ct_limit {
    uint32_t zone;           /* Or DP_CT_DEFAULT. */
    uint32_t limit;
    uint32_t count;
    uint32_t pad;
};
DP_API int dp_ct_limit_set(uint64_t dp, uint32_t zone, uint32_t limit);
DP_API int dp_ct_limit_delete(uint64_t dp, uint32_t zone);
/* The limit of the smallest zone >= `zone` that has one, DP_CT_DEFAULT last; ENOENT. */
DP_API int dp_ct_limit_next(uint64_t dp, uint32_t zone, struct dp_ct_limit *limit);

struct dp_ct_policy {
    uint32_t id;             /* Not 0. */
    uint32_t seconds[DP_CT_TIMEOUTS];
};
DP_API int dp_ct_policy_set(uint64_t dp, const struct dp_ct_policy *policy); /* Replaces one. */
/* ENOENT; 0 are the defaults. */
DP_API int dp_ct_policy_get(uint64_t dp, uint32_t id, struct dp_ct_policy *policy);
DP_API int dp_ct_policy_delete(uint64_t dp, uint32_t id);
DP_API int dp_ct_policy_next(uint64_t dp, uint32_t id, uint32_t *next); /* Above `id`; ENOENT. */

#endif
