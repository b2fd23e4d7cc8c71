/* SPDX-License-Identifier: Apache-2.0
 *
 * Kinds of ports on ethdev: which device each is.
 *
 *     dpdk        devargs=… : a PCI address, or the name and arguments of any virtual device of
 *                 DPDK; what else it may ask for is in port_eth_wish.c
 *     pcap        port_pcap.c
 *     memif       port_memif.c
 *     afxdp       port_afxdp.c
 *     vhost-user, vhost-user-client    path=SOCKET : a virtual machine; the client connects,
 *                                      the other waits to be connected to */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "packet/eal.h"
#include "packet/eal_divert.h"
#include "base/error.h"
#include "port/port_eth_int.h"
#include "link/link_socket.h"

#define VHOST_OPTIONS "queues iommu-support postcopy-support tso linear-buffer ext-buffer"

/* The value of an option that must be there. */
static int need(const struct port *port, const char *key, const char *what, char *value, uint32_t size)
{
    if (port_option(port, key, value, size) && value[0])
        return 0;
    return error_set(EINVAL, "type %s needs the option %s=%s", port->type, key, what);
}

/* Virtual devices of DPDK, by their bare names.  Their threads need no lock: no device of this kind
 * asks to be reset. */
static bool is_virtual(const char *arguments)
{
    return !strncmp(arguments, "net_", 4) || !strncmp(arguments, "eth_", 4) || !strncmp(arguments, "virtio_user", 11);
}

static int dpdk_open(struct port *port)
{
    char arguments[DP_TEXT_SIZE];
    struct eth_request request = { .devargs = arguments };
    int error = port_options_check(port, "devargs dpdk-devargs mtu_request " ETH_OPTIONS " " ETH_WISHES);

    if (!error && !(port_option(port, "dpdk-devargs", arguments, sizeof arguments) && arguments[0]))
        error = need(port, "devargs", "DEVICE, a PCI address or a virtual device with its arguments", arguments, sizeof arguments);
    if (error)
        return error;
    /* The driver would wait for ever for the other end, which is given no memory. */
    if (strstr(arguments, "virtio_user") && eal_is_private())
        return error_set(EOPNOTSUPP, "virtio_user shares this process's memory, which is private without hugepages: sysctl vm.nr_hugepages=512, "
                                     "or give EAL arguments of your own (--no-huge)");
    request.resets = !is_virtual(arguments);
    snprintf(port->device, sizeof port->device, "%.*s", (int)strcspn(arguments, ","), arguments);
    return eth_open(port, &request);
}

/* --- Others ----------------------------------------------------------------------------------- */

static int vhost_open(struct port *port)
{
    char arguments[2 * DP_TEXT_SIZE], path[256], extra[300];
    struct eth_request request = { .devargs = arguments };
    const bool client = !strcmp(port->type, "vhost-user-client");
    int error = port_options_check(port, "path " VHOST_OPTIONS " " ETH_OPTIONS);

    if (!error)
        error = need(port, "path", "SOCKET", path, sizeof path);
    if (!error && strpbrk(path, ",[]"))
        error = error_set(EINVAL, "DPDK takes no comma or bracket in a path: %s", path);
    if (!error)
        error = client ? link_socket_check(path) : link_socket_clear(path);
    if (error)
        return error;
    snprintf(extra, sizeof extra, ",iface=%s,client=%d", path, client);
    error = eth_devargs(port, "net_vhost", VHOST_OPTIONS, extra, arguments, sizeof arguments);
    return error ? error : eth_open(port, &request);
}

/* `waiting`: of vhost queues, as in Open vSwitch. */
#define ETH_CLASS(symbol, name, opener, waiting)                                                                      \
    const struct port_class port_class_##symbol = {                                                                   \
        .type = name, .open = opener, .close = eth_close, .rx_burst = eth_rx, .tx_burst = eth_tx, .stats = eth_stats, \
        ETH_QUESTIONS, .rx_waiting = waiting, .rx_wait = eth_wake_wait, .rx_resume = eth_wake_resume,                 \
    }
ETH_CLASS(dpdk, "dpdk", dpdk_open, NULL);
ETH_CLASS(vhost_user, "vhost-user", vhost_open, eth_rx_waiting);
ETH_CLASS(vhost_user_client, "vhost-user-client", vhost_open, eth_rx_waiting);
