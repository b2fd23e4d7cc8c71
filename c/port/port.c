/* SPDX-License-Identifier: Apache-2.0 */
#include "port/port.h"

#include <stdlib.h>
#include <string.h>

#include "base/invariant.h"
#include "base/bell.h"
#include "port/port_int.h"

/* --- Table ------------------------------------------------------------------------------------ */

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

void port_put(struct port_table *table, struct port *port)
{
    INVARIANT(port->no <= PORT_NO_MAX && !table->by_no[port->no]);
    table->by_no[port->no] = port;
    table->end = port->no >= table->end ? port->no + 1 : table->end;
    port_table_changed(table);
}

void port_take(struct port_table *table, struct port *port)
{
    INVARIANT(table->by_no[port->no] == port);
    table->by_no[port->no] = NULL;
    port_reserve(table, port);
}

void port_reserve(struct port_table *table, struct port *port)
{
    port->next_reserved = table->reserved;
    table->reserved = port;
}

void port_unreserve(struct port_table *table, struct port *port)
{
    struct port **at = &table->reserved;

    while (*at != port)
        at = &(*at)->next_reserved;
    *at = port->next_reserved;
}

/* --- Changes ---------------------------------------------------------------------------------- */

void port_table_changed(struct port_table *table)
{
    atomic_fetch_add_explicit(&table->sequence, 1, memory_order_release);
    bell_ring(&table->bell);
}

void port_set_gone(struct port *port)
{
    if (atomic_exchange_explicit(&port->gone, 1, memory_order_acq_rel))
        return;
    atomic_fetch_add_explicit(&port->lost, 1, memory_order_relaxed);
    port_table_changed(port->table);
}

void port_set_here(struct port *port)
{
    if (atomic_exchange_explicit(&port->gone, 0, memory_order_acq_rel))
        port_table_changed(port->table);
}

void port_set_peer(struct port *port, bool here, bool *was_here)
{
    if (here == *was_here)
        return;
    if (!here)
        atomic_fetch_add_explicit(&port->lost, 1, memory_order_relaxed);
    *was_here = here;
    port_table_changed(port->table);
}

void port_changed(struct port *port)
{
    port_table_changed(port->table);
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
