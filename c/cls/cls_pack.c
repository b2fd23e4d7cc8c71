/* SPDX-License-Identifier: Apache-2.0
 * cls_pack.c - the key of a flow, put together again from what its entry and its spill keep. */
#include <string.h>

#include "cls/cls_int.h"

void cls_unpack(const struct cls *cls, const struct cls_sub *sub, uint32_t flow, struct key *masked)
{
    const struct cls_entry *entry = &cls->replicas[0]->entries[flow];
    uint32_t *words = (uint32_t *)masked->words;
    unsigned int wide = (sub->chunks - 1u) * HASH_CHUNK;

    memset(masked, 0, sizeof *masked);
    for (int j = 0; j < HASH_CHUNK; j++)
        words[sub->at[j]] |= entry->packed[j];
    for (unsigned int j = 0; j < wide; j++)
        words[sub->wide_at[j]] |= cls_spill(sub, flow)[j];
}
