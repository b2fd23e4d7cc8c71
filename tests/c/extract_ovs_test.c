/* SPDX-License-Identifier: Apache-2.0
 * link: packet/extract.c
 * sanitize: address
 *
 * Compares extract_key with Open vSwitch's own extraction: `ovs-ofctl parse-pcap` prints the flow of each frame of a file.  Every field
 * that it prints must be what our key says. */
#include <arpa/inet.h>
#include <stdio.h>
#include <unistd.h>

#include "packet/extract.h"
#include "frames.h"

#define RANDOM_FRAMES 12000
#define TOTAL_MAX 40000

static uint8_t all[TOTAL_MAX][FRAME_MAX];
static uint32_t sizes[TOTAL_MAX];
static uint32_t total;

static void keep(const uint8_t *frame, uint32_t size)
{
    if (total == TOTAL_MAX)
        abort();
    memcpy(all[total], frame, size);
    sizes[total++] = size;
}

static void make_frames(void)
{
    uint64_t state = 0x9e3779b97f4a7c15ull;
    uint8_t frame[FRAME_MAX];

    for (unsigned int i = 0; i < FRAMES; i++)
        for (uint32_t size = frame_get(i, frame); size >= EXTRACT_RUNT; size--)
            keep(frame, size);
    for (unsigned int i = 0; i < RANDOM_FRAMES; i++) {
        uint32_t size = frame_get(frame_random(&state) % FRAMES, frame);

        size = frame_spoil(&state, frame, size);
        keep(frame, size);
    }
}

static void write_pcap(const char *path)
{
    const uint32_t head[6] = { 0xa1b2c3d4, 2 | 4 << 16, 0, 0, 65535, 1 };
    FILE *f = fopen(path, "w");

    fwrite(head, sizeof head, 1, f);
    for (uint32_t i = 0; i < total; i++) {
        const uint32_t record[4] = { 0, 0, sizes[i], sizes[i] };

        fwrite(record, sizeof record, 1, f);
        fwrite(all[i], sizes[i], 1, f);
    }
    if (fclose(f))
        abort();
}

static void show_mac(char *to, const uint8_t *m)
{
    sprintf(to, "%02x:%02x:%02x:%02x:%02x:%02x", m[0], m[1], m[2], m[3], m[4], m[5]);
}

static void show_flags(char *to, uint32_t flags)
{
    static const char *const names[12] = { "fin", "syn", "rst", "psh", "ack", "urg", "ece", "cwr", "ns", "[200]", "[400]", "[800]" };

    *to = 0;
    for (int i = 0; i < 12; i++)
        if (flags >> i & 1)
            sprintf(to + strlen(to), "%s%s", *to ? "|" : "", names[i]);
    if (!*to)
        strcpy(to, "0");
}

/* `name` of a layer-2 or -3 field as Open vSwitch prints it; false if we do not know the name. */
static int show_low(const struct key *k, const char *name, char *to)
{
    const struct key_base *b = &k->base;
    uint32_t tci0 = ntohs(b->vlan[0].tci), tci1 = ntohs(b->vlan[1].tci);

    if (!strcmp(name, "in_port"))
        strcpy(to, "ANY");
    else if (!strcmp(name, "vlan_tci"))
        sprintf(to, "0x%04x", tci0);
    else if (!strcmp(name, "vlan_tci1"))
        sprintf(to, "0x%04x", tci1);
    else if (!strcmp(name, "dl_vlan"))
        sprintf(to, "%u", tci0 & 0xfff);
    else if (!strcmp(name, "dl_vlan1"))
        sprintf(to, "%u", tci1 & 0xfff);
    else if (!strcmp(name, "dl_vlan_pcp"))
        sprintf(to, "%u", tci0 >> 13);
    else if (!strcmp(name, "dl_vlan_pcp1"))
        sprintf(to, "%u", tci1 >> 13);
    else if (!strcmp(name, "dl_src"))
        show_mac(to, b->eth_src);
    else if (!strcmp(name, "dl_dst"))
        show_mac(to, b->eth_dst);
    else if (!strcmp(name, "dl_type"))
        sprintf(to, "0x%04x", b->eth_type ? ntohs(b->eth_type) : 0x5ff);
    else if (!strcmp(name, "nw_src") || !strcmp(name, "arp_spa"))
        inet_ntop(AF_INET, &b->ip4_src, to, 64);
    else if (!strcmp(name, "nw_dst") || !strcmp(name, "arp_tpa"))
        inet_ntop(AF_INET, &b->ip4_dst, to, 64);
    else if (!strcmp(name, "arp_op") || !strcmp(name, "nw_proto"))
        sprintf(to, "%u", b->nw_proto);
    else if (!strcmp(name, "arp_sha"))
        show_mac(to, k->wide.l3x.arp.sha);
    else if (!strcmp(name, "arp_tha"))
        show_mac(to, k->wide.l3x.arp.tha);
    else if (!strcmp(name, "nw_tos"))
        sprintf(to, "%u", b->nw_tos & 0xfc);
    else if (!strcmp(name, "nw_ecn"))
        sprintf(to, "%u", b->nw_tos & 3);
    else if (!strcmp(name, "nw_ttl"))
        sprintf(to, "%u", b->nw_ttl);
    else if (!strcmp(name, "nw_frag"))
        strcpy(to, b->nw_frag == 0 ? "no" : b->nw_frag == 1 ? "first" : "later");
    else
        return 0;
    return 1;
}

