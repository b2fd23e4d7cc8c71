/* SPDX-License-Identifier: Apache-2.0
 *
 * Ports of type pcap: rx_pcap=FILE tx_pcap=FILE infinite_rx=1 : reads packets from a file (once, or
 * over and over) and writes to another.
 *
 * DPDK's driver takes a capture of anything for one of Ethernet frames, so the file is looked at
 * first.  Formats: pcap and pcapng, IETF drafts opsawg-pcap and opsawg-pcapng. */
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include <rte_common.h>

#include "base/error.h"
#include "packet/eal.h"
#include "port/port_eth.h"

#define OPTIONS "rx_pcap tx_pcap infinite_rx phy_mac"
#define SPARE 8192u              /* mbufs for packets under way. */

#define MAGIC_MICRO 0xa1b2c3d4u
#define MAGIC_NANO 0xa1b23c4du
#define NG_SECTION 0x0a0d0d0au   /* Types of blocks, the same in either byte order, ... */
#define NG_ORDER 0x1a2b3c4du     /* ... which this tells. */
#define NG_INTERFACE 1u
#define NG_PACKET_OLD 2u
#define NG_PACKET_SIMPLE 3u
#define NG_PACKET 6u
#define LINK_ETHERNET 1u
#define LINK_UNKNOWN UINT32_MAX

struct capture {
    /* LINK_UNKNOWN: it is no capture, and the driver will say why it does not take it. */
    uint32_t link;
    uint32_t packets;
};

static uint32_t read_word(const uint8_t *at, bool swapped)
{
    uint32_t word;

    memcpy(&word, at, sizeof word);
    return swapped ? __builtin_bswap32(word) : word;
}

/* Behind the file's header: each record has a header of four words, of which the third is its
 * size. */
static void read_records(FILE *file, bool swapped, struct capture *capture)
{
    uint8_t record[16];

    while (fread(record, sizeof record, 1, file) == 1 && !fseek(file, (long)read_word(record + 8, swapped), SEEK_CUR))
        capture->packets++;
}

/* Behind the type and size of the first block.  The driver takes one link type a file, that of the
 * first interface. */
static void read_blocks(FILE *file, struct capture *capture)
{
    uint8_t head[8], body[4];
    uint32_t type = NG_SECTION, size;
    bool swapped = false;

    rewind(file);
    while (fread(head, sizeof head, 1, file) == 1 && fread(body, sizeof body, 1, file) == 1) {
        if (read_word(head, false) == NG_SECTION)
            swapped = read_word(body, false) != NG_ORDER;
        type = read_word(head, swapped);
        size = read_word(head + 4, swapped);
        if (type == NG_INTERFACE && capture->link == LINK_UNKNOWN)
            capture->link = swapped ? (uint32_t)(body[0] << 8 | body[1]) : (uint32_t)(body[1] << 8 | body[0]);
        capture->packets += type == NG_PACKET || type == NG_PACKET_SIMPLE || type == NG_PACKET_OLD;
        if (size < 12 || fseek(file, (long)size - 12, SEEK_CUR))
            return;
    }
}

static struct capture examine(const char *path)
{
    struct capture capture = { .link = LINK_UNKNOWN };
    FILE *file = fopen(path, "re");
    uint8_t head[24];
    uint32_t magic;
    bool swapped;

    if (!file)
        return capture;
    if (fread(head, sizeof head, 1, file) == 1) {
        magic = read_word(head, false);
        swapped = magic == __builtin_bswap32(MAGIC_MICRO) || magic == __builtin_bswap32(MAGIC_NANO);
        if (magic == NG_SECTION) {
            read_blocks(file, &capture);
        } else if (swapped || magic == MAGIC_MICRO || magic == MAGIC_NANO) {
            /* The rest says whether checksums stand behind frames. */
            capture.link = read_word(head + 20, swapped) & 0xffff;
            read_records(file, swapped, &capture);
        }
    }
    fclose(file);
    return capture;
}

