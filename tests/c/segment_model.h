/* SPDX-License-Identifier: Apache-2.0
 * segment_model.h - packets of TCP and UDP in encapsulations at random, built header by header:
 * every length from what is there, every checksum by its definition. */
#ifndef UPCALL_SEGMENT_MODEL_H
#define UPCALL_SEGMENT_MODEL_H

#include <netinet/in.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "model_sum.h"

#define LAYERS 12u

enum kind { ETHERNET, TAG, MPLS, PPPOE, IP4, IP6, GRE, VXLAN, TCP, UDP };

struct layer {
    enum kind kind;
    uint32_t size, at;
    uint8_t bytes[120];              /* What does not depend on the rest. */
    bool sums;                       /* GRE, VXLAN: has a checksum. */
};

struct stack {
    struct layer layers[LAYERS];
    uint32_t n, headers, l3;
};

static inline uint32_t below(uint32_t n)
{
    return (uint32_t)rand() % n;
}

static inline struct layer *push(struct stack *stack, enum kind kind, uint32_t size)
{
    struct layer *layer = &stack->layers[stack->n++];

    /* LAYERS are enough for all that is made here. */
    *layer = (struct layer){ .kind = kind, .size = size, .at = stack->headers };
    for (uint32_t i = 0; i < size; i++)
        layer->bytes[i] = (uint8_t)rand();
    stack->headers += size;
    return layer;
}

/* --- A stack of headers at random ------------------------------------------------------------- */

static inline void push_ip(struct stack *stack)
{
    const uint32_t more = below(4) ? 0 : 8 + 8 * below(3);
    struct layer *layer;

    if (below(2)) {
        layer = push(stack, IP4, 20 + more);
        layer->bytes[0] = (uint8_t)(0x45 + more / 4);
        model_put16(layer->bytes + 6, below(2) ? 0x4000 : 0);
        memset(layer->bytes + 20, 1, more);
        return;
    }
    layer = push(stack, IP6, 40 + more);
    layer->bytes[0] = 0x60;
    if (!below(4))                   /* An address that looks like another header. */
        memcpy(layer->bytes + 20, "\x45\x00\x00\x00", 4);
    if (more) {
        layer->bytes[41] = (uint8_t)(more / 8 - 1);
        memset(layer->bytes + 42, 0, more - 2);
    }
}

/* `opaque`: in what nobody looks into, where no header but IP's may have a length. */
static inline void push_link(struct stack *stack, bool opaque)
{
    push(stack, ETHERNET, 14);
    for (uint32_t i = below(3); i > 0; i--)
        push(stack, TAG, 4);
    if (!stack->l3)
        stack->l3 = stack->headers;
    if (!below(5))
        push(stack, MPLS, 4);
    else if (!below(5) && !opaque)
        push(stack, PPPOE, 8);
}

static inline void make_stack(struct stack *stack)
{
    struct layer *layer;

    *stack = (struct stack){ 0 };
    push_link(stack, false);
    push_ip(stack);
    switch (below(6)) {
    case 0:
        push_ip(stack);
        break;
    case 1:
        layer = push(stack, GRE, 4 + 4 * below(4));
        layer->sums = layer->size == 16 || (layer->size > 4 && below(2));
        if (below(2))
            push_link(stack, false);
        push_ip(stack);
        break;
    case 2:
        layer = push(stack, VXLAN, 16);
        layer->sums = below(2);
        push_link(stack, true);
        push_ip(stack);
        break;
    default:
        break;
    }
    if (below(4)) {
        layer = push(stack, TCP, 20 + 4 * below(11));
        layer->bytes[12] = (uint8_t)(layer->size / 4 << 4);
    } else {
        push(stack, UDP, 8);
    }
}

/* --- A packet of it --------------------------------------------------------------------------- */

/* EtherType, or protocol of IP, that leads to a layer. */
static inline uint32_t ether_type(const struct layer *next)
{
    switch (next->kind) {
    case TAG: return 0x8100;
    case MPLS: return 0x8847;
    case PPPOE: return 0x8864;
    case IP6: return 0x86dd;
    case ETHERNET: return 0x6558;
    default: return 0x0800;
    }
}

static inline uint8_t protocol(const struct layer *next)
{
    switch (next->kind) {
    case TCP: return IPPROTO_TCP;
    case GRE: return IPPROTO_GRE;
    case IP4: return IPPROTO_IPIP;
    case IP6: return IPPROTO_IPV6;
    default: return IPPROTO_UDP;
    }
}

