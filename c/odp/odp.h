/* SPDX-License-Identifier: Apache-2.0
 * odp.h - ODP attributes (<linux/openvswitch.h>) to keys and masks and back.  Bounds are checked
 * once, here.
 *
 * Accepts what Open vSwitch's userspace datapath accepts and refuses the rest with EINVAL: unknown
 * attributes, wrong sizes, duplicates, missing prerequisites (IPV4 under 0x0800, TCP under proto 6,
 * exact eth_type under any L3 field, exact proto under any L4 field …), in_port not exact.  Besides
 * the kernel's attributes: PACKET_TYPE 29, ND_EXTENSIONS 30.  Actions are compiled by act.h.
 *
 * Threads: any; no state. */
#ifndef UPCALL_ODP_H
#define UPCALL_ODP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "packet/key.h"

#define ODP_KEY_MAX 1024     /* Bytes that odp_key_write needs at most. */

/* A key.  0 or EINVAL; on EINVAL `*why` is a short static text. */
int odp_key_read(const uint8_t *attrs, uint32_t size, struct key *key, const char **why);
/* The mask of `key`: exact on every field of the key's attributes when `attrs` is NULL. Adds what
 * is always matched (key.h). */
int odp_mask_read(const uint8_t *attrs, uint32_t size, const struct key *key, struct key *mask, const char **why);
/* Whether the same attributes, as a mask, mean the same for both keys.  Says false where only
 * reading tells. */
bool odp_mask_alike(const struct key *, const struct key *);
/* Metadata only, for execute: missing attributes are zero, headers are ignored; the packet has no
 * Ethernet header if a packet_type says so. */
struct pkt;
/* The same of a key that was read; `pkt` is zeros. */
void odp_md_of(const struct key *, struct pkt *);
int odp_md_read(const uint8_t *attrs, uint32_t size, struct pkt *pkt, const char **why);

/* The nest of a tunnel key, to be set: an option's bytes go to `options`, which has KEY_OPTIONS.
 * Both are zeros. */
int odp_tunnel_read(const uint8_t *nest, uint32_t size, struct key_tunnel *, uint8_t *options, const char **why);

/* The attributes of a key, in the order of Open vSwitch's userspace; returns bytes written, 0 if
 * they do not fit. */
uint32_t odp_key_write(const struct key *key, uint8_t *attrs, uint32_t room);
/* The same, but 0 for all but the most frequent keys (odp_plain.c).  Those of one size have the
 * same attributes at the same places; and what is read of them is the key's first block and its
 * `skb_priority`, and else zeros. */
uint32_t odp_plain_write(const struct key *key, uint8_t *attrs, uint32_t room);
/* The attributes of a mask, for a flow with `key` (which says which attributes there are). */
uint32_t odp_mask_write(const struct key *mask, const struct key *key, uint8_t *attrs, uint32_t room);

#endif
