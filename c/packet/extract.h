/* SPDX-License-Identifier: Apache-2.0
 * extract.h - reads the key of a packet from its bytes.
 *
 * The scalar extractor: complete, and the truth that every faster one is compared with.  A field of
 * a layer that fails its checks is zero, and so is everything behind it; the packet still has a
 * key.
 *
 * Threads: any; no state. */
#ifndef UPCALL_EXTRACT_H
#define UPCALL_EXTRACT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "packet/key.h"
#include "packet/pkt.h"

#define EXTRACT_RUNT 14   /* Shorter packets have no key. */

/* Where the layers of a frame start, bytes from its beginning; 0: there is no such layer. */
struct extract_layers {
    uint16_t l3;             /* Behind all VLAN tags. */
    uint16_t l4;
    uint16_t l4_size;        /* Bytes of the frame from l4 on that the IP header vouches for. */
    uint16_t pad;
};

/* Fills all of `key` but the metadata, which is taken from `md` (and, as md->more says, from `pkt`,
 * which may be NULL if it is 0 or PKT_MORE_L3).  `frame` holds `size` >= EXTRACT_RUNT contiguous
 * bytes of a packet of `packet_size` in all (a chain's first segment may be shorter; 256 are enough
 * for every header); with PKT_MORE_L3 any number.  Of the blocks from 1 on, those whose bits are
 * in `blocks` are complete; what is in the others says nothing: few lookups want them, and to
 * clear them takes longer than to read a packet.  `layers` may be NULL. */
void extract_blocks(const uint8_t *frame, uint32_t size, uint32_t packet_size, const struct pkt_md *md, const struct pkt *pkt,
                    uint32_t blocks, struct key *key, struct extract_layers *layers);

/* All blocks. */
static inline void extract_key(const uint8_t *frame, uint32_t size, uint32_t packet_size, const struct pkt_md *md,
                               const struct pkt *pkt, struct key *key, struct extract_layers *layers)
{
    extract_blocks(frame, size, packet_size, md, pkt, KEY_BLOCKS_ALL, key, layers);
}

/* The key of a packet whose struct pkt is complete. */
static inline void extract_packet(struct rte_mbuf *m, struct key *key)
{
    const struct pkt *pkt = pkt_of(m);

    extract_key(rte_pktmbuf_mtod(m, const uint8_t *), m->data_len, m->pkt_len, &pkt->md, pkt, key, NULL);
}

#endif
