/* SPDX-License-Identifier: Apache-2.0
 * port_classes.c - finds the kind of a port by its type (PORT_CLASSES in port.h). */
#include <stddef.h>
#include <string.h>

#include "port/port.h"

const struct port_class *port_class_find(const char *type)
{
    static const struct port_class *const classes[] = {
#define X(name) &port_class_##name,
        PORT_CLASSES(X)
#undef X
    };

    for (size_t i = 0; i < sizeof classes / sizeof classes[0]; i++)
        if (!strcmp(classes[i]->type, type))
            return classes[i];
    return NULL;
}

