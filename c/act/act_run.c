/* SPDX-License-Identifier: Apache-2.0
 * act_run.c - runs programs on bursts (act.h).
 *
 * Each operation is done on all packets before the next one; `struct run` is what one list works
 * with.  Branches (clone, sample, check_pkt_len, dec_ttl) run the nested list with a `struct run`
 * of its own: on copies, or on the packets themselves if nothing follows. */
#include "base/invariant.h"
#include "act/act.h"

#include <rte_mbuf.h>
#include <string.h>

#include "act/act_ct.h"
#include "act/act_int.h"
#include "ct/ct.h"
#include "meter/meter.h"
#include "odp/odp_attr.h"
#include "packet/partial.h"
#include "path/tx.h"
#include "tnl/tnl_pop.h"
#include "tnl/tnl_ready.h"
#include "upcall/upcall.h"

#define TRUNC_LEAST 14u

struct run {
    struct worker *worker;
    const struct act_prog *prog;
    struct rte_mbuf *packets[WORKER_BURST];
    struct act_layers layers[WORKER_BURST];
    /* If the program has a trunc: bytes to be cut off at the next output. */
    uint32_t cut[WORKER_BURST];
    unsigned int n;
};

static void run_list(struct run *run, const struct act_op *op, const struct act_op *end);

/* Takes packet `i` out; the next one is `i` then.  Order is kept. */
static struct rte_mbuf *take_out(struct run *run, unsigned int i)
{
    struct rte_mbuf *m = run->packets[i];

    run->n--;
    memmove(&run->packets[i], &run->packets[i + 1], (run->n - i) * sizeof run->packets[0]);
    memmove(&run->layers[i], &run->layers[i + 1], (run->n - i) * sizeof run->layers[0]);
    if (run->prog->cuts)
        memmove(&run->cut[i], &run->cut[i + 1], (run->n - i) * sizeof run->cut[0]);
    return m;
}

/* Bytes that a trunc leaves of a packet: it took the measure where it stood in the list, and what
 * was pushed since stays.  An Ethernet header always does. */
static uint32_t size_left(const struct run *run, unsigned int i)
{
    const uint32_t size = run->packets[i]->pkt_len;

    return size > run->cut[i] + TRUNC_LEAST ? size - run->cut[i] : RTE_MIN(size, TRUNC_LEAST);
}

/* The packet for an output-like operation: itself if nothing follows. */
static struct rte_mbuf *take(struct run *run, const struct act_op *op, unsigned int i)
{
    struct rte_mbuf *m = run->packets[i];

    if (!op->last)
        m = act_copy(run->worker, m, run->prog->needs_md);
    if (m && op->b)
        act_truncate(m, size_left(run, i));
    return m;
}

static void run_effect(struct run *run, const struct act_op *op)
{
    struct rte_mbuf *wrapped[WORKER_BURST]; /* In headers that are to be taken off. */
    struct userdata *userdata = NULL;
    unsigned int wrapped_n = 0;

    if (op->last && !op->b && (op->code == ACT_OP_OUTPUT || op->code == ACT_OP_TNL_POP)) {
        if (op->code == ACT_OP_OUTPUT)
            tx_output_bulk(run->worker, run->packets, run->n, op->a, NULL);
        else
            tnl_pop(run->worker, op->a, run->packets, run->n);
        run->n = 0;
        return;
    }
    if (op->code == ACT_OP_USERSPACE)
        memcpy(&userdata, run->prog->pool + op->operand, sizeof userdata);
    for (unsigned int i = 0; i < run->n; i++) {
        uint32_t size = run->packets[i]->pkt_len;
        struct rte_mbuf *m = take(run, op, i);

        if (!m)
            continue;
        switch (op->code) {
        case ACT_OP_OUTPUT:
            tx_output(run->worker, m, op->a);
            break;
        case ACT_OP_BALANCE:
            act_balance(run->worker, m, op->a);
            break;
        case ACT_OP_USERSPACE:
            upcall_action(run->worker, m, userdata, size);
            break;
        case ACT_OP_TNL_POP:
            wrapped[wrapped_n++] = m;
            break;
        default:
            pkt_of(m)->md.recirc_id = op->a;
            worker_recirculate(run->worker, m);
            break;
        }
    }
    if (wrapped_n)
        tnl_pop(run->worker, op->a, wrapped, wrapped_n);
    if (op->last)
        run->n = 0;
}

