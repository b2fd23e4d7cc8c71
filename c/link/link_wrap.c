/* SPDX-License-Identifier: Apache-2.0 */
#include "link/link_wrap.h"

#include <linux/bpf.h>
#include <stddef.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

/* Linux >= 6.6, missing in older headers. */
#define TCX_EGRESS 47            /* BPF_TCX_EGRESS. */
#define NEXT (-1)                /* TCX_NEXT. */
#define DROP 2                   /* TCX_DROP. */

#ifndef SO_COOKIE
#define SO_COOKIE 57
#endif

#define ETHERNET 14
#define STACK (-(int)LINK_WRAP_MOST)
#define TO_NEXT (-1)             /* Where jumps go that are not known yet. */
#define TO_DROP (-2)
#define ROOM 128u

_Static_assert(LINK_WRAP_MOST % 8 == 0, "the stack is cleared by words");

/* A struct bpf_insn without bit fields, as it is where the lowest byte comes first. */
struct instruction {
    uint8_t code, registers;
    int16_t off;
    int32_t imm;
};
_Static_assert(sizeof(struct instruction) == sizeof(struct bpf_insn), "it is one");

/* A program in the making. */
struct program {
    uint32_t n;
    struct instruction code[ROOM];
};

static void put(struct program *p, uint8_t code, uint8_t dst, uint8_t src, int off, int imm)
{
    p->code[p->n++] = (struct instruction){ code, (uint8_t)(dst | src << 4), (int16_t)off, imm };
}

static void move(struct program *p, uint8_t dst, uint8_t src)
{
    put(p, BPF_ALU64 | BPF_MOV | BPF_X, dst, src, 0, 0);
}

static void set(struct program *p, uint8_t dst, int value)
{
    put(p, BPF_ALU64 | BPF_MOV | BPF_K, dst, 0, 0, value);
}

static void set_wide(struct program *p, uint8_t dst, uint64_t value)
{
    put(p, BPF_LD | BPF_IMM | BPF_DW, dst, 0, 0, (int)(uint32_t)value);
    put(p, 0, 0, 0, 0, (int)(uint32_t)(value >> 32));
}

static void jump(struct program *p, uint8_t op, uint8_t dst, int value, int to)
{
    put(p, (uint8_t)(BPF_JMP | op | BPF_K), dst, 0, to, value);
}

/* Calls a helper; what it says other than 0 ends all. */
static void call(struct program *p, int helper)
{
    put(p, BPF_JMP | BPF_CALL, 0, 0, 0, helper);
    jump(p, BPF_JNE, BPF_REG_0, 0, TO_DROP);
}

/* R1 to R3: the packet, byte 0, the copy of its headers; R4: their size, in R8. */
static void headers(struct program *p)
{
    move(p, BPF_REG_1, BPF_REG_6);
    set(p, BPF_REG_2, 0);
    move(p, BPF_REG_3, BPF_REG_10);
    put(p, BPF_ALU64 | BPF_ADD | BPF_K, BPF_REG_3, 0, 0, STACK);
    move(p, BPF_REG_4, BPF_REG_8);
}

/* bpf_skb_adjust_room() by R2 bytes behind Ethernet; its flags are in R4. */
static void adjust(struct program *p)
{
    move(p, BPF_REG_1, BPF_REG_6);
    set(p, BPF_REG_3, BPF_ADJ_ROOM_MAC);
    call(p, BPF_FUNC_skb_adjust_room);
}

/* A bit of the mark in R7 has one of two flags set in R4. */
static void choose(struct program *p, int bit, int flag, int other)
{
    put(p, BPF_JMP | BPF_JSET | BPF_K, BPF_REG_7, 0, 2, bit);
    put(p, BPF_ALU64 | BPF_OR | BPF_K, BPF_REG_4, 0, 0, other);
    put(p, BPF_JMP | BPF_JA, 0, 0, 1, 0);
    put(p, BPF_ALU64 | BPF_OR | BPF_K, BPF_REG_4, 0, 0, flag);
}

