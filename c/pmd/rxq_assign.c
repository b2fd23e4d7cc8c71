/* SPDX-License-Identifier: Apache-2.0 */
#include "pmd/rxq_assign.h"

#include <errno.h>
#include <stdlib.h>

/* The cores of one NUMA node. */
struct node {
    uint32_t numa;
    uint32_t free;               /* Cores that are not isolated. */
    uint32_t n;
    uint32_t steps;              /* How often its next core was asked for. */
    uint32_t *places;
};

struct plan {
    struct rxq_core *cores;
    uint32_t n_cores;
    struct node *nodes;          /* Sorted by number. */
    uint32_t n_nodes;
    uint32_t turn;               /* The node that queues from elsewhere go to next. */
    uint32_t *room;              /* Of all `places`. */
    enum rxq_algorithm algorithm;
};

static int by_number(const void *a, const void *b)
{
    const uint32_t x = ((const struct node *)a)->numa, y = ((const struct node *)b)->numa;

    return x < y ? -1 : x > y;
}

static struct node *node_of(const struct plan *plan, uint32_t numa)
{
    for (uint32_t i = 0; i < plan->n_nodes; i++)
        if (plan->nodes[i].numa == numa)
            return &plan->nodes[i];
    return NULL;
}

static int find_nodes(struct plan *plan)
{
    uint32_t used = 0;

    plan->nodes = calloc(plan->n_cores + 1, sizeof *plan->nodes);
    plan->room = calloc(plan->n_cores + 1, sizeof *plan->room);
    if (!plan->nodes || !plan->room)
        return ENOMEM;
    for (uint32_t i = 0; i < plan->n_cores; i++)
        if (!node_of(plan, plan->cores[i].numa))
            plan->nodes[plan->n_nodes++].numa = plan->cores[i].numa;
    qsort(plan->nodes, plan->n_nodes, sizeof *plan->nodes, by_number);
    for (uint32_t k = 0; k < plan->n_nodes; k++) {
        struct node *node = &plan->nodes[k];

        node->places = plan->room + used;
        for (uint32_t i = 0; i < plan->n_cores; i++)
            if (plan->cores[i].numa == node->numa)
                plan->room[used++] = i;
        node->n = (uint32_t)(plan->room + used - node->places);
    }
    return 0;
}

static void give(struct plan *plan, struct rxq_wish *wish, uint32_t place)
{
    wish->place = place;
    wish->far = plan->cores[place].numa != wish->numa;
    plan->cores[place].queues++;
    plan->cores[place].load += wish->load;
}

static void give_pinned(struct plan *plan, struct rxq_wish *wish, bool isolate)
{
    for (uint32_t i = 0; i < plan->n_cores; i++)
        if (plan->cores[i].core == wish->pin) {
            plan->cores[i].isolated |= isolate;
            give(plan, wish, i);
            return;
        }
    wish->pin_lost = true;
}

/* The next core in line that is not isolated; isolated ones have their turn, and miss it. */
static uint32_t next_in_line(struct plan *plan, struct node *node)
{
    for (;;) {
        const uint32_t step = node->steps++ % (2 * node->n);
        const bool back = step >= node->n && plan->algorithm == RXQ_CYCLES;
        const uint32_t place = node->places[back ? 2 * node->n - 1 - step : step % node->n];

        if (!plan->cores[place].isolated)
            return place;
    }
}

static uint32_t least(const struct plan *plan, const struct node *node, bool by_load)
{
    uint32_t best = RXQ_NOBODY;

    for (uint32_t k = 0; k < node->n; k++) {
        const struct rxq_core *core = &plan->cores[node->places[k]];
        const struct rxq_core *than = best == RXQ_NOBODY ? NULL : &plan->cores[best];

        if (!core->isolated && (!than || (by_load ? core->load < than->load : core->queues < than->queues)))
            best = node->places[k];
    }
    return best;
}

/* The node that polls a queue: its port's, or the next one that has a core to give. */
static struct node *choose_node(struct plan *plan, uint32_t numa)
{
    struct node *node = node_of(plan, numa);

    if (node && node->free)
        return node;
    for (uint32_t tries = 0; tries < plan->n_nodes; tries++) {
        node = &plan->nodes[plan->turn++ % plan->n_nodes];
        if (node->free)
            return node;
    }
    return NULL;
}

static int busiest_first(const void *a, const void *b)
{
    const struct rxq_wish *x = *(struct rxq_wish *const *)a, *y = *(struct rxq_wish *const *)b;

    if (x->load != y->load)
        return x->load < y->load ? 1 : -1;
    return x < y ? -1 : x > y; /* They are sorted by port and queue. */
}

int rxq_assign(struct rxq_core *cores, uint32_t n_cores, struct rxq_wish *wishes, uint32_t n, enum rxq_algorithm algorithm,
               bool isolate)
{
    struct plan plan = { .cores = cores, .n_cores = n_cores, .algorithm = algorithm };
    struct rxq_wish **sorted = malloc((n + 1) * sizeof(*sorted));
    int error = find_nodes(&plan);
    uint32_t left = 0;

    if (!sorted)
        error = ENOMEM;
    for (uint32_t i = 0; i < n_cores && !error; i++) {
        cores[i].isolated = false;
        cores[i].queues = 0;
        cores[i].load = 0;
    }
    for (uint32_t i = 0; i < n && !error; i++) {
        wishes[i].place = RXQ_NOBODY;
        wishes[i].pin_lost = wishes[i].far = false;
        if (wishes[i].pin != RXQ_UNPINNED)
            give_pinned(&plan, &wishes[i], isolate || algorithm != RXQ_GROUP);
        if (wishes[i].place == RXQ_NOBODY)
            sorted[left++] = &wishes[i];
    }
    for (uint32_t k = 0; k < plan.n_nodes && !error; k++)
        for (uint32_t i = 0; i < plan.nodes[k].n; i++)
            plan.nodes[k].free += !cores[plan.nodes[k].places[i]].isolated;
    if (!error && algorithm != RXQ_ROUNDROBIN)
        qsort(sorted, left, sizeof(*sorted), busiest_first);
    for (uint32_t i = 0; i < left && !error; i++) {
        struct node *node = choose_node(&plan, sorted[i]->numa);

        if (node)
            give(&plan, sorted[i], algorithm == RXQ_GROUP ? least(&plan, node, sorted[i]->load > 0) : next_in_line(&plan, node));
    }
    free(sorted);
    free(plan.nodes);
    free(plan.room);
    return error;
}
