/* SPDX-License-Identifier: Apache-2.0
 * ct_ftp.c - reads what FTP announces, and writes translated addresses into it (ct_alg_int.h).
 *
 * What is accepted and refused follows Open vSwitch 3.1.0 where a command is whole: of a payload
 * it reads 128 bytes but the last one, finds addresses behind the first blank whatever stands
 * before, and refuses what names another host.  A refused command makes its packet invalid.
 * Beyond 3.1.0, as later versions and the kernel: EPRT and EPSV over IPv4 as well, a command is
 * the client's and an answer the server's, and it is read only where a line begins. */
#include <arpa/inet.h>
#include <rte_mbuf.h>
#include <strings.h>

#include "ct/ct_alg_int.h"
#include "packet/csum.h"
#include "packet/partial.h"
#include "packet/pkt.h"

#define TEXT_MAX 128u

/* A command or an answer, and where in the payload it says what. */
struct announcement {
    bool extended;                   /* EPRT and 229 write addresses and ports in another way. */
    bool has_address;
    bool cut;                        /* It goes on in the next packet. */
    uint8_t addr[16];
    uint16_t port;                   /* be16. */
    uint32_t addr_at, addr_end, port_at, port_end;
};

struct text {
    char bytes[TEXT_MAX];            /* Ends with a NUL. */
    uint32_t size;
};

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

/* A number of digits from `*at` on; false: there is none, or it is larger. */
static bool read_number(const struct text *t, uint32_t *at, uint32_t max, uint32_t *number)
{
    const uint32_t first = *at;

    for (*number = 0; is_digit(t->bytes[*at]); ++*at) {
        *number = *number * 10 + (uint32_t)(t->bytes[*at] - '0');
        if (*number > max)
            return false;
    }
    return *at > first;
}

static void skip_to_digit(const struct text *t, uint32_t *at)
{
    while (t->bytes[*at] && !is_digit(t->bytes[*at]))
        ++*at;
}

/* The text of an address, with points where commas are. */
static bool read_address(const struct text *t, int family, bool commas, struct announcement *a)
{
    char address[TEXT_MAX];
    uint32_t n = 0;

    for (uint32_t i = a->addr_at; i < a->addr_end; i++)
        address[n++] = commas && t->bytes[i] == ',' ? '.' : t->bytes[i];
    address[n] = 0;
    a->has_address = true;
    return inet_pton(family, address, a->addr) == 1;
}

/* "PORT 10,1,1,1,20,10" and "227 ... (10,1,1,1,20,10)". */
static bool read_commas(const struct text *t, uint32_t at, struct announcement *a)
{
    uint32_t high, low, commas = 0;

    while (t->bytes[at] && t->bytes[at] != ' ')
        at++;
    skip_to_digit(t, &at);
    a->addr_at = at;
    for (; t->bytes[at] && commas < 4; at++) {
        commas += t->bytes[at] == ',';
        a->addr_end = at;
    }
    a->port_at = at;
    if (commas != 4 || !read_address(t, AF_INET, true, a) || !read_number(t, &at, 255, &high) || !t->bytes[at])
        return false;
    at++;
    if (!read_number(t, &at, 255, &low))
        return false;
    a->port = CT_BE16(high << 8 | low);
    a->port_end = at;
    a->cut = !t->bytes[at];
    return true;
}

/* "EPRT |2|fd00::1|5130|". */
static bool read_eprt(const struct text *t, uint8_t family, struct announcement *a)
{
    uint32_t at = 4, number;
    char bar;

    a->extended = true;
    skip_to_digit(t, &at);
    if (!read_number(t, &at, 9, &number) || number != (family == 4 ? 1u : 2u) || !t->bytes[at])
        return false;
    bar = t->bytes[at++];
    a->addr_at = at;
    while (t->bytes[at] && t->bytes[at] != bar)
        at++;
    a->addr_end = at;
    if (!t->bytes[at] || !read_address(t, family == 4 ? AF_INET : AF_INET6, false, a))
        return false;
    a->port_at = ++at;
    if (!read_number(t, &at, UINT16_MAX, &number))
        return false;
    a->port = CT_BE16(number);
    a->port_end = at;
    a->cut = !t->bytes[at];
    return true;
}

