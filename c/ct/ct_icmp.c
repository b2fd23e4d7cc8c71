/* SPDX-License-Identifier: Apache-2.0
 * ct_icmp.c - queries of ICMP and ICMPv6; errors belong to the connections that they are about
 * (ct_int.h). */
#include "ct/ct_int.h"

enum { FIRST, ANSWERED };

bool ct_icmp_valid_new(const struct ct_packet *p)
{
    const uint8_t type = p->l4_size ? p->data[p->l4] : 0;

    if (p->key.proto == CT_PROTO_ICMPV6)
        return type == 128;
    return type == 8 || type == 13 || type == 15;
}

void ct_icmp_new(const struct ct_burst *b, struct ct_conn *conn)
{
    atomic_store_explicit(&conn->progress, FIRST, memory_order_relaxed);
    ct_refresh(b, conn, CT_ICMP_FIRST);
}

enum ct_update ct_icmp_update(const struct ct_burst *b, const struct ct_packet *p, struct ct_conn *conn)
{
    uint8_t progress = atomic_load_explicit(&conn->progress, memory_order_relaxed);

    if (p->reply && progress == FIRST) {
        progress = ANSWERED;
        atomic_store_explicit(&conn->progress, progress, memory_order_relaxed);
    }
    ct_refresh(b, conn, progress == ANSWERED ? CT_ICMP_REPLY : CT_ICMP_FIRST);
    return progress == ANSWERED ? CT_VALID : CT_VALID_NEW;
}
