/* SPDX-License-Identifier: Apache-2.0 */
#include "port/port.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/bell.h"
#include "dp_int.h"
#include "base/error.h"
#include "pmd/pmd_set.h"
#include "port/port_int.h"

const struct port_class *port_class_find(const char *type)
{
    static const struct port_class *const classes[] = {
        &port_class_dummy, &port_class_null, &port_class_ring, &port_class_patch, &port_class_system, &port_class_tap,
        &port_class_internal, &port_class_pcap, &port_class_memif, &port_class_afxdp, &port_class_dpdk,
        &port_class_vhost_user, &port_class_vhost_user_client,
    };

    for (size_t i = 0; i < sizeof classes / sizeof classes[0]; i++)
        if (!strcmp(classes[i]->type, type))
            return classes[i];
    return NULL;
}

/* --- Table ------------------------------------------------------------------------------------------------ */

struct port_table *port_table_create(void)
{
    struct port_table *table = calloc(1, sizeof *table);

    if (!table)
        return NULL;
    table->by_no = calloc(PORT_NO_MAX + 1, sizeof(*table->by_no));
    if (!table->by_no) {
        free(table);
        return NULL;
    }
    atomic_init(&table->sequence, 1);
    return table;
}

void port_table_destroy(struct port_table *table)
{
    if (!table)
        return;
    free(table->by_no);
    free(table);
}

struct port *port_get(struct port_table *table, uint32_t no)
{
    return no <= PORT_NO_MAX ? table->by_no[no] : NULL;
}

struct port *port_first(struct port_table *table, uint32_t no)
{
    for (; no < table->end; no++)
        if (table->by_no[no])
            return table->by_no[no];
    return NULL;
}

struct port *port_named(struct port_table *table, const char *name)
{
    for (struct port *port = port_first(table, 0); port; port = port_first(table, port->no + 1))
        if (!strcmp(port->name, name))
            return port;
    return NULL;
}

int port_publish(struct dp *dp, struct port *port)
{
    struct port_table *table = dp->ports;
    int error = pmd_set_add_port(dp->pmds, port);

    if (error)
        return error;
    table->by_no[port->no] = port;
    table->end = port->no >= table->end ? port->no + 1 : table->end;
    port_table_changed(table);
    return 0;
}

int port_remove(struct dp *dp, uint32_t no)
{
    struct port *port = port_get(dp->ports, no);

    if (!port)
        return error_set(ENODEV, "Datapath %s has no port %u", dp->name, no);
    pmd_set_remove_port(dp->pmds, port);
    dp->ports->by_no[no] = NULL;
    port_reserve(dp->ports, port); /* Number and device stay taken until the device is closed. */
    pthread_mutex_unlock(&dp->control);
    port->class->close(port);
    pthread_mutex_lock(&dp->control);
    port_unreserve(dp->ports, port);
    port_table_changed(dp->ports);
    port_free(port);
    return 0;
}

/* --- Changes ---------------------------------------------------------------------------------------------- */

void port_table_changed(struct port_table *table)
{
    atomic_fetch_add_explicit(&table->sequence, 1, memory_order_release);
    bell_ring(&table->bell);
}

void port_set_gone(struct port *port)
{
    if (!atomic_exchange_explicit(&port->gone, 1, memory_order_acq_rel))
        port_table_changed(port->dp->ports);
}

void port_follow_mtu(struct port *port)
{
    uint32_t mtu;

    if (!port->class->ask_mtu || atomic_load_explicit(&port->gone, memory_order_relaxed))
        return;
    mtu = port->class->ask_mtu(port);
    if (mtu)
        atomic_store_explicit(&port->mtu, mtu, memory_order_relaxed);
}

uint64_t port_table_sequence(struct port_table *table)
{
    return atomic_load_explicit(&table->sequence, memory_order_acquire);
}

void port_table_wait(struct port_table *table, uint64_t seen, _Atomic bool *woken)
{
    for (;;) {
        uint32_t bell = atomic_load_explicit(&table->bell, memory_order_acquire);

        if (atomic_exchange_explicit(woken, false, memory_order_acq_rel) || port_table_sequence(table) != seen)
            return;
        bell_wait(&table->bell, bell, -1);
    }
}