static const char *link_name(uint32_t link)
{
    static const struct {
        uint32_t link;
        const char *name;
    } names[] = {
        { 0, "BSD loopback" }, { 9, "PPP" }, { 50, "PPP in HDLC" }, { 101, "raw IP" }, { 104, "HDLC" }, { 105, "IEEE 802.11" },
        { 108, "OpenBSD loopback" }, { 113, "Linux cooked, as of the device any" }, { 127, "IEEE 802.11 with radiotap" },
        { 189, "USB" }, { 201, "Bluetooth" }, { 220, "USB" }, { 227, "CAN" }, { 228, "raw IPv4" }, { 229, "raw IPv6" }, { 249, "USB" },
        { 253, "netlink" }, { 276, "Linux cooked, version 2" },
    };

    for (size_t i = 0; i < RTE_DIM(names); i++)
        if (names[i].link == link)
            return names[i].name;
    return "see tcpdump.org/linktypes.html";
}

static int check_capture(const struct port *port, struct capture *capture)
{
    char path[DP_TEXT_SIZE];

    if (!port_option(port, "rx_pcap", path, sizeof path))
        return 0;
    *capture = examine(path);
    if (capture->link == LINK_UNKNOWN || capture->link == LINK_ETHERNET)
        return 0;
    return error_set(EINVAL, "rx_pcap %s is no capture of Ethernet frames: its link type is %u (%s)", path,
                     capture->link, link_name(capture->link));
}

static int check_file(const struct port *port, const char *key, const char *mode)
{
    char path[DP_TEXT_SIZE];
    FILE *file;

    if (!port_option(port, key, path, sizeof path))
        return 0;
    file = fopen(path, mode);
    if (!file)
        return error_set(errno, "%s %s: %s", key, path, strerror(errno));
    fclose(file);
    return 0;
}

/* infinite_rx keeps every packet of the file in a mbuf, so such a port has a pool that they fit
 * in. */
static int make_pool(const struct port *port, const struct capture *capture, struct rte_mempool **pool)
{
    char text[16];

    *pool = NULL;
    if (!port_option(port, "infinite_rx", text, sizeof text) || strcmp(text, "1"))
        return 0;
    *pool = eal_pool_make(capture->packets + SPARE, EAL_FRAME_ROOM, NULL, SOCKET_ID_ANY);
    if (!*pool && eal_pools_full())
        return ENOSPC;
    return *pool ? 0 : error_set(ENOMEM, "no memory for all %u packets of its capture at once", capture->packets);
}

static int pcap_open(struct port *port)
{
    char arguments[2 * DP_TEXT_SIZE], value[DP_TEXT_SIZE];
    struct eth_request request = { .devargs = arguments, .mtu = PORT_MTU_ANY };
    struct capture capture = { 0 };
    int error = port_options_check(port, OPTIONS " " ETH_OPTIONS);

    if (!error && !port_option(port, "rx_pcap", value, sizeof value) && !port_option(port, "tx_pcap", value, sizeof value))
        error = error_set(EINVAL, "type pcap needs the option rx_pcap=FILE, tx_pcap=FILE or both");
    if (!error)
        error = check_file(port, "rx_pcap", "re");
    if (!error)
        error = check_capture(port, &capture);
    if (!error)
        error = check_file(port, "tx_pcap", "ae");
    if (!error)
        error = eth_devargs(port, "net_pcap", OPTIONS, "", arguments, sizeof arguments);
    if (!error)
        error = make_pool(port, &capture, &request.pool);
    if (!error)
        error = eth_open(port, &request);
    if (!error)
        port->caps |= PORT_CAP_CHAIN; /* It copies. */
    return error;
}

const struct port_class port_class_pcap = {
    .type = "pcap", .open = pcap_open, .close = eth_close, .rx_burst = eth_rx, .tx_burst = eth_tx, .stats = eth_stats,
    ETH_QUESTIONS,
};
