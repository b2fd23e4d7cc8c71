/* SPDX-License-Identifier: Apache-2.0
 * link: packet/extract.c odp/odp_key.c odp/odp_l3.c odp/odp_plain.c odp/odp_mask.c odp/odp_tunnel.c odp/odp_write.c odp/odp_out.c odp/odp_attr.c
 *
 * Any bytes as a key and, behind it, as its mask (the first two bytes say where): refused, or understood so that writing and reading again gives the
 * same. */
#include <stdlib.h>
#include <string.h>

#include "odp/odp.h"
#include "packet/pkt.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(int good)
{
    if (!good)
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    uint8_t attrs[ODP_KEY_MAX];
    struct key key, mask, again;
    struct pkt pkt;
    const char *why;
    uint32_t key_size;

    if (size < 2 || size > 4096)
        return 0;
    key_size = (uint32_t)(data[0] | data[1] << 8) % (uint32_t)(size - 1);
    data += 2;
    size -= 2;
    (void)odp_md_read(data, key_size, &pkt, &why);
    if (odp_key_read(data, key_size, &key, &why))
        return 0;
    check(!odp_key_read(attrs, odp_key_write(&key, attrs, sizeof attrs), &again, &why));
    check(!memcmp(&key, &again, sizeof key));
    if (odp_mask_read(data + key_size, (uint32_t)size - key_size, &key, &mask, &why))
        return 0;
    check(!odp_mask_read(attrs, odp_mask_write(&mask, &key, attrs, sizeof attrs), &key, &again, &why));
    check(!memcmp(&mask, &again, sizeof mask));
    return 0;
}
