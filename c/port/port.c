/* SPDX-License-Identifier: Apache-2.0 */
#include "port/port.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include "base/invariant.h"
#include "link/link_device.h"
#include "packet/worker.h"
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
    pthread_mutex_init(&table->watch_lock, NULL);
    return table;
}

void port_table_destroy(struct port_table *table)
{
    if (!table)
        return;
    pthread_mutex_destroy(&table->watch_lock);
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
    const uint64_t one = 1;

    atomic_fetch_add_explicit(&table->sequence, 1, memory_order_release);
    pthread_mutex_lock(&table->watch_lock);
    for (const struct port_watch *watch = table->watches; watch; watch = watch->next)
        if (write(watch->descriptor, &one, sizeof one) < 0)
            continue; /* Its counter is full: it is readable already. */
    pthread_mutex_unlock(&table->watch_lock);
}

int port_watch(struct port_table *table, struct port_watch *watch)
{
    watch->descriptor = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (watch->descriptor < 0)
        return errno;
    pthread_mutex_lock(&table->watch_lock);
    watch->next = table->watches;
    table->watches = watch;
    pthread_mutex_unlock(&table->watch_lock);
    return 0;
}

void port_unwatch(struct port_table *table, struct port_watch *watch)
{
    struct port_watch **at = &table->watches;

    pthread_mutex_lock(&table->watch_lock);
    while (*at != watch)
        at = &(*at)->next;
    *at = watch->next;
    pthread_mutex_unlock(&table->watch_lock);
    close(watch->descriptor);
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

/* --- Links ------------------------------------------------------------------------------------ */

/* What is seen of a link is one word, which changes as one. */
#define LINK_SEEN 1u
#define LINK_UP 2u
#define LINK_DUPLEX_SHIFT 2
#define LINK_MTU_SHIFT 8         /* 24 bits. */
#define LINK_SPEED_SHIFT 32
#define SPEED_MS 2000u           /* Not asked for more often, while the link is up or down. */
#define COUNTERS_TRIES 1000      /* One each millisecond. */

static struct link_speed speed_of(uint64_t link)
{
    return (struct link_speed){ .mbits = (uint32_t)(link >> LINK_SPEED_SHIFT), .duplex = (uint32_t)(link >> LINK_DUPLEX_SHIFT) & 3 };
}

bool port_device_name(struct port *port, char name[DP_NAME_SIZE])
{
    if (port->class->device_name)
        return port->class->device_name(port, name);
    return port->linux_device && link_device_name(port->linux_device, name);
}

bool port_link_up(struct port *port)
{
    if (atomic_load_explicit(&port->gone, memory_order_relaxed))
        return false;
    if (port->class->link_up && !port->class->link_up(port))
        return false;
    return !port->linux_device || link_device_link_up(port->linux_device);
}

static struct link_speed ask_speed(struct port *port)
{
    char name[DP_NAME_SIZE];

    /* Drivers of DPDK make it up. */
    if (port->linux_device && link_device_name(port->linux_device, name))
        return link_ethtool_speed(port->linux_device->fd, name);
    return port->class->link_speed ? port->class->link_speed(port) : (struct link_speed){ 0 };
}

static int ask_counters(struct port *port, struct dp_port_counter *counters, uint32_t room, uint32_t *n)
{
    char name[DP_NAME_SIZE];

    if (port->class->counters)
        return port->class->counters(port, counters, room, n);
    if (!port->linux_device)
        return EOPNOTSUPP;
    return link_device_name(port->linux_device, name) ? link_ethtool_counters(port->linux_device->fd, name, counters, room, n) : ENODEV;
}

int port_counters(struct port *port, struct dp_port_counter *counters, uint32_t room, uint32_t *n)
{
    int error = ask_counters(port, counters, room, n);

    /* Another asks, or the device is being opened; or it has another number of counters now. */
    for (int tries = 0; (error == EBUSY || error == EAGAIN) && tries < COUNTERS_TRIES; tries++) {
        nanosleep(&(struct timespec){ 0, 1000000 }, NULL);
        error = ask_counters(port, counters, room, n);
    }
    return error;
}

void port_follow_link(struct port *port)
{
    const uint64_t before = atomic_load_explicit(&port->link, memory_order_acquire);
    const bool up = port_link_up(port);
    const uint32_t ms = (uint32_t)worker_clock();
    struct link_speed speed = { 0 };
    uint64_t now;

    port_follow_mtu(port);
    if (up) {
        speed = speed_of(before);
        if (!(before & LINK_UP) || ms - atomic_load_explicit(&port->speed_asked_ms, memory_order_relaxed) > SPEED_MS) {
            atomic_store_explicit(&port->speed_asked_ms, ms, memory_order_relaxed);
            speed = ask_speed(port);
        }
    }
    now = LINK_SEEN | (up ? LINK_UP : 0) | (uint64_t)speed.duplex << LINK_DUPLEX_SHIFT | (uint64_t)speed.mbits << LINK_SPEED_SHIFT |
          (uint64_t)(atomic_load_explicit(&port->mtu, memory_order_relaxed) & 0xffffffu) << LINK_MTU_SHIFT;
    if (atomic_exchange_explicit(&port->link, now, memory_order_acq_rel) != now && before)
        port_table_changed(port->table);
}

struct link_speed port_link_speed(const struct port *port)
{
    return speed_of(atomic_load_explicit(&port->link, memory_order_acquire));
}

uint64_t port_table_sequence(struct port_table *table)
{
    return atomic_load_explicit(&table->sequence, memory_order_acquire);
}