static void write_program(struct program *p, uint64_t cookie)
{
    const uint64_t inside = BPF_F_ADJ_ROOM_ENCAP_L2(ETHERNET) | BPF_F_ADJ_ROOM_ENCAP_L2_ETH | BPF_F_ADJ_ROOM_FIXED_GSO;

    /* R6: the packet; R7: its mark; R8: bytes in front of the IP header inside. */
    move(p, BPF_REG_6, BPF_REG_1);
    put(p, BPF_LDX | BPF_MEM | BPF_W, BPF_REG_7, BPF_REG_6, offsetof(struct __sk_buff, mark), 0);
    /* A flow may set any mark.  Of all there are, few look like this (link_wrap_mark()), and of the
     * packets that have one, those that are to be cut. */
    move(p, BPF_REG_8, BPF_REG_7);
    put(p, BPF_ALU64 | BPF_RSH | BPF_K, BPF_REG_8, 0, 0, 9);
    put(p, BPF_ALU64 | BPF_AND | BPF_K, BPF_REG_8, 0, 0, ~(0x30000 >> 9));
    jump(p, BPF_JNE, BPF_REG_8, 0x9d000000u >> 9, TO_NEXT);
    put(p, BPF_LDX | BPF_MEM | BPF_W, BPF_REG_8, BPF_REG_6, offsetof(struct __sk_buff, gso_size), 0);
    jump(p, BPF_JEQ, BPF_REG_8, 0, TO_NEXT);
    put(p, BPF_JMP | BPF_CALL, 0, 0, 0, BPF_FUNC_get_socket_cookie); /* R1 is the packet still. */
    set_wide(p, BPF_REG_1, cookie);
    put(p, BPF_JMP | BPF_JNE | BPF_X, BPF_REG_0, BPF_REG_1, TO_NEXT, 0);
    move(p, BPF_REG_8, BPF_REG_7);
    put(p, BPF_ALU64 | BPF_AND | BPF_K, BPF_REG_8, 0, 0, 0x1ff);
    jump(p, BPF_JLT, BPF_REG_8, LINK_WRAP_LEAST, TO_NEXT);
    jump(p, BPF_JGT, BPF_REG_8, LINK_WRAP_MOST, TO_NEXT);
    for (int at = STACK; at < 0; at += 8)
        put(p, BPF_ST | BPF_MEM | BPF_DW, BPF_REG_10, 0, at, 0);
    headers(p);
    call(p, BPF_FUNC_skb_load_bytes);
    set(p, BPF_REG_2, ETHERNET);
    put(p, BPF_ALU64 | BPF_SUB | BPF_X, BPF_REG_2, BPF_REG_8, 0, 0);
    set(p, BPF_REG_4, BPF_F_ADJ_ROOM_FIXED_GSO);
    adjust(p);
    move(p, BPF_REG_2, BPF_REG_8);
    put(p, BPF_ALU64 | BPF_SUB | BPF_K, BPF_REG_2, 0, 0, ETHERNET);
    set_wide(p, BPF_REG_4, inside);
    choose(p, 0x10000, BPF_F_ADJ_ROOM_ENCAP_L3_IPV6, BPF_F_ADJ_ROOM_ENCAP_L3_IPV4);
    choose(p, 0x20000, BPF_F_ADJ_ROOM_ENCAP_L4_GRE, BPF_F_ADJ_ROOM_ENCAP_L4_UDP);
    adjust(p);
    headers(p);
    set(p, BPF_REG_5, 0);
    call(p, BPF_FUNC_skb_store_bytes);
    set(p, BPF_REG_1, 0);
    put(p, BPF_STX | BPF_MEM | BPF_W, BPF_REG_6, BPF_REG_1, offsetof(struct __sk_buff, mark), 0);
    const uint32_t next = p->n;
    set(p, BPF_REG_0, NEXT);
    put(p, BPF_JMP | BPF_EXIT, 0, 0, 0, 0);
    const uint32_t drop = p->n;
    set(p, BPF_REG_0, DROP);
    put(p, BPF_JMP | BPF_EXIT, 0, 0, 0, 0);
    for (uint32_t i = 0; i < p->n; i++)
        if (BPF_CLASS(p->code[i].code) == BPF_JMP && p->code[i].off < 0)
            p->code[i].off = (int16_t)((p->code[i].off == TO_NEXT ? next : drop) - i - 1);
}

static int bpf(int command, union bpf_attr *attr)
{
    return (int)syscall(SYS_bpf, command, attr, sizeof *attr);
}

int link_wrap(int fd, int ifindex)
{
    struct program program = { 0 };
    union bpf_attr attr;
    uint64_t cookie;
    socklen_t size = sizeof cookie;
    int loaded, attached;

    if (getsockopt(fd, SOL_SOCKET, SO_COOKIE, &cookie, &size))
        return -1;
    write_program(&program, cookie);
    memset(&attr, 0, sizeof attr);
    attr.prog_type = BPF_PROG_TYPE_SCHED_CLS;
    attr.insns = (uint64_t)(uintptr_t)program.code;
    attr.insn_cnt = program.n;
    attr.license = (uint64_t)(uintptr_t)"Apache-2.0";
    memcpy(attr.prog_name, "upcall_wrap", sizeof "upcall_wrap");
    attr.expected_attach_type = TCX_EGRESS;
    loaded = bpf(BPF_PROG_LOAD, &attr);
    if (loaded < 0)
        return -1;
    memset(&attr, 0, sizeof attr);
    attr.link_create.prog_fd = (uint32_t)loaded;
    attr.link_create.target_ifindex = (uint32_t)ifindex;
    attr.link_create.attach_type = TCX_EGRESS;
    attached = bpf(BPF_LINK_CREATE, &attr);
    close(loaded);
    return attached;
}
