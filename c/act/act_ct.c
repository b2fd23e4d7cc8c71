/* SPDX-License-Identifier: Apache-2.0 */
#include "act/act_ct.h"

#include "act/act_int.h"
#include "ct/ct.h"
#include "ipf/ipf.h"
#include "packet/worker.h"

/* Tracks what is whole now, and puts it at the end of the list. */
static void track_whole(struct worker *worker, const struct ct_request *request, const struct act_op *op, struct ipf_whole *whole,
                        struct ipf_whole **wholes)
{
    /* IPv6 can have a fragment within a packet that is whole. */
    if (ct_run(worker->ct, worker->index, request, &whole->m, 1, worker->now))
        ct_refuse(request, whole->m);
    whole->then = op;
    whole->next = NULL;
    while (*wholes)
        wholes = &(*wholes)->next;
    *wholes = whole;
}

static __attribute__((noinline)) uint32_t take_fragments(struct worker *worker, const struct ct_request *request, const struct act_op *op,
                                                         struct rte_mbuf **packets, uint32_t fragments, struct ipf_whole **wholes)
{
    uint32_t gone = 0;

    for (; fragments; fragments &= fragments - 1) {
        const unsigned int i = (unsigned int)__builtin_ctz(fragments);
        struct ipf_whole *whole;

        switch (ipf_take(worker->ipf, request->zone, packets[i], worker->now, &whole)) {
        case IPF_REFUSED:
            ct_refuse(request, packets[i]);
            break;
        case IPF_WHOLE:
            track_whole(worker, request, op, whole, wholes);
            gone |= 1u << i;
            break;
        default:
            gone |= 1u << i;
            break;
        }
    }
    return gone;
}

uint32_t act_ct(struct worker *worker, const struct act_prog *prog, const struct act_op *op, struct rte_mbuf **packets, unsigned int n,
                struct ipf_whole **wholes)
{
    const struct ct_request *request = (const void *)(prog->pool + op->operand);
    const uint32_t fragments = ct_run(worker->ct, worker->index, request, packets, n, worker->now);

    return __builtin_expect(fragments, 0) ? take_fragments(worker, request, op, packets, fragments, wholes) : 0;
}

unsigned int act_ct_cut(struct worker *worker, struct ipf_whole **wholes, struct rte_mbuf **packets, const struct act_op **op)
{
    struct ipf_whole *whole = *wholes, *next = whole->next;
    unsigned int n;
    bool left;

    *op = whole->then;
    n = ipf_cut(worker->ipf, whole, packets, WORKER_BURST, &left);
    if (!left)
        *wholes = next;
    return n;
}
