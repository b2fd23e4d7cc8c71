/* SPDX-License-Identifier: Apache-2.0
 * port_classes.c - the one list of kinds of ports. */
#include <stddef.h>
#include <string.h>

#include "port/port.h"

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

