/* SPDX-License-Identifier: Apache-2.0
 *
 * The entry points of dp.h about the process: version and layout, error texts, EAL, names, the
 * extractor, builds of the lookup. */
#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include "base/error.h"
#include "base/handle.h"
#include "base/stat.h"
#include "cls/cls.h"
#include "dp.h"
#include "dp_int.h"
#include "odp/odp.h"
#include "packet/eal.h"
#include "packet/extract.h"

uint32_t dp_abi_version(void)
{
    return DP_ABI_VERSION;
}

int dp_abi_layout(char *text, uint32_t size)
{
    uint32_t used = 0;

    error_clear();
    if (!text || !size)
        return EINVAL;
#define LINE(...)                                                                    \
    do {                                                                             \
        if (used < size)                                                             \
            used += (uint32_t)snprintf(text + used, size - used, __VA_ARGS__);       \
    } while (0);
#define ABI_STRUCT(name) LINE("struct %s %zu\n", #name, sizeof(struct name))
#define ABI_FIELD(name, field) \
    LINE("field %s %s %zu %zu\n", #name, #field, offsetof(struct name, field), sizeof(((struct name *)0)->field))
#include "abi_fields.h"
    return used < size ? 0 : error_set(ENOBUFS, "the layout takes more than %u bytes", size);
}

int dp_error_text(char *text, uint32_t size)
{
    if (!text || !size)
        return EINVAL;
    snprintf(text, size, "%s", error_text());
    return 0;
}

int dp_waited_text(uint64_t handle, uint32_t about, char *text, uint32_t size)
{
    error_clear();
    if (!text || !size)
        return EINVAL;
    error_take(handle, about, text, size);
    return 0;
}

/* What is open when a thread ends is closed as its owner would have done. */
__attribute__((constructor)) static void set_closers(void)
{
    handle_closer(HANDLE_DP, dp_close);
    handle_closer(HANDLE_HANDLER, dp_upcall_close);
    handle_closer(HANDLE_DUMP, dp_dump_close);
    handle_closer(HANDLE_WATCH, dp_port_watch_close);
    handle_closer(HANDLE_TUNNELS, dp_tnl_watch_close);
    handle_closer(HANDLE_CT_WATCH, dp_ct_watch_close);
    handle_closer(HANDLE_JOB, dp_port_drop);
}

int dp_isolate_begin(uint64_t isolate)
{
    static _Thread_local uint64_t current;

    error_clear();
    if (current && current != isolate)
        handle_close_all();
    current = isolate;
    return 0;
}

int dp_eal_configure(const char *arguments)
{
    error_clear();
    return eal_configure(arguments);
}

int dp_eal_start(void)
{
    error_clear();
    return error_publish(0, DP_ABOUT_ALL, eal_start());
}

int dp_eal_notice(char *text, uint32_t size)
{
    error_clear();
    if (!text || !size)
        return EINVAL;
    eal_notice(text, size);
    return 0;
}

int dp_mbufs_in_use(uint64_t *count)
{
    error_clear();
    if (!count)
        return EINVAL;
    *count = eal_in_use();
    return 0;
}

int dp_drop_name(uint32_t reason, char *text, uint32_t size)
{
    error_clear();
    if (!text || !size)
        return EINVAL;
    if (reason >= DROP_COUNT)
        return error_set(ENOENT, "there is no drop reason %u", reason);
    snprintf(text, size, "%s", stat_drop_name((enum stat_drop)reason));
    return 0;
}

int dp_extract(const uint8_t *frame, uint32_t frame_size, uint32_t in_port, uint8_t *key, uint32_t key_size, uint32_t *key_used)
{
    const struct pkt_md md = { .in_port = in_port };
    uint8_t attributes[ODP_KEY_MAX];
    struct key extracted;

    error_clear();
    if (!frame || !key || !key_used)
        return EINVAL;
    if (frame_size < EXTRACT_RUNT || frame_size > 65535)
        return error_set(EINVAL, "a frame has %d to 65535 bytes, not %u", EXTRACT_RUNT, frame_size);
    extract_key(frame, frame_size, frame_size, &md, NULL, &extracted, NULL);
    *key_used = odp_key_write(&extracted, attributes, sizeof attributes);
    if (*key_used > key_size)
        return error_set(ENOBUFS, "the key takes %u bytes, %u are given", *key_used, key_size);
    memcpy(key, attributes, *key_used);
    return 0;
}

int dp_isa_get(uint32_t *isa)
{
    error_clear();
    if (!isa)
        return EINVAL;
    *isa = cls_isa_get();
    return 0;
}

int dp_isa_set(uint32_t isa, uint32_t validate)
{
    int error;

    error_clear();
    error = cls_isa_set(isa, validate != 0);
    return error ? error_set(error, "this processor cannot run build %u of the lookup", isa) : 0;
}
