/* SPDX-License-Identifier: Apache-2.0
 * port_classes.c - finds the kind of a port by its type (PORT_CLASSES in port.h). */
#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include "base/error.h"
#include "port/port.h"

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

