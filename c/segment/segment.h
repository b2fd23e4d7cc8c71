/* SPDX-License-Identifier: Apache-2.0
 * segment.h - cuts TCP and UDP that Linux handed over in one piece (partial.h) into packets, as
 * Linux does in software: each gets all headers, encapsulations included, with lengths,
 * identifications, sequence numbers and checksums that are true for it.
 *
 * Threads: any; no state. */
#ifndef UPCALL_SEGMENT_H
#define UPCALL_SEGMENT_H

#include <stdbool.h>
#include <stdint.h>

#include "packet/partial.h"

/* Segments of one packet.  Linux makes packets of 64 KiB at most, and segments of 88 bytes at
 * least. But any sender on a veth or tap can ask for 65,000 segments of a byte each. */
#define SEGMENT_MOST 1024u
#define SEGMENT_LAYERS 12u

enum segment_layer { SEGMENT_IP4, SEGMENT_IP6, SEGMENT_UDP, SEGMENT_PPPOE, SEGMENT_GRE };

struct segment_plan {
    struct partial partial;
    uint32_t end;                /* Of the payload. */
    uint32_t size;               /* Of it in a segment. */
    uint32_t count;
    uint32_t l3;                 /* Behind the Ethernet header and its tags. */
    /* Headers that know their length or have a checksum, from the outermost on, without the
     * transport header. */
    uint32_t n;
    struct {
        uint16_t at;
        uint16_t kind;
    } layers[SEGMENT_LAYERS];
    bool udp;                    /* Transport. */
    /* The field holds the sum of a pseudo-header, and not a complete checksum. */
    bool counted;
    bool keep;                   /* Parts still ask for what the packet asked for. */
};

enum segment_answer { SEGMENT_CAN, SEGMENT_CANNOT, SEGMENT_TOO_MANY };

/* How to cut a packet whose network layer may have `mtu` bytes.  A packet that asks for nothing is
 * cut if it is TCP: as large as may be. */
enum segment_answer segment_plan(const struct rte_mbuf *, uint32_t mtu, struct segment_plan *);

/* The segment number `index`.  NULL: no mbuf. */
struct rte_mbuf *segment_cut(const struct rte_mbuf *, const struct segment_plan *, uint32_t index);

/* Linux makes segments of up to 512 KiB (BIG TCP), whose IP headers cannot say how long they are.
 * They are split into parts that can, of segments as before, with what was left undone still to be
 * done. */
#define SEGMENT_PART_ROOM 65280u /* Bytes of payload in a part, at most. */
#define SEGMENT_PARTS 17u

/* How to split such a packet; takes the option out that says how long it is (RFC 2675).  False: it
 * cannot be, and may have lost the option. */
bool segment_split_plan(struct rte_mbuf *, struct segment_plan *);

/* The part number `index` into two empty mbufs, of which the second has SEGMENT_PART_ROOM, and
 * becomes the first one's. */
void segment_split(const struct rte_mbuf *, const struct segment_plan *, uint32_t index, struct rte_mbuf *first, struct rte_mbuf *rest);

/* Whether a packet that is to be cut has headers that a kernel which cuts it would understand from
 * a virtio-net header: no encapsulation. */
bool segment_is_plain(const struct rte_mbuf *);

#endif