/* Frees what no list wants: a drop, unless the packet has been sent somewhere before. */
static void discard(struct run *run, const struct act_op *op, struct rte_mbuf *m)
{
    if (op->acted)
        rte_pktmbuf_free(m);
    else
        worker_drop(run->worker, m, DROP_action);
}

/* Runs a list nested in `op` on the chosen packets (bits of `chosen`) or copies of them. */
static void run_nested(struct run *run, const struct act_op *op, const struct act_op *list, uint32_t count, uint32_t chosen)
{
    struct run nested;

    nested.worker = run->worker;
    nested.prog = run->prog;
    nested.n = 0;
    for (unsigned int i = 0; i < run->n; i++) {
        struct rte_mbuf *m = run->packets[i];

        if (!(chosen >> i & 1))
            continue;
        if (op->last && !count) {
            discard(run, op, m);
            continue;
        }
        if (!count)
            continue;
        m = op->last ? m : act_copy(run->worker, m, run->prog->needs_md);
        if (!m)
            continue;
        if (run->prog->cuts)
            nested.cut[nested.n] = run->cut[i];
        nested.packets[nested.n++] = m;
    }
    if (nested.n)
        run_list(&nested, list, list + count);
}

static void run_branch(struct run *run, const struct act_op *op)
{
    uint32_t all = run->n == 32 ? UINT32_MAX : (1u << run->n) - 1, chosen = 0;

    for (unsigned int i = 0; i < run->n; i++) {
        uint32_t size;
        bool yes = true;

        switch (op->code) {
        case ACT_OP_SAMPLE:
            yes = op->a == UINT32_MAX || worker_random(run->worker) < op->a;
            break;
        case ACT_OP_CHECK_LEN:
            size = act_wire_size(run->packets[i]);
            if (op->b)
                size = RTE_MIN(size, size_left(run, i));
            yes = size > op->a;
            break;
        default:
            break;
        }
        chosen |= (uint32_t)yes << i;
    }
    run_nested(run, op, op + 1, op->nested, chosen);
    run_nested(run, op, op + 1 + op->nested, op->nested_else, all & ~chosen);
    if (op->last)
        run->n = 0;
}

/* Packets whose TTL is used up leave the list for the nested one, and end there. */
static void run_dec_ttl(struct run *run, const struct act_op *op)
{
    struct run nested;

    nested.worker = run->worker;
    nested.prog = run->prog;
    nested.n = 0;
    for (unsigned int i = 0; i < run->n;) {
        if (act_dec_ttl(run->packets[i], &run->layers[i])) {
            i++;
            continue;
        }
        if (!op->nested) {
            discard(run, op, take_out(run, i));
            continue;
        }
        if (run->prog->cuts)
            nested.cut[nested.n] = run->cut[i];
        nested.packets[nested.n++] = take_out(run, i);
    }
    if (nested.n)
        run_list(&nested, op + 1, op + 1 + op->nested);
}

