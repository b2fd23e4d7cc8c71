/* SPDX-License-Identifier: Apache-2.0
 *
 * Ports that are tunnels (dp_tnl.h): they have no device, receive nothing by themselves and send
 * nothing; path/burst.c and path/tx.c do both.  This file reads their options:
 *
 *   remote_ip=ADDRESS  local_ip=ADDRESS     ends that are fixed; without them the flow says them
 *   key=N  in_key=N  out_key=N              likewise; "flow" as if it were not given
 *   tos=N|inherit  ttl=N|inherit  df=BOOL  csum=BOOL
 *                                           of the outer header, where the flow says nothing; over
 *                                           IPv6 UDP has a checksum but with csum=false
 *   dst_port=N                              UDP, of vxlan, geneve, gtpu, bareudp
 *   gbp=BOOL                                vxlan: group policy
 *   seq=BOOL  packet_type=legacy_l3         gre, ip6gre: numbers; no Ethernet header inside
 *   erspan_ver=1|2  erspan_idx=N  erspan_dir=0|1  erspan_hwid=N
 *   payload_type=ip|mpls|N  multiproto=BOOL bareudp: EtherType inside */
#include <arpa/inet.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <rte_mbuf.h>

#include "base/error.h"
#include "base/stat.h"
#include "port/port.h"

#define COMMON "remote_ip local_ip key in_key out_key tos ttl df csum "
#define ERSPAN "erspan_ver erspan_idx erspan_dir erspan_hwid"

static const struct {
    const char *type;
    const char *options;
    uint16_t dst_port;           /* Of IANA. */
    uint8_t key_bits;
} kinds[TUNNEL_KINDS] = {
    [TUNNEL_VXLAN] = { "vxlan", COMMON "dst_port gbp", 4789, 24 },
    [TUNNEL_GENEVE] = { "geneve", COMMON "dst_port", 6081, 24 },
    [TUNNEL_GRE] = { "gre", COMMON "seq packet_type", 0, 32 },
    [TUNNEL_IP6GRE] = { "ip6gre", COMMON "seq packet_type", 0, 32 },
    [TUNNEL_ERSPAN] = { "erspan", COMMON ERSPAN, 0, 10 },
    [TUNNEL_IP6ERSPAN] = { "ip6erspan", COMMON ERSPAN, 0, 10 },
    [TUNNEL_GTPU] = { "gtpu", COMMON "dst_port", 2152, 32 },
    [TUNNEL_BAREUDP] = { "bareudp", "remote_ip local_ip tos ttl df csum dst_port payload_type multiproto", 6635, 0 },
};

static int option_bool(const struct port *port, const char *key, bool *value)
{
    char text[DP_NAME_SIZE];

    if (!port_option(port, key, text, sizeof text))
        return 0;
    *value = !strcmp(text, "true") || !strcmp(text, "1");
    return *value || !strcmp(text, "false") || !strcmp(text, "0") ? 0 : error_set(EINVAL, "option %s is true or false, not %s", key, text);
}

/* An address; `*family` stays 0 if it is "flow" or not given. */
static int option_address(const struct port *port, const char *key, uint8_t kind, uint8_t *family, uint8_t address[16])
{
    char text[DP_NAME_SIZE];

    if (!port_option(port, key, text, sizeof text) || !strcmp(text, "flow"))
        return 0;
    if (inet_pton(AF_INET, text, address) == 1)
        *family = 4;
    else if (inet_pton(AF_INET6, text, address) == 1)
        *family = 6;
    else
        return error_set(EINVAL, "option %s is an address of IPv4 or IPv6, not %s", key, text);
    if ((*family == 6 && (kind == TUNNEL_GRE || kind == TUNNEL_ERSPAN)) || (*family == 4 && (kind == TUNNEL_IP6GRE || kind == TUNNEL_IP6ERSPAN)))
        return error_set(EINVAL, "option %s is of the wrong IP version: the type says which", key);
    return 0;
}

static int option_key(const struct port *port, const char *key, uint8_t bits, bool *fixed, uint64_t *value)
{
    char text[DP_NAME_SIZE], *end;

    if (!port_option(port, key, text, sizeof text))
        return 0;
    *fixed = strcmp(text, "flow") != 0;
    if (!*fixed)
        return 0;
    errno = 0;
    *value = strtoull(text, &end, 0);
    if (errno || end == text || *end || text[0] == '-' || *value >> bits)
        return error_set(EINVAL, "option %s is flow, or a number of %u bits, not %s", key, bits, text);
    return 0;
}

/* A number or "inherit". */
static int option_inherit(const struct port *port, const char *key, uint32_t most, uint8_t *value, bool *inherit)
{
    char text[DP_NAME_SIZE];
    uint32_t number = 0;
    int error;

    *inherit = port_option(port, key, text, sizeof text) && !strcmp(text, "inherit");
    if (*inherit)
        return 0;
    error = port_option_number(port, key, 0, most, 0, &number);
    *value = (uint8_t)number;
    return error;
}

static int read_outer(const struct port *port, struct tunnel_config *config)
{
    char text[DP_NAME_SIZE];
    int error = option_inherit(port, "tos", 255, &config->tos, &config->tos_inherit);

    if (!error && config->tos & 3)
        error = error_set(EINVAL, "option tos has ECN bits, which are the packet's");
    if (!error)
        error = option_inherit(port, "ttl", 255, &config->ttl, &config->ttl_inherit);
    if (!error)
        error = option_bool(port, "df", &config->df);
    if (!error)
        error = option_bool(port, "csum", &config->csum);
    config->csum6_zero = port_option(port, "csum", text, sizeof text) && !config->csum;
    return error;
}