void port_table_wake(struct port_table *table, _Atomic bool *woken)
{
    atomic_store_explicit(woken, true, memory_order_release);
    bell_ring(&table->bell);
}

/* --- Questions -------------------------------------------------------------------------------------------- */

void port_describe(struct port *port, struct dp_port_info *info)
{
    bool gone = atomic_load_explicit(&port->gone, memory_order_relaxed);

    port_follow_mtu(port);
    memset(info, 0, sizeof *info);
    info->no = port->no;
    info->rxq_count = port->rxq_count;
    info->txq_count = port->txq_count;
    info->mtu = atomic_load_explicit(&port->mtu, memory_order_relaxed);
    info->link_up = !gone && (!port->class->link_up || port->class->link_up(port));
    memcpy(info->mac, port->mac, sizeof info->mac);
    memcpy(info->name, port->name, sizeof info->name);
    memcpy(info->type, port->type, sizeof info->type);
    memcpy(info->options, port->options, sizeof info->options);
}

int dp_port_find(uint64_t handle, const char *name, struct dp_port_info *info)
{
    struct port *port;
    struct dp *dp;
    int error = name && info ? dp_enter(handle, &dp) : EINVAL;

    if (error)
        return error;
    port = port_named(dp->ports, name);
    if (!port)
        return dp_leave(dp, error_set(ENODEV, "Datapath %s has no port \"%.63s\"", dp->name, name));
    port_describe(port, info);
    return dp_leave(dp, 0);
}

int dp_port_next(uint64_t handle, uint32_t no, struct dp_port_info *info)
{
    struct port *port;
    struct dp *dp;
    int error = info ? dp_enter(handle, &dp) : EINVAL;

    if (error)
        return error;
    port = port_first(dp->ports, no);
    if (!port)
        return dp_leave(dp, ENODEV);
    port_describe(port, info);
    return dp_leave(dp, 0);
}

static uint64_t get(const _Atomic uint64_t *counter)
{
    return atomic_load_explicit(counter, memory_order_relaxed);
}

int dp_port_stats_get(uint64_t handle, uint32_t no, struct dp_port_stats *stats)
{
    struct port *port;
    struct dp *dp;
    int error = stats ? dp_enter(handle, &dp) : EINVAL;

    if (error)
        return error;
    port = port_get(dp->ports, no);
    if (!port)
        return dp_leave(dp, error_set(ENODEV, "Datapath %s has no port %u", dp->name, no));
    *stats = (struct dp_port_stats){
        .rx_packets = get(&port->rx.packets), .rx_bytes = get(&port->rx.bytes), .rx_errors = get(&port->rx.errors),
        .rx_dropped = get(&port->rx.dropped), .rx_no_mbuf = get(&port->rx.no_mbuf),
        .tx_packets = get(&port->tx.packets), .tx_bytes = get(&port->tx.bytes), .tx_errors = get(&port->tx.errors),
    };
    if (port->class->stats)
        port->class->stats(port, stats);
    for (uint32_t i = 0; i < port->txq_count; i++)
        stats->tx_dropped += get(&port->txqs[i].dropped);
    return dp_leave(dp, 0);
}

int dp_port_delete(uint64_t handle, uint32_t no)
{
    struct dp *dp;
    int error = dp_enter(handle, &dp);

    if (error)
        return error_publish(error);
    if (!no)
        error = error_set(EINVAL, "Port 0 is the local port of datapath %s and goes with it", dp->name);
    else
        error = port_remove(dp, no);
    return dp_leave(dp, error_publish(error));
}

int dp_port_sequence(uint64_t handle, uint64_t *sequence)
{
    struct dp *dp;
    int error = sequence ? dp_enter(handle, &dp) : EINVAL;

    if (error)
        return error;
    *sequence = port_table_sequence(dp->ports);
    return dp_leave(dp, 0);
}