/* "229 ... (|||5130|)". */
static bool read_epsv(const struct text *t, struct announcement *a)
{
    const char *bracket = strchr(t->bytes, '(');
    uint32_t at, number;

    if (!bracket)
        return false;
    at = (uint32_t)(bracket - t->bytes) + 1;
    /* Three of a kind, no digits; at the text's end it is none of them. */
    if (!t->bytes[at] || is_digit(t->bytes[at]) || t->bytes[at + 1] != t->bytes[at] || t->bytes[at + 2] != t->bytes[at])
        return false;
    at += 3;
    a->extended = true;
    a->port_at = a->addr_at = a->addr_end = at;
    if (!read_number(t, &at, UINT16_MAX, &number))
        return false;
    a->port = CT_BE16(number);
    a->port_end = at;
    a->cut = !t->bytes[at];
    return true;
}

enum reading { READ_NOTHING, READ_BAD, READ_GOOD };

static enum reading read_text(const struct text *t, uint8_t family, bool from_server, struct announcement *a)
{
    bool good;

    if (from_server && !strncmp(t->bytes, "229", 3))
        good = read_epsv(t, a);
    else if (!from_server && !strncasecmp(t->bytes, "EPRT", 4))
        good = read_eprt(t, family, a);
    else if (family == 4 && (from_server ? !strncmp(t->bytes, "227", 3) : !strncasecmp(t->bytes, "PORT", 4)))
        good = read_commas(t, from_server ? 3 : 4, a);
    else
        return READ_NOTHING;
    return good ? READ_GOOD : READ_BAD;
}

/* Whether the address is that of who says it, as it is on either side of a translation. */
static bool is_own(const struct announcement *a, const struct ct_conn *conn, bool from_server)
{
    const uint32_t size = conn->key.family == 4 ? 4 : 16;

    if (!a->has_address)
        return true;
    return !memcmp(a->addr, from_server ? conn->key.dst : conn->key.src, size)
           || !memcmp(a->addr, from_server ? conn->reply.src : conn->reply.dst, size);
}

/* Writes the address and the port that the other side knows in place of what is there; what
 * stands between them, and a port that stays, is left as it was. */
static uint32_t write_text(const struct text *t, const struct announcement *a, const uint8_t addr[16], uint8_t family, uint16_t seen, char out[TEXT_MAX])
{
    const uint32_t port = CT_BE16(seen);
    uint32_t n = 0, between = a->port_at - a->addr_end;

    if (a->has_address && inet_ntop(family == 4 ? AF_INET : AF_INET6, addr, out, TEXT_MAX / 2))
        n = (uint32_t)strlen(out);
    for (uint32_t i = 0; i < n && !a->extended; i++)
        out[i] = out[i] == '.' ? ',' : out[i];
    memcpy(out + n, t->bytes + a->addr_end, between);
    n += between;
    if (seen == a->port) {
        memcpy(out + n, t->bytes + a->port_at, a->port_end - a->port_at);
        return n + a->port_end - a->port_at;
    }
    if (!a->extended) {
        uint32_t digits = 0;
        char text[8];

        for (uint32_t part = port >> 8, i = 0; i < 2; part = port & 0xff, i++) {
            do
                text[digits++] = (char)('0' + part % 10);
            while (part /= 10);
            while (digits)
                out[n++] = text[--digits];
            if (!i)
                out[n++] = ',';
        }
        return n;
    }
    for (uint32_t unit = 10000; unit; unit /= 10) {
        if (port >= unit || unit == 1)
            out[n++] = (char)('0' + port / unit % 10);
    }
    return n;
}

/* All of TCP's checksum, whose length has changed. */
static void sum_tcp(const struct ct_packet *p, uint8_t family)
{
    uint8_t *field = p->data + p->l4 + 16;
    const uint8_t *ip = p->data + p->l3;
    uint64_t sum = csum_sum(ip + (family == 4 ? 12 : 8), family == 4 ? 8 : 32) + CT_BE16(p->l4_size) + CT_BE16(CT_PROTO_TCP);
    uint16_t value = 0;

    if (partial_is_at(p->m, p->l4)) {
        value = csum_fold(sum);
    } else {
        memcpy(field, &value, 2);
        value = (uint16_t)~csum_fold(sum + csum_sum(p->data + p->l4, p->l4_size));
    }
    memcpy(field, &value, 2);
}

static void set_length(const struct ct_packet *p, uint8_t family, int32_t change)
{
    uint8_t *ip = p->data + p->l3, *field = ip + (family == 4 ? 2 : 4);
    uint16_t before, after;

    memcpy(&before, field, 2);
    after = CT_BE16(CT_BE16(before) + change);
    memcpy(field, &after, 2);
    if (family == 4)
        csum_update(ip + 10, csum_change16(before, after));
}

