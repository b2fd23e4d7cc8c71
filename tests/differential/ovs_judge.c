/* SPDX-License-Identifier: Apache-2.0
 *
 * What Open vSwitch's userspace makes of packets: its own extraction and execution of actions, from
 * its library, called packet by packet.  Linked with what it takes of libopenvswitch by ovs_judge.ts.
 *
 * Lines in, lines out:
 *   key TYPE FRAME                     the attributes of the key.  TYPE: 0000, or the EtherType of a
 *                                      packet without Ethernet header
 *   run TYPE FRAME (ID=ACTIONS)...     frames that leave, `PORT:HEX`, and `miss:ID:KEY`; for each
 *                                      flow `ID=PACKETS/BYTES`; `bond:BUCKET:BYTES` for what
 *                                      lb_output sends by port 2 or 3
 * All bytes are hexadecimal; actions are attributes, ID 0 is where it begins. */
#include <config.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "dp-packet.h"
#include "flow.h"
#include "netlink.h"
#include "odp-execute.h"
#include "odp-netlink.h"
#include "odp-util.h"
#include "openvswitch/ofpbuf.h"
#include "packets.h"

/* There is nobody to command it. */
void unixctl_command_register(const char *name, const char *usage, int min_args, int max_args, void *callback, void *aux)
{
    (void)name, (void)usage, (void)min_args, (void)max_args, (void)callback, (void)aux;
}

#define FLOWS 64
#define BOND UINT32_MAX              /* No number of a port. */
#define DEPTH 6                      /* Recirculations, as in dpif-netdev.c of 3.1. */

static struct {
    uint32_t id;
    uint8_t *actions;
    size_t size;
    unsigned long packets, bytes;
} flows[FLOWS];
static unsigned int flow_count, depth;

static size_t unhex(const char *text, uint8_t *to)
{
    size_t n = 0;
    unsigned int byte;

    for (; sscanf(text, "%2x", &byte) == 1; text += 2)
        to[n++] = byte;
    return n;
}

static void print_hex(const uint8_t *at, size_t size)
{
    while (size--)
        printf("%02x", *at++);
}

static void print_key(struct dp_packet *packet)
{
    struct odp_flow_key_parms parms = { .support = { .max_vlan_headers = 2, .max_mpls_depth = 3, .recirc = true, .ct_state = true,
                                                     .ct_zone = true, .ct_mark = true, .ct_label = true, .nd_ext = true } };
    struct ofpbuf buffer;
    struct flow flow;

    flow_extract(packet, &flow);
    parms.flow = &flow;
    ofpbuf_init(&buffer, 1024);
    odp_flow_key_from_flow(&parms, &buffer);
    print_hex(buffer.data, buffer.size);
    ofpbuf_uninit(&buffer);
}

static void run(struct dp_packet *packet);

static void output(struct dp_packet_batch *batch, uint32_t port)
{
    struct dp_packet *packet;
    uint32_t to = port;

    dp_packet_batch_apply_cutlen(batch);
    DP_PACKET_BATCH_FOR_EACH (i, packet, batch) {
        if (port == BOND) {
            uint32_t bucket = dp_packet_get_rss_hash(packet) & 0xff;

            printf(" bond:%u:%u", bucket, dp_packet_size(packet));
            to = 2 + (bucket & 1);
        }
        if (packet->packet_type != htonl(PT_ETH))
            continue;                /* As ports of type dummy do. */
        printf(" %u:", to);
        print_hex(dp_packet_data(packet), dp_packet_size(packet));
    }
    dp_packet_delete_batch(batch, true);
}

static bool sends(const struct nlattr *a)
{
    return nl_attr_type(a) == OVS_ACTION_ATTR_OUTPUT || nl_attr_type(a) == OVS_ACTION_ATTR_LB_OUTPUT;
}

static void act(void *dp, struct dp_packet_batch *packets, const struct nlattr *a, bool steal)
{
    struct dp_packet_batch copies;
    struct dp_packet *packet;

    (void)dp;
    if (!steal) {
        dp_packet_batch_clone(&copies, packets);
        if (sends(a))
            dp_packet_batch_reset_cutlen(packets);
        packets = &copies;
    }
    if (sends(a)) {
        output(packets, nl_attr_type(a) == OVS_ACTION_ATTR_OUTPUT ? nl_attr_get_u32(a) : BOND);
    } else if (nl_attr_type(a) == OVS_ACTION_ATTR_RECIRC) {
        DP_PACKET_BATCH_FOR_EACH (i, packet, packets) {
            packet->md.recirc_id = nl_attr_get_u32(a);
            packet->cutlen = 0;
            if (depth < DEPTH && dp_packet_size(packet) >= ETH_HEADER_LEN) {
                depth++;
                run(packet);
                depth--;
            } else {
                dp_packet_delete(packet);
            }
        }
    } else {
        dp_packet_delete_batch(packets, true);
    }
}

static void run(struct dp_packet *packet)
{
    struct dp_packet_batch batch;
    struct flow flow;

    flow_extract(packet, &flow);
    if (!dp_packet_rss_valid(packet))
        dp_packet_set_rss_hash(packet, flow_hash_5tuple(&flow, 0));
    for (unsigned int i = 0; i < flow_count; i++) {
        if (flows[i].id != packet->md.recirc_id)
            continue;
        flows[i].packets++;
        flows[i].bytes += dp_packet_size(packet);
        dp_packet_batch_init_packet(&batch, packet);
        odp_execute_actions(NULL, &batch, true, (void *)flows[i].actions, flows[i].size, act);
        return;
    }
    printf(" miss:%u:", packet->md.recirc_id);
    print_key(packet);
    dp_packet_delete(packet);
}

static struct dp_packet *packet_of(const char *type, const char *hex)
{
    static uint8_t bytes[65536];
    size_t size = unhex(hex, bytes);
    struct dp_packet *packet = dp_packet_clone_data_with_headroom(bytes, size, 128);
    uint32_t eth_type = strtoul(type, NULL, 16);

    packet->packet_type = eth_type ? PACKET_TYPE_BE(OFPHTN_ETHERTYPE, eth_type) : htonl(PT_ETH);
    packet->md.in_port.odp_port = u32_to_odp(1);
    return packet;
}

int main(void)
{
    static char line[1 << 20];

    odp_execute_init();
    while (fgets(line, sizeof line, stdin)) {
        char *verb = strtok(line, " \n"), *type = strtok(NULL, " \n"), *frame = strtok(NULL, " \n"), *word;
        struct dp_packet *packet = packet_of(type, frame);

        if (!strcmp(verb, "key")) {
            print_key(packet);
            dp_packet_delete(packet);
        } else {
            for (flow_count = 0; (word = strtok(NULL, " \n")); flow_count++) {
                char *actions = strchr(word, '=') + 1;

                flows[flow_count].id = strtoul(word, NULL, 10);
                flows[flow_count].actions = xmalloc(strlen(actions) + 4);
                flows[flow_count].size = unhex(actions, flows[flow_count].actions);
                flows[flow_count].packets = flows[flow_count].bytes = 0;
            }
            run(packet);
            for (unsigned int i = 0; i < flow_count; i++) {
                printf(" %u=%lu/%lu", flows[i].id, flows[i].packets, flows[i].bytes);
                free(flows[i].actions);
            }
        }
        putchar('\n');
        fflush(stdout);
    }
    return 0;
}