static int show_high(const struct key *k, const char *name, char *to)
{
    const struct key_base *b = &k->base;
    uint32_t lse = ntohl(k->wide.l3x.mpls[0]);

    if (!strcmp(name, "ipv6_src"))
        inet_ntop(AF_INET6, k->wide.ip6_src, to, 64);
    else if (!strcmp(name, "ipv6_dst"))
        inet_ntop(AF_INET6, k->wide.ip6_dst, to, 64);
    else if (!strcmp(name, "ipv6_label"))
        sprintf(to, "0x%05x", ntohl(k->wide.ip6_label));
    else if (!strcmp(name, "tp_src") || !strcmp(name, "icmp_type"))
        sprintf(to, "%u", ntohs(b->tp_src));
    else if (!strcmp(name, "tp_dst") || !strcmp(name, "icmp_code"))
        sprintf(to, "%u", ntohs(b->tp_dst));
    else if (!strcmp(name, "tcp_flags"))
        show_flags(to, ntohs(b->tcp_flags));
    else if (!strcmp(name, "nd_target"))
        inet_ntop(AF_INET6, k->wide.l3x.nd.target, to, 64);
    else if (!strcmp(name, "nd_sll"))
        show_mac(to, k->wide.l3x.nd.sll);
    else if (!strcmp(name, "nd_tll"))
        show_mac(to, k->wide.l3x.nd.tll);
    else if (!strcmp(name, "nd_reserved"))
        sprintf(to, "%u", ntohl(k->ct.nd_reserved));
    else if (!strcmp(name, "nd_options_type"))
        sprintf(to, "%u", k->ct.nd_options_type);
    else if (!strcmp(name, "mpls_label"))
        sprintf(to, "%u", lse >> 12);
    else if (!strcmp(name, "mpls_tc"))
        sprintf(to, "%u", lse >> 9 & 7);
    else if (!strcmp(name, "mpls_ttl"))
        sprintf(to, "%u", lse & 0xff);
    else if (!strcmp(name, "mpls_bos"))
        sprintf(to, "%u", lse >> 8 & 1);
    else if (!strcmp(name, "mpls_lse1"))
        sprintf(to, "%u", ntohl(k->wide.l3x.mpls[1]));
    else if (!strcmp(name, "mpls_lse2"))
        sprintf(to, "%u", ntohl(k->wide.l3x.mpls[2]));
    else if (!strcmp(name, "nsh_flags"))
        sprintf(to, "%u", k->wide.l3x.nsh.flags);
    else if (!strcmp(name, "nsh_ttl"))
        sprintf(to, "%u", k->wide.l3x.nsh.ttl);
    else if (!strcmp(name, "nsh_mdtype"))
        sprintf(to, "%u", k->wide.l3x.nsh.mdtype);
    else if (!strcmp(name, "nsh_np"))
        sprintf(to, "%u", k->wide.l3x.nsh.np);
    else if (!strcmp(name, "nsh_spi"))
        sprintf(to, "0x%x", ntohl(k->wide.l3x.nsh.path) >> 8);
    else if (!strcmp(name, "nsh_si"))
        sprintf(to, "%u", ntohl(k->wide.l3x.nsh.path) & 0xff);
    else if (!strncmp(name, "nsh_c", 5) && name[5] >= '1' && name[5] <= '4')
        sprintf(to, "0x%x", ntohl(k->wide.l3x.nsh.context[name[5] - '1']));
    else
        return 0;
    return 1;
}