/* The bytes that do not depend on the payload. */
static inline void put_types(const struct stack *stack, uint8_t *frame)
{
    for (uint32_t i = 0; i < stack->n; i++) {
        const struct layer *layer = &stack->layers[i], *next = layer + 1;
        uint8_t *at = frame + layer->at;

        memcpy(at, layer->bytes, layer->size);
        switch (layer->kind) {
        case ETHERNET:
            model_put16(at + 12, ether_type(next));
            break;
        case TAG:
            model_put16(at + 2, ether_type(next));
            break;
        case MPLS:
            at[2] |= 1;
            break;
        case PPPOE:
            model_put16(at + 6, next->kind == IP6 ? 0x57 : 0x21);
            break;
        case IP4:
            at[9] = protocol(next);
            break;
        case IP6:
            at[6] = layer->size > 40 ? IPPROTO_DSTOPTS : protocol(next);
            at[40] = layer->size > 40 ? protocol(next) : at[40];
            break;
        case GRE:
            model_put16(at, (layer->sums ? 0x8000u : 0) | (layer->size - 4 - 4 * layer->sums >= 4 ? 0x2000u : 0) |
                                (layer->size - 4 - 4 * layer->sums >= 8 ? 0x1000u : 0));
            model_put16(at + 2, ether_type(next));
            break;
        default:
            break;
        }
    }
}

static inline uint16_t pseudo(const struct stack *stack, uint32_t i, const uint8_t *frame, uint32_t size)
{
    const struct layer *ip = &stack->layers[i - 1];
    const uint32_t sum = (size >> 16) + (size & 0xffff) + (stack->layers[i].kind == TCP ? IPPROTO_TCP : IPPROTO_UDP);

    return ip->kind == IP6 ? model_sum(frame + ip->at + 8, 32, sum) : model_sum(frame + ip->at + 12, 8, sum);
}

static inline void put_sum(uint8_t *at, uint32_t sum, bool udp)
{
    sum = ~sum & 0xffff;
    model_put16(at, !sum && udp ? 0xffff : sum);
}

/* One of a transport header, or of VXLAN's UDP.  `partial`: the pseudo header's alone. */
static inline void put_transport(const struct stack *stack, uint32_t i, uint8_t *frame, uint32_t end, bool partial)
{
    const struct layer *layer = &stack->layers[i];
    uint8_t *at = frame + layer->at, *field = at + (layer->kind == TCP ? 16 : 6);
    uint32_t sum = pseudo(stack, i, frame, end - layer->at);

    model_put16(field, 0);
    if (partial)
        model_put16(field, sum);
    else
        put_sum(field, model_sum(at, end - layer->at, sum), layer->kind != TCP);
}

struct packet {
    uint32_t first, size;            /* Of the payload. */
    uint32_t before;                 /* Segments in front of it. */
    bool last, partial;
};

/* Builds a packet, lengths and checksums from the inside out; returns its size.  What was left
 * partial is completed for the checksums outside of it, which count on that. */
static inline uint32_t build(const struct stack *stack, const uint8_t *payload, const struct packet *packet, uint8_t *frame)
{
    const uint32_t end = stack->headers + packet->size, last = stack->n - 1;

    put_types(stack, frame);
    memcpy(frame + stack->headers, payload + packet->first, packet->size);
    for (uint32_t i = stack->n; i-- > 0;) {
        const struct layer *layer = &stack->layers[i];
        uint8_t *at = frame + layer->at;
        const uint32_t size = end - layer->at;
        uint32_t word;

        switch (layer->kind) {
        case TCP:
            word = ((uint32_t)at[4] << 24 | (uint32_t)(at[5] << 16 | at[6] << 8 | at[7])) + packet->first;
            model_put16(at + 4, word >> 16);
            model_put16(at + 6, word & 0xffff);
            at[13] &= (uint8_t)~((packet->first ? 0x80 : 0) | (packet->last ? 0 : 0x09));
            break;
        case UDP: case VXLAN:
            model_put16(at + 4, size & 0xffff);
            break;
        case PPPOE:
            model_put16(at + 4, (size - 6) & 0xffff);
            break;
        case IP4:
            model_put16(at + 2, size > 0xffff ? 0 : size);
            model_put16(at + 4, ((uint32_t)(at[4] << 8 | at[5]) + packet->before) & 0xffff);
            model_put16(at + 10, 0);
            put_sum(at + 10, model_sum(at, layer->size, 0), false);
            break;
        case IP6:
            model_put16(at + 4, size - 40 > 0xffff ? 0 : size - 40);
            break;
        default:
            break;
        }
    }
    put_transport(stack, last, frame, end, false);
    for (uint32_t i = last; i-- > 0;) {
        uint8_t *at = frame + stack->layers[i].at;

        if (stack->layers[i].kind == VXLAN && stack->layers[i].sums)
            put_transport(stack, i, frame, end, false);
        else if (stack->layers[i].kind == VXLAN)
            model_put16(at + 6, 0);
        if (stack->layers[i].kind == GRE && stack->layers[i].sums) {
            memset(at + 4, 0, 2);
            put_sum(at + 4, model_sum(at, end - stack->layers[i].at, 0), false);
        }
    }
    if (packet->partial)
        put_transport(stack, last, frame, end, true);
    return end;
}

#endif
