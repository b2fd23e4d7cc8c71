/* SPDX-License-Identifier: Apache-2.0
 * ct_other.c - UDP, queries of ICMP, and every protocol of which only the addresses are known;
 * errors of ICMP belong to the connections that they are about (ct_int.h).
 *
 * Two threads may see packets of one connection at once: what they write are single words, and
 * the worst that comes of it is that one packet's progress is taken for the other's. */
#include "ct/ct_int.h"

enum { FIRST, MULTIPLE, BOTH_WAYS = CT_BOTH_WAYS };

void ct_other_new(const struct ct_burst *b, struct ct_conn *conn)
{
    atomic_store_explicit(&conn->progress, FIRST, memory_order_relaxed);
    ct_refresh(b, conn, CT_UDP_FIRST);
}

enum ct_update ct_other_update(const struct ct_burst *b, const struct ct_packet *p, struct ct_conn *conn)
{
    const uint8_t before = atomic_load_explicit(&conn->progress, memory_order_relaxed);
    const uint8_t progress = p->reply || before == BOTH_WAYS ? BOTH_WAYS : MULTIPLE;

    if (progress != before)
        atomic_store_explicit(&conn->progress, progress, memory_order_relaxed);
    ct_refresh(b, conn, progress == BOTH_WAYS ? CT_UDP_MULTIPLE : CT_UDP_SINGLE);
    return progress == BOTH_WAYS ? CT_VALID : CT_VALID_NEW;
}

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
        progress = CT_ANSWERED;
        atomic_store_explicit(&conn->progress, progress, memory_order_relaxed);
    }
    ct_refresh(b, conn, progress == CT_ANSWERED ? CT_ICMP_REPLY : CT_ICMP_FIRST);
    return progress == CT_ANSWERED ? CT_VALID : CT_VALID_NEW;
}
