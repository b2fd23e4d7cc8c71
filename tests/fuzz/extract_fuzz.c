/* SPDX-License-Identifier: Apache-2.0
 * link: packet/extract.c odp/odp_key.c odp/odp_l3.c odp/odp_plain.c odp/odp_mask.c odp/odp_tunnel.c odp/odp_write.c odp/odp_out.c odp/odp_attr.c
 *
 * Any frame has a key; the key survives being written and read, and so does its exact mask; the same frame in two segments gives no
 * other fields than the first segment holds. */
#include <stdlib.h>
#include <string.h>

#include "packet/extract.h"
#include "odp/odp.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(int good)
{
    if (!good)
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const struct pkt_md md = { .in_port = 3, .skb_mark = 9 };
    uint8_t attrs[ODP_KEY_MAX];
    struct extract_layers layers;
    struct key key, again, mask;
    const char *why;
    uint32_t n = (uint32_t)size, cut;

    if (n < EXTRACT_RUNT + 1 || n > 2000)
        return 0;
    cut = EXTRACT_RUNT + data[n - 1] % (n - EXTRACT_RUNT);
    extract_key(data, n, n, &md, NULL, &key, &layers);
    check(layers.l3 <= n && (!layers.l4 || (uint32_t)layers.l4 + layers.l4_size <= n));
    check(!odp_key_read(attrs, odp_key_write(&key, attrs, sizeof attrs), &again, &why));
    check(!memcmp(&key, &again, sizeof key));
    check(!odp_mask_read(NULL, 0, &key, &mask, &why));
    check(!odp_mask_read(attrs, odp_mask_write(&mask, &key, attrs, sizeof attrs), &key, &again, &why));
    check(!memcmp(&mask, &again, sizeof mask));

    /* The first segment alone, in memory of exactly its size. */
    uint8_t *segment = malloc(cut);

    memcpy(segment, data, cut);
    extract_key(segment, cut, n, &md, NULL, &key, NULL);
    check(!odp_key_read(attrs, odp_key_write(&key, attrs, sizeof attrs), &again, &why));
    check(!memcmp(&key, &again, sizeof key));
    free(segment);
    return 0;
}