/* One packet, one change; false: the packet cannot take it. */
static inline bool change(const struct act_op *op, const uint8_t *operand, struct rte_mbuf *m, struct act_layers *layers, bool has_md)
{
    switch (op->code) {
    case ACT_OP_PARSE:
        act_parse(m, op->tags, layers);
        return true;
    case ACT_OP_SET:
        act_set(m, layers, op->a, operand, operand + op->b);
        if (op->moves && has_md)
            pkt_of(m)->md.more &= (uint8_t)~PKT_MORE_CONN;
        return true;
    case ACT_OP_CT_CLEAR:
        ct_clear(m);
        return true;
    case ACT_OP_SET_META:
        act_set_metadata(m, op->a, operand);
        return true;
    case ACT_OP_SET_TUNNEL:
        act_set_tunnel(m, (const void *)operand);
        return true;
    case ACT_OP_HASH:
        pkt_of(m)->md.dp_hash = act_hash(m, op->tags, op->a, op->b);
        return true;
    case ACT_OP_PUSH_VLAN:
        return act_push_vlan(m, op->a);
    case ACT_OP_POP_VLAN:
        act_pop_vlan(m);
        return true;
    case ACT_OP_PUSH_MPLS:
        return act_push_mpls(m, layers, op->a, op->b);
    case ACT_OP_ADD_MPLS:
        return act_add_mpls(m, op->a, op->b);
    case ACT_OP_PUSH_ETH:
        return act_push_eth(m, operand);
    case ACT_OP_POP_ETH:
        return act_pop_eth(m, layers);
    case ACT_OP_PUSH_NSH:
        return act_push_nsh(m, operand, op->a);
    case ACT_OP_POP_NSH:
        return act_pop_nsh(m);
    default:
        return act_pop_mpls(m, layers, op->b);
    }
}

/* Drops the packets that bits of `bad` say. */
static void drop_some(struct run *run, uint32_t bad, enum stat_drop reason)
{
    for (unsigned int i = run->n; unlikely(bad) && i-- > 0;)
        if (bad >> i & 1)
            worker_drop(run->worker, take_out(run, i), reason);
}

/* Takes packets out that bits of `gone` say: others have them. */
static void take_some(struct run *run, uint32_t gone)
{
    for (unsigned int i = run->n; unlikely(gone) && i-- > 0;)
        if (gone >> i & 1)
            take_out(run, i);
}

/* Ends the list for its packets if nothing follows `op`. */
static void end_if_last(struct run *run, const struct act_op *op)
{
    if (!op->last)
        return;
    for (unsigned int i = 0; i < run->n; i++)
        discard(run, op, run->packets[i]);
    run->n = 0;
}

/* Puts a ready header before packets, cut as a trunc before it said. */
static void push_header(struct run *run, const struct act_op *op, const struct tnl_ready *ready)
{
    struct tnl_laid laid;

    if (!tnl_ready_lay(run->worker, ready, &laid)) {
        worker_drop_bulk(run->worker, run->packets, run->n, DROP_tunnel);
        run->n = 0;
        return;
    }
    for (unsigned int i = 0; i < run->n;) {
        if (op->b) {
            act_truncate(run->packets[i], size_left(run, i));
            run->cut[i] = 0;
        } else if (likely(laid.plain)) {
            i += tnl_push_plain(run->worker, ready, &laid, run->packets + i, run->n - i, run->prog->needs_md);
            if (i == run->n)
                return;
        }
        run->packets[i] = tnl_push_ready(run->worker, ready, &laid, run->packets[i]);
        if (run->packets[i])
            i++;
        else
            take_out(run, i);
    }
}

/* What looks at a whole burst and may take packets out of it. */
static void run_whole(struct run *run, const struct act_op *op, const uint8_t *operand, struct ipf_whole **wholes)
{
    struct worker *worker = run->worker;

    switch (op->code) {
    case ACT_OP_CT:
        take_some(run, act_ct(worker, run->prog, op, run->packets, run->n, wholes));
        break;
    case ACT_OP_TNL_PUSH:
        push_header(run, op, (const void *)operand);
        break;
    case ACT_OP_PSAMPLE:
        for (unsigned int i = 0; i < run->n; i++)
            worker_show_sample(worker, (const void *)operand, run->packets[i], op->b ? size_left(run, i) : run->packets[i]->pkt_len);
        break;
    case ACT_OP_METER:
        drop_some(run, meter_run(worker->meters, op->a, run->packets, run->n, worker_ms(worker)), DROP_meter);
        break;
    default:
        drop_some(run, act_rewrite(run->packets, run->n, (const void *)operand), DROP_action_error);
        break;
    }
    end_if_last(run, op);
}

