/* SPDX-License-Identifier: Apache-2.0
 * What the program on a device's way out does: it has Linux cut TCP inside a tunnel, and lets all
 * else pass as it is, whatever its mark.
 *
 * link: link/link_wrap.c */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <linux/ethtool.h>
#include <linux/if_packet.h>
#include <linux/sockios.h>
#include <linux/virtio_net.h>
#include <net/if.h>
#include <poll.h>
#include <sched.h>
#include <stdbool.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "check.h"
#include "link/link_wrap.h"

#define ALL 3                    /* ETH_P_ALL. */
#define INNER 64u                /* Ethernet, IP, UDP, VXLAN, Ethernet. */
#define HEADERS (INNER + 40)
#define PAYLOAD 2500u
#define SEGMENT 1000u

static int out, in, index_of_lo;

static void ask(int request, void *data, short flags)
{
    struct ifreq ifr = { .ifr_name = "lo" };
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

    if (request == SIOCETHTOOL)
        ifr.ifr_data = data;
    else
        ifr.ifr_flags = flags;
    CHECK(fd >= 0 && !ioctl(fd, (unsigned long)request, &ifr));
    close(fd);
}

/* A loopback device of our own, which cuts what it sends.  False: this process may not. */
static bool begin(void)
{
    struct sockaddr_ll address = { .sll_family = AF_PACKET, .sll_protocol = htons(ALL) };
    struct ethtool_value off = { .cmd = ETHTOOL_STSO }, off_too = { .cmd = ETHTOOL_SGSO };
    const int one = 1;

    if (unshare(CLONE_NEWNET))
        return false;
    ask(SIOCSIFFLAGS, NULL, IFF_UP);
    ask(SIOCETHTOOL, &off, 0);
    ask(SIOCETHTOOL, &off_too, 0);
    address.sll_ifindex = index_of_lo = (int)if_nametoindex("lo");
    out = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, htons(ALL));
    in = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, htons(ALL));
    CHECK(out >= 0 && in >= 0 && !bind(out, (struct sockaddr *)&address, sizeof address));
    CHECK(!bind(in, (struct sockaddr *)&address, sizeof address) && !setsockopt(out, SOL_PACKET, PACKET_VNET_HDR, &one, sizeof one));
    return true;
}

/* What arrives next; 0: nothing. */
static ssize_t arrived(uint8_t *frame, size_t room)
{
    struct pollfd fd = { .fd = in, .events = POLLIN };

    while (poll(&fd, 1, 100) > 0) {
        struct sockaddr_ll from;
        socklen_t size = sizeof from;
        ssize_t got = recvfrom(in, frame, room, 0, (struct sockaddr *)&from, &size);

        if (got > 0 && from.sll_pkttype != PACKET_OUTGOING)
            return got;
    }
    return 0;
}

static ssize_t send_marked(const struct virtio_net_hdr *header, const uint8_t *frame, size_t size, uint32_t mark)
{
    struct iovec parts[2] = { { (void *)(uintptr_t)header, sizeof *header }, { (void *)(uintptr_t)frame, size } };
    struct msghdr message = { .msg_iov = parts, .msg_iovlen = 2 };

    CHECK(!setsockopt(out, SOL_SOCKET, SO_MARK, &mark, sizeof mark));
    return sendmsg(out, &message, 0);
}

static void put16(uint8_t *at, uint32_t x)
{
    at[0] = (uint8_t)(x >> 8);
    at[1] = (uint8_t)x;
}

static uint32_t be16(const uint8_t *at)
{
    return (uint32_t)at[0] << 8 | at[1];
}

/* IPv4 of so many bytes. */
static void put_ip(uint8_t *at, uint8_t proto, uint32_t size)
{
    at[0] = 0x45;
    put16(at + 2, size);
    at[8] = 64;
    at[9] = proto;
}

/* Any mark is a flow's to set. */
static void test_marks(void)
{
    static const uint32_t marks[] = { 0, 1, 0x9d000000, 0x9d000001, 0x9d000040, 0x9d000140, 0x9d010040, 0x9dffffff, 0xffffffff };
    const struct virtio_net_hdr header = { 0 };
    uint8_t frame[100] = { 0 }, got[200];

    put16(frame + 12, 0x0806);
    for (uint32_t i = 0; i < sizeof marks / sizeof marks[0]; i++) {
        frame[50] = (uint8_t)i;
        CHECK(send_marked(&header, frame, sizeof frame, marks[i]) == (ssize_t)(sizeof header + sizeof frame));
        CHECK(arrived(got, sizeof got) == sizeof frame && !memcmp(got, frame, sizeof frame));
    }
}

static void test_cut(void)
{
    const struct virtio_net_hdr header = { .flags = VIRTIO_NET_HDR_F_NEEDS_CSUM, .gso_type = VIRTIO_NET_HDR_GSO_TCPV4, .hdr_len = HEADERS,
                                           .gso_size = SEGMENT, .csum_start = INNER + 20, .csum_offset = 16 };
    static uint8_t frame[HEADERS + PAYLOAD], got[4096];
    uint32_t seen = 0;

    put16(frame + 12, 0x0800);
    put_ip(frame + 14, 17, sizeof frame - 14);
    put16(frame + 34, 40000);
    put16(frame + 36, 4789);
    put16(frame + 38, sizeof frame - 34);
    frame[42] = 8;
    put16(frame + INNER - 2, 0x0800);
    put_ip(frame + INNER, 6, sizeof frame - INNER);
    frame[INNER + 20 + 12] = 0x50;
    for (uint32_t i = 0; i < PAYLOAD; i++)
        frame[HEADERS + i] = (uint8_t)(i * 7);
    CHECK(send_marked(&header, frame, sizeof frame, link_wrap_mark(INNER, false, false)) == (ssize_t)(sizeof header + sizeof frame));
    while (seen < PAYLOAD) {
        const uint32_t part = PAYLOAD - seen < SEGMENT ? PAYLOAD - seen : SEGMENT;
        const ssize_t size = arrived(got, sizeof got);

        CHECK(size == (ssize_t)(HEADERS + part) && !memcmp(got + HEADERS, frame + HEADERS + seen, part));
        /* IP and UDP outside, IP inside. */
        CHECK(be16(got + 16) == HEADERS + part - 14 && be16(got + 38) == HEADERS + part - 34);
        CHECK(be16(got + INNER + 2) == 40 + part);
        seen += part;
    }
}

int main(void)
{
    int attached;

    if (!begin()) {
        puts("CAP_SYS_ADMIN");
        return 77;
    }
    attached = link_wrap(out, index_of_lo);
    if (attached < 0) {
        puts("links of TCX (Linux 6.6) and CAP_BPF");
        return 78;
    }
    test_marks();
    test_cut();
    close(attached);
    return failures != 0;
}