static int read_keys(const struct port *port, struct tunnel_config *config)
{
    const uint8_t bits = kinds[config->kind].key_bits;
    bool both = false;
    uint64_t key = 0;
    int error = bits ? option_key(port, "key", bits, &both, &key) : 0;

    config->in_key_fixed = config->out_key_fixed = both;
    config->in_key = config->out_key = key;
    if (!error && bits)
        error = option_key(port, "in_key", bits, &config->in_key_fixed, &config->in_key);
    if (!error && bits)
        error = option_key(port, "out_key", bits, &config->out_key_fixed, &config->out_key);
    return error;
}

/* An EtherType, or one that has a name. */
static int option_payload(const struct port *port, uint16_t *type)
{
    char text[DP_NAME_SIZE];
    uint32_t number;
    int error;

    *type = 0x8847;
    if (!port_option(port, "payload_type", text, sizeof text) || !strcmp(text, "mpls"))
        return 0;
    *type = 0x0800;
    if (!strcmp(text, "ip"))
        return 0;
    error = port_option_number(port, "payload_type", 0x600, UINT16_MAX, 0, &number);
    *type = (uint16_t)number;
    return error;
}

static int read_special(const struct port *port, struct tunnel_config *config)
{
    uint32_t version = 1, index = 0, direction = 0, hardware = 0, udp = 0;
    int error = option_bool(port, "gbp", &config->gbp);

    if (!error && kinds[config->kind].dst_port)
        error = port_option_number(port, "dst_port", 1, UINT16_MAX, kinds[config->kind].dst_port, &udp);
    if (!error)
        error = option_bool(port, "seq", &config->seq);
    if (!error)
        error = option_bool(port, "multiproto", &config->multiproto);
    if (!error)
        error = option_payload(port, &config->payload);
    if (!error)
        error = port_option_number(port, "erspan_ver", 1, 2, 1, &version);
    if (!error)
        error = port_option_number(port, "erspan_idx", 0, (1u << 20) - 1, 0, &index);
    if (!error)
        error = port_option_number(port, "erspan_dir", 0, 1, 0, &direction);
    if (!error)
        error = port_option_number(port, "erspan_hwid", 0, 63, 0, &hardware);
    config->dst_port = (uint16_t)udp;
    config->erspan_ver = (uint8_t)version;
    config->erspan_idx = index;
    config->erspan_dir = (uint8_t)direction;
    config->erspan_hwid = (uint8_t)hardware;
    return error;
}

static int tnl_open(struct port *port)
{
    struct tunnel_config *config = calloc(1, sizeof *config);
    bool l3 = false;
    int error;

    if (!config)
        return ENOMEM;
    while (strcmp(kinds[config->kind].type, port->type))
        config->kind++;
    error = port_options_check(port, kinds[config->kind].options);
    if (!error)
        error = option_address(port, "remote_ip", config->kind, &config->remote_family, config->remote);
    if (!error)
        error = option_address(port, "local_ip", config->kind, &config->local_family, config->local);
    if (!error && config->remote_family && config->local_family && config->remote_family != config->local_family)
        error = error_set(EINVAL, "options remote_ip and local_ip are of different IP versions");
    if (!error)
        error = read_outer(port, config);
    if (!error)
        error = read_keys(port, config);
    if (!error)
        error = read_special(port, config);
    if (!error)
        error = port_option_l3(port, &l3);
    config->l3 = l3 || config->kind == TUNNEL_GTPU || config->kind == TUNNEL_BAREUDP;
    if (error) {
        free(config);
        return error;
    }
    port->state = config;
    port->txq_count = 1;
    port->mtu = PORT_MTU_ANY; /* The next hop's is what counts. */
    port->caps = PORT_CAP_TUNNEL | PORT_CAP_CHAIN | PORT_CAP_CSUM | PORT_CAP_TSO | (config->l3 ? PORT_CAP_L3 : 0);
    port_make_mac(port);
    return 0;
}

const struct tunnel_config *port_tnl_config(const struct port *port)
{
    return port->state;
}

static void tnl_close(struct port *port)
{
    free(port->state);
}

static uint16_t tnl_rx(struct port *port, uint16_t queue, struct rte_mbuf **packets, uint16_t n)
{
    (void)port, (void)queue, (void)packets, (void)n;
    return 0;
}

/* Only while the port is being removed. */
static uint16_t tnl_tx(struct port *port, uint16_t queue, struct rte_mbuf **packets, uint16_t n)
{
    (void)queue;
    stat_add(&port->tx.errors, n);
    rte_pktmbuf_free_bulk(packets, n);
    return n;
}

#define TUNNEL_CLASS(name) \
    const struct port_class port_class_##name = { \
        .type = #name, .open = tnl_open, .close = tnl_close, .rx_burst = tnl_rx, .tx_burst = tnl_tx, \
    };
TUNNEL_CLASS(vxlan)
TUNNEL_CLASS(geneve)
TUNNEL_CLASS(gre)
TUNNEL_CLASS(ip6gre)
TUNNEL_CLASS(erspan)
TUNNEL_CLASS(ip6erspan)
TUNNEL_CLASS(gtpu)
TUNNEL_CLASS(bareudp)