/* Whether a bare word of the line, the protocol, is what the key says. */
static int word_fits(const struct key *k, const char *word)
{
    static const struct {
        const char *word;
        uint16_t type;
        int proto;
    } words[] = {
        { "ip", 0x0800, -1 },   { "tcp", 0x0800, 6 },     { "udp", 0x0800, 17 },   { "sctp", 0x0800, 132 },
        { "icmp", 0x0800, 1 },  { "ipv6", 0x86dd, -1 },   { "tcp6", 0x86dd, 6 },   { "udp6", 0x86dd, 17 },
        { "sctp6", 0x86dd, 132 }, { "icmp6", 0x86dd, 58 }, { "arp", 0x0806, -1 },   { "rarp", 0x8035, -1 },
        { "mpls", 0x8847, -1 }, { "mplsm", 0x8848, -1 },
    };

    for (unsigned int i = 0; i < sizeof words / sizeof words[0]; i++)
        if (!strcmp(words[i].word, word))
            return ntohs(k->base.eth_type) == words[i].type && (words[i].proto < 0 || k->base.nw_proto == words[i].proto);
    return 0;
}

/* Open vSwitch gives these protocols under the other IP version, and IGMP, ports that no attribute can carry (extract.c). */
static int ports_differ(const struct key *k)
{
    uint8_t proto = k->base.nw_proto;

    return proto == 2 || (proto == 1 && k->base.eth_type != htons(0x0800)) || (proto == 58 && k->base.eth_type != htons(0x86dd));
}

static int check_line(uint32_t i, char *line, uint32_t *fields)
{
    static const struct pkt_md md = { .in_port = 1 };
    struct key key;
    char ours[128], *save = NULL;

    extract_key(all[i], sizes[i], sizes[i], &md, NULL, &key, NULL);
    line[strcspn(line, "\n")] = 0;
    for (char *token = strtok_r(line, ",", &save); token; token = strtok_r(NULL, ",", &save)) {
        char *value = strchr(token, '=');

        ++*fields;
        if (!value) {
            if (!word_fits(&key, token)) {
                fprintf(stderr, "frame %u: Open vSwitch says %s, we do not\n", i, token);
                return 1;
            }
            continue;
        }
        *value++ = 0;
        if (ports_differ(&key) && (!strncmp(token, "tp_", 3) || !strncmp(token, "icmp_", 5)))
            continue;
        if (!show_low(&key, token, ours) && !show_high(&key, token, ours)) {
            fprintf(stderr, "frame %u: unknown field %s=%s\n", i, token, value);
            return 1;
        }
        if (strcmp(ours, value)) {
            fprintf(stderr, "frame %u: %s is %s here, %s in Open vSwitch\n", i, token, ours, value);
            return 1;
        }
    }
    return 0;
}

int main(void)
{
    char path[] = "/tmp/upcall-extract-XXXXXX", command[128];
    static char line[4096];
    uint32_t n = 0, fields = 0, wrong = 0;
    int fd = mkstemp(path);
    FILE *ovs;

    if (system("command -v ovs-ofctl >/dev/null")) {
        unlink(path);
        puts("ovs-ofctl (package openvswitch-common)");
        return 77;
    }
    close(fd);
    make_frames();
    write_pcap(path);
    snprintf(command, sizeof command, "ovs-ofctl parse-pcap %s", path);
    ovs = popen(command, "r");
    while (n < total && fgets(line, sizeof line, ovs)) {
        char copy[4096];

        strcpy(copy, line);
        if (check_line(n, line, &fields)) {
            fputs(copy, stderr);
            for (uint32_t j = 0; j < sizes[n]; j++)
                fprintf(stderr, "%02x", all[n][j]);
            fputc('\n', stderr);
            if (++wrong == 10)
                break;
        }
        n++;
    }
    pclose(ovs);
    unlink(path);
    printf("%u frames, %u fields compared, %u differ\n", n, fields, wrong);
    return wrong || n != total || fields < 10 * n;
}
