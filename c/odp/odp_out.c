/* SPDX-License-Identifier: Apache-2.0 */
#include "odp/odp_out.h"

#include <string.h>

#include "base/invariant.h"

uint8_t *odp_put(struct odp_out *out, unsigned int type, uint32_t size)
{
    uint32_t padded = (4 + size + 3) & ~3u;
    uint16_t head[2] = { (uint16_t)(4 + size), (uint16_t)type };
    uint8_t *at = out->start + out->used;

    INVARIANT(out->used <= out->room);
    if (out->full || padded > out->room - out->used) {
        out->full = true;
        return NULL;
    }
    memset(at, 0, padded);
    memcpy(at, head, sizeof head);
    out->used += padded;
    return at + 4;
}

void odp_put_bytes(struct odp_out *out, unsigned int type, const void *bytes, uint32_t size)
{
    uint8_t *at = odp_put(out, type, size);

    if (at)
        memcpy(at, bytes, size);
}

uint32_t odp_nest(struct odp_out *out, unsigned int type)
{
    uint32_t nest = out->used;

    odp_put(out, type, 0);
    return nest;
}

void odp_nest_end(struct odp_out *out, uint32_t nest)
{
    uint16_t size = (uint16_t)(out->used - nest);

    if (!out->full)
        memcpy(out->start + nest, &size, sizeof size);
}