/* Replaces bytes of the payload; false: there is no room. */
static bool replace(struct ct_packet *p, uint8_t family, uint32_t at, uint32_t size, const char *text, uint32_t text_size)
{
    struct rte_mbuf *m = p->m;
    const uint32_t end = (uint32_t)p->l4 + p->l4_size, padding = m->pkt_len - end;
    const int32_t change = (int32_t)text_size - (int32_t)size;

    if (m->nb_segs != 1 || rte_pktmbuf_tailroom(m) + padding < text_size || end + text_size > UINT16_MAX)
        return false;
    /* Padding goes: what is behind it is the packet's end as IP has it. */
    memmove(p->data + at + text_size, p->data + at + size, end - at - size);
    memcpy(p->data + at, text, text_size);
    m->pkt_len = end + (uint32_t)change;
    m->data_len = (uint16_t)m->pkt_len;
    partial_grown(m, change - (int32_t)padding);
    p->l4_size = (uint16_t)(p->l4_size + change);
    set_length(p, family, change);
    sum_tcp(p, family);
    return true;
}

/* The address that the other side knows, in place of the one that is there. */
static void rewrite(struct ct_burst *b, struct ct_packet *p, struct ct_alg *alg, const struct ct_conn *conn, const struct text *t,
                    const struct announcement *a, uint32_t payload, uint16_t seen)
{
    const uint8_t family = conn->key.family, *addr = p->reply ? conn->key.dst : conn->reply.dst;
    const uint32_t size = a->port_end - a->addr_at;
    char text[TEXT_MAX + 64];
    uint32_t text_size, seq;

    if (seen == a->port && (!a->has_address || !memcmp(a->addr, addr, family == 4 ? 4 : 16)))
        return;
    memcpy(&seq, p->data + p->l4 + 4, sizeof seq);
    text_size = write_text(t, a, addr, family, seen, text);
    if (!replace(p, family, payload + a->addr_at, size, text, text_size))
        ct_counted(b->thread, CT_COUNT_helper_no_room);
    else if (text_size != size)
        ct_seq_set(&alg->skew[p->reply], CT_BE32(seq), (int32_t)text_size - (int32_t)size);
}

/* Whether a payload begins a line; and remembers whether its end ends one. */
static bool begins_line(struct ct_alg *alg, const struct ct_packet *p, uint32_t payload, uint32_t size)
{
    const uint8_t side = p->reply;
    const uint32_t last = payload + size - 1;
    uint32_t seq;
    bool begins;

    memcpy(&seq, p->data + p->l4 + 4, sizeof seq);
    seq = CT_BE32(seq);
    begins = !alg->cut_known[side] || alg->cut[side] != seq;
    /* What is in another segment is taken for a line's end: no line is as long. */
    alg->cut_known[side] = last < p->m->data_len && p->data[last] != '\n';
    alg->cut[side] = seq + size;
    return begins;
}

void ct_ftp_packet(struct ct_burst *b, struct ct_packet *p, struct ct_alg *alg, struct ct_conn *conn)
{
    const uint32_t payload = p->l4 + (p->data[p->l4 + 12] >> 4) * 4u, end = (uint32_t)p->l4 + p->l4_size;
    const uint32_t here = p->m->data_len < end ? p->m->data_len : end;
    struct announcement a = { .cut = false };
    struct text t = { .size = 0 };
    enum reading reading;
    uint16_t seen;

    if (payload >= here || !begins_line(alg, p, payload, end - payload))
        return;
    t.size = here - payload < TEXT_MAX ? here - payload : TEXT_MAX;
    memcpy(t.bytes, p->data + payload, --t.size); /* And a NUL, which is there. */
    reading = read_text(&t, conn->key.family, p->reply, &a);
    if (reading == READ_NOTHING || a.cut)
        return;
    if (reading == READ_BAD || !is_own(&a, conn, p->reply)) {
        ct_counted(b->thread, CT_COUNT_helper_refused);
        pkt_of(p->m)->md.ct_state |= CT_STATE_INVALID;
        return;
    }
    seen = a.port;
    if (ct_expect_add(b, alg, conn, !p->reply, a.port, &seen) && p->translated)
        rewrite(b, p, alg, conn, &t, &a, payload, seen);
}
