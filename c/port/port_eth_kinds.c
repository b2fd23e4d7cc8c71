/* SPDX-License-Identifier: Apache-2.0
 *
 * Kinds of ports on ethdev: which device each is.
 *
 *     dpdk        devargs=… : a PCI address, or the name and arguments of any virtual device of DPDK
 *     pcap        rx_pcap=FILE tx_pcap=FILE infinite_rx=1 : reads packets from a file (once, or over and over) and writes to another
 *     memif       socket=PATH id=N role=client|server … : shared memory with another process, whose n_rxq is this side's n_txq
 *     afxdp       port_afxdp.c
 *     vhost-user, vhost-user-client    path=SOCKET : a virtual machine; the client connects, the other waits to be connected to */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "packet/eal.h"
#include "base/error.h"
#include "port/port_eth.h"

#define PCAP_OPTIONS "rx_pcap tx_pcap infinite_rx phy_mac"
#define MEMIF_OPTIONS "id role bsize rsize socket socket-abstract mac secret zero-copy owner-uid owner-gid"
#define VHOST_OPTIONS "queues iommu-support postcopy-support tso linear-buffer ext-buffer"
#define PCAP_SPARE 8192u         /* mbufs for packets under way. */

/* The value of an option that must be there. */
static int need(const struct port *port, const char *key, const char *what, char *value, uint32_t size)
{
    if (port_option(port, key, value, size) && value[0])
        return 0;
    return error_set(EINVAL, "Cannot add port %s: type %s needs the option %s=%s", port->name, port->type, key, what);
}

static int dpdk_open(struct port *port)
{
    char arguments[DP_TEXT_SIZE];
    struct eth_request request = { .devargs = arguments };
    int error = port_options_check(port, "devargs " ETH_OPTIONS);

    if (!error)
        error = need(port, "devargs", "DEVICE, a PCI address or a virtual device with its arguments", arguments, sizeof arguments);
    if (error)
        return error;
    snprintf(port->device, sizeof port->device, "%.*s", (int)strcspn(arguments, ","), arguments);
    return eth_open(port, &request);
}

/* --- pcap ------------------------------------------------------------------------------------------------- */

/* Packets in a pcap file; 0 if it is none (the driver will say why). */
static uint32_t count_packets(const char *path)
{
    uint32_t header[6], record[4], count = 0;
    FILE *file = fopen(path, "re");

    if (!file)
        return 0;
    if (fread(header, sizeof header, 1, file) == 1) {
        bool swapped = header[0] == 0xd4c3b2a1u || header[0] == 0x4d3cb2a1u;

        while (fread(record, sizeof record, 1, file) == 1) {
            uint32_t size = swapped ? __builtin_bswap32(record[2]) : record[2];

            if (fseek(file, (long)size, SEEK_CUR))
                break;
            count++;
        }
    }
    fclose(file);
    return count;
}

/* infinite_rx keeps every packet of the file in a mbuf, so such a port has a pool that they fit in. */
static int pcap_pool(const struct port *port, struct rte_mempool **pool)
{
    char path[DP_TEXT_SIZE], text[16];

    *pool = NULL;
    if (!port_option(port, "infinite_rx", text, sizeof text) || strcmp(text, "1") || !port_option(port, "rx_pcap", path, sizeof path))
        return 0;
    *pool = eal_pool_make(count_packets(path) + PCAP_SPARE, EAL_FRAME_ROOM, NULL);
    return *pool ? 0 : error_set(ENOMEM, "Cannot add port %s: no memory for all packets of %s at once", port->name, path);
}

static int check_file(const struct port *port, const char *key, const char *mode)
{
    char path[DP_TEXT_SIZE];
    FILE *file;

    if (!port_option(port, key, path, sizeof path))
        return 0;
    file = fopen(path, mode);
    if (!file)
        return error_set(errno, "Cannot add port %s: %s %s: %s", port->name, key, path, strerror(errno));
    fclose(file);
    return 0;
}

static int pcap_open(struct port *port)
{
    char arguments[2 * DP_TEXT_SIZE], value[DP_TEXT_SIZE];
    struct eth_request request = { .devargs = arguments, .mtu = PORT_MTU_ANY };
    int error = port_options_check(port, PCAP_OPTIONS " " ETH_OPTIONS);

    if (!error && !port_option(port, "rx_pcap", value, sizeof value) && !port_option(port, "tx_pcap", value, sizeof value))
        error = error_set(EINVAL, "Cannot add port %s: type pcap needs the option rx_pcap=FILE, tx_pcap=FILE or both", port->name);
    if (!error)
        error = check_file(port, "rx_pcap", "re");
    if (!error)
        error = check_file(port, "tx_pcap", "ae");
    if (!error)
        error = eth_devargs(port, "net_pcap", PCAP_OPTIONS, "", arguments, sizeof arguments);
    if (!error)
        error = pcap_pool(port, &request.pool);
    if (!error)
        error = eth_open(port, &request);
    if (!error)
        port->caps |= PORT_CAP_CHAIN; /* It copies. */
    return error;
}

/* --- Others ----------------------------------------------------------------------------------------------- */

static int memif_open(struct port *port)
{
    char arguments[2 * DP_TEXT_SIZE];
    struct eth_request request = { .devargs = arguments, .paired = true };
    int error = port_options_check(port, MEMIF_OPTIONS " " ETH_OPTIONS);

    if (!error)
        error = eth_devargs(port, "net_memif", MEMIF_OPTIONS, "", arguments, sizeof arguments);
    return error ? error : eth_open(port, &request);
}

static int vhost_open(struct port *port)
{
    char arguments[2 * DP_TEXT_SIZE], path[256], extra[300];
    struct eth_request request = { .devargs = arguments };
    int error = port_options_check(port, "path " VHOST_OPTIONS " " ETH_OPTIONS);

    if (!error)
        error = need(port, "path", "SOCKET", path, sizeof path);
    if (!error && strpbrk(path, ",[]"))
        error = error_set(EINVAL, "Cannot add port %s: DPDK takes no comma or bracket in a path: %s", port->name, path);
    if (error)
        return error;
    snprintf(extra, sizeof extra, ",iface=%s,client=%d", path, !strcmp(port->type, "vhost-user-client"));
    error = eth_devargs(port, "net_vhost", VHOST_OPTIONS, extra, arguments, sizeof arguments);
    return error ? error : eth_open(port, &request);
}

#define ETH_CLASS(symbol, name, opener)                                                                              \
    const struct port_class port_class_##symbol = {                                                                  \
        .type = name, .open = opener, .close = eth_close, .rx_burst = eth_rx, .tx_burst = eth_tx, .stats = eth_stats, \
        .link_up = eth_link_up,                                                                                      \
    }
ETH_CLASS(dpdk, "dpdk", dpdk_open);
ETH_CLASS(pcap, "pcap", pcap_open);
ETH_CLASS(memif, "memif", memif_open);
ETH_CLASS(vhost_user, "vhost-user", vhost_open);
ETH_CLASS(vhost_user_client, "vhost-user-client", vhost_open);
