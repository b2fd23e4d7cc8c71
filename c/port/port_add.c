/* SPDX-License-Identifier: Apache-2.0 */
#include "port/port_add.h"

#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "port/port_int.h"

void port_free(struct port *port)
{
    free(port->txqs);
    free(port);
}

static bool number_taken(struct port_table *table, uint32_t no)
{
    if (port_get(table, no))
        return true;
    for (struct port *other = table->reserved; other; other = other->next_reserved)
        if (other->no == no)
            return true;
    return false;
}

/* EEXIST if `other` stands in the way of `port`. */
static int compare(const struct port *port, const struct port *other)
{
    if (port == other)
        return 0;
    if (!strcmp(port->name, other->name))
        return error_set(EEXIST, "port %u has that name", other->no);
    if (port->device[0] && !strcmp(port->device, other->device))
        return error_set(EEXIST, "device %s is port %u (%s) already", port->device, other->no,
                         other->name);
    return 0;
}

int port_check_unique(struct port_table *table, const struct port *port)
{
    int error = 0;

    for (struct port *other = port_first(table, 0); other && !error; other = port_first(table, other->no + 1))
        error = compare(port, other);
    for (struct port *other = table->reserved; other && !error; other = other->next_reserved)
        error = compare(port, other);
    return error;
}

int port_choose_number(struct port_table *table, struct port *port, uint32_t no)
{
    if (no == DP_PORT_NONE) {
        for (no = 1; no <= PORT_NO_MAX && number_taken(table, no); no++)
            ;
        if (no > PORT_NO_MAX)
            return error_set(EFBIG, "all numbers up to %u are taken", PORT_NO_MAX);
    }
    if (no > PORT_NO_MAX)
        return error_set(EFBIG, "number %u is above %u", no, PORT_NO_MAX);
    if (number_taken(table, no))
        return error_set(EBUSY, "number %u is taken", no);
    port->no = no;
    return 0;
}

struct port *port_new(struct port_table *table, const struct dp_port_request *request)
{
    struct port *port = aligned_alloc(64, sizeof *port);

    if (!port)
        return NULL;
    memset(port, 0, sizeof *port);
    port->table = table;
    port->class = port_class_find(request->type);
    memcpy(port->name, request->name, sizeof port->name);
    memcpy(port->type, request->type, sizeof port->type);
    memcpy(port->options, request->options, sizeof port->options);
    return port;
}

int port_make_txqs(struct port *port)
{
    port->txqs = aligned_alloc(64, port->txq_count * sizeof *port->txqs);
    if (!port->txqs)
        return ENOMEM;
    memset(port->txqs, 0, port->txq_count * sizeof *port->txqs);
    for (uint32_t i = 0; i < port->txq_count; i++)
        rte_spinlock_init(&port->txqs[i].lock);
    for (uint32_t i = port->caps & PORT_CAP_SPREAD ? 0 : port->txq_count - 1u; i < port->txq_count; i++)
        port->txqs[i].shared = 1;
    return 0;
}

/* --- Kinds ------------------------------------------------------------------------------------ */

static const struct port_class *const classes[] = {
#define X(name) &port_class_##name,
    PORT_CLASSES(X)
#undef X
};
#define CLASSES (sizeof classes / sizeof classes[0])

const struct port_class *port_class_find(const char *type)
{
    for (size_t i = 0; i < CLASSES; i++)
        if (!strcmp(classes[i]->type, type))
            return classes[i];
    return NULL;
}

int port_class_unknown(const char *type)
{
    char types[256];
    size_t used = 0;

    for (size_t i = 0; i < CLASSES && used < sizeof types; i++)
        used += (size_t)snprintf(types + used, sizeof types - used, "%s%s", i ? ", " : "", classes[i]->type);
    return error_set(EAFNOSUPPORT, "there is no port type \"%s\" (there are: %s)", type, types);
}
