/* SPDX-License-Identifier: Apache-2.0
 * odp_int.h - what the odp_*.c units share: sets of attributes, and the readers and writers of
 * parts of a key.
 *
 * Threads: any; no state. */
#ifndef UPCALL_ODP_INT_H
#define UPCALL_ODP_INT_H

#include "odp/odp_attr.h"
#include "odp/odp_out.h"

/* The attributes of one level of a key or mask, by id. */
struct odp_set {
    uint64_t present;        /* Bits by id ... */
    uint64_t expected;       /* ... and of those that the reader had a use for. */
    struct odp_attr attrs[ODP_KEY_LAST + 1];
};

/* Collects them: sizes are right, none comes twice, none is unknown. */
int odp_collect(const uint8_t *attrs, uint32_t size, struct odp_set *set, const char **why);

static inline bool odp_has(const struct odp_set *set, unsigned int type)
{
    return set->present >> type & 1;
}

/* The payload of an attribute if it is present; marks it as used. */
static inline const uint8_t *odp_take(struct odp_set *set, unsigned int type)
{
    if (!odp_has(set, type))
        return NULL;
    set->expected |= 1ull << type;
    return set->attrs[type].at;
}

/* The same into `to`, which stays as it is if there is none. */
static inline bool odp_take_into(struct odp_set *set, unsigned int type, void *to, uint32_t size)
{
    const uint8_t *at = odp_take(set, type);

    if (at)
        memcpy(to, at, size);
    return at;
}

/* The readers work on keys (`of` == NULL) and on masks of the key `of`. */
int odp_read_metadata(struct odp_set *set, const struct key *of, struct key *to, const char **why);
/* `options` has KEY_OPTIONS bytes of 0. */
int odp_read_tunnel(const struct odp_attr *nest, bool is_mask, struct key_tunnel *to, uint8_t *options, const char **why);
int odp_read_l3(struct odp_set *set, bool type_exact, const struct key *of, struct key *to, const char **why);
/* `present` as it was at the outermost level: an original tuple is of the packet's IP version. */
int odp_check_tuples(uint64_t present, uint16_t eth_type, const char **why);
int odp_read_unused(const struct odp_set *set, const char **why);

/* Reads what odp_plain_write() writes into a key of zeros; false: it is something else. */
bool odp_plain_read(const uint8_t *attrs, uint32_t size, struct key *key);

void odp_write_tunnel(struct odp_out *out, const struct key *data, const struct key *key);

#endif