/* Packets that a `ct` has put together are left behind `wholes`. */
static void run_ops(struct run *run, const struct act_op *op, const struct act_op *end, struct ipf_whole **wholes)
{
    for (; op < end && run->n; op += 1 + op->nested + op->nested_else) {
        const uint8_t *operand = run->prog->pool + op->operand;

        switch (op->code) {
        case ACT_OP_OUTPUT:
        case ACT_OP_BALANCE:
        case ACT_OP_USERSPACE:
        case ACT_OP_TNL_POP:
        case ACT_OP_RECIRC:
            run_effect(run, op);
            break;
        case ACT_OP_CLONE:
        case ACT_OP_SAMPLE:
        case ACT_OP_CHECK_LEN:
            run_branch(run, op);
            break;
        case ACT_OP_CT:
        case ACT_OP_METER:
        case ACT_OP_PSAMPLE:
        case ACT_OP_TNL_PUSH:
        case ACT_OP_REWRITE:
            run_whole(run, op, operand, wholes);
            break;
        case ACT_OP_DROP:
            worker_drop_bulk(run->worker, run->packets, run->n, stat_explicit(op->a));
            run->n = 0;
            break;
        case ACT_OP_DEC_TTL:
            run_dec_ttl(run, op);
            break;
        case ACT_OP_TRUNC:
            for (unsigned int i = 0; i < run->n; i++)
                run->cut[i] = run->packets[i]->pkt_len > op->a ? run->packets[i]->pkt_len - op->a : 0;
            break;
        default:
            for (unsigned int i = 0; i < run->n;) {
                if (likely(change(op, operand, run->packets[i], &run->layers[i], run->prog->needs_md)))
                    i++;
                else
                    worker_drop(run->worker, take_out(run, i), op->code == ACT_OP_POP_NSH ? DROP_nsh : DROP_action_error);
            }
            break;
        }
    }
    /* Only after a dec_ttl that ends a list is anything left. */
    if (run->n)
        worker_drop_bulk(run->worker, run->packets, run->n, DROP_action);
}

static void run_list(struct run *run, const struct act_op *op, const struct act_op *end)
{
    struct ipf_whole *wholes = NULL;

    run_ops(run, op, end, &wholes);
    while (unlikely(wholes)) {
        run->n = act_ct_cut(run->worker, &wholes, run->packets, &op);
        for (unsigned int i = 0; i < run->n; i++) {
            act_parse(run->packets[i], op->tags, &run->layers[i]);
            run->cut[i] = 0;
        }
        end_if_last(run, op);
        run_ops(run, op + 1, end, &wholes);
    }
}

void act_run(struct worker *worker, const struct act_prog *prog, struct rte_mbuf **packets, unsigned int n, const struct pkt_md *md)
{
    struct run run;

    INVARIANT(n <= WORKER_BURST);
    if (prog->kind != ACT_PROGRAM) {
        if (prog->kind == ACT_DROP)
            worker_drop_bulk(worker, packets, n, DROP_action);
        else
            tx_output_bulk(worker, packets, n, prog->port, NULL);
        return;
    }
    run.worker = worker;
    run.prog = prog;
    run.n = n;
    memcpy(run.packets, packets, n * sizeof packets[0]);
    if (prog->cuts)
        memset(run.cut, 0, sizeof run.cut);
    if (md && prog->needs_md)
        act_give_metadata(packets, n, md);
    if (prog->writes)
        run.n = act_gather(worker, run.packets, n, prog->needs_md);
    if (prog->balances)
        act_hash_packets(run.packets, run.n);
    run_list(&run, prog->ops, prog->ops + prog->op_count);
}
