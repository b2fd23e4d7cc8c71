/* SPDX-License-Identifier: Apache-2.0
 * odp_out.h - attributes being written.
 *
 * Threads: any; no state. */
#ifndef UPCALL_ODP_OUT_H
#define UPCALL_ODP_OUT_H

#include <stdbool.h>
#include <stdint.h>

/* Attributes being written.  Once one did not fit, `full` stays set. */
struct odp_out {
    uint8_t *start;
    uint32_t used, room;
    bool full;
};
/* Appends an attribute and returns its payload, `size` zeroed bytes, or NULL. */
uint8_t *odp_put(struct odp_out *out, unsigned int type, uint32_t size);
void odp_put_bytes(struct odp_out *out, unsigned int type, const void *bytes, uint32_t size);
/* A nest is begun, filled and closed. */
uint32_t odp_nest(struct odp_out *out, unsigned int type);
void odp_nest_end(struct odp_out *out, uint32_t nest);

#endif
