/* SPDX-License-Identifier: Apache-2.0
 * bond.c - the table of bonds (bond.h). */
#include "bond/bond.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "bond/bond_int.h"

static struct bond_table *table_make(uint32_t n)
{
    struct bond_table *table = malloc(sizeof *table + n * sizeof table->bonds[0]);

    if (table)
        table->n = n;
    return table;
}

static struct bond_table *table_of(const struct bonds *bonds)
{
    return atomic_load_explicit(&bonds->table, memory_order_relaxed);
}

struct bonds *bonds_create(struct rcu *rcu)
{
    struct bonds *bonds = calloc(1, sizeof *bonds);
    struct bond_table *table = table_make(0);

    if (!bonds || !table) {
        free(bonds);
        free(table);
        return NULL;
    }
    bonds->rcu = rcu;
    atomic_init(&bonds->table, table);
    return bonds;
}

void bonds_destroy(struct bonds *bonds)
{
    if (!bonds)
        return;
    for (uint32_t i = 0; i < table_of(bonds)->n; i++)
        free(table_of(bonds)->bonds[i]);
    free(table_of(bonds));
    free(bonds);
}

static void free_object(void *object, void *unused)
{
    (void)unused;
    free(object);
}

static void publish(struct bonds *bonds, struct bond_table *table)
{
    rcu_defer(bonds->rcu, free_object, atomic_exchange_explicit(&bonds->table, table, memory_order_acq_rel), NULL);
}

/* Bytes that all threads have counted for a bucket. */
static uint64_t counted(const struct bond *bond, uint32_t bucket)
{
    uint64_t sum = 0;

    for (uint32_t thread = 0; thread < RCU_THREADS; thread++)
        sum += atomic_load_explicit(&bond->bytes[thread][bucket], memory_order_relaxed);
    return sum;
}

/* Gives a new bond its place among the others. */
static int insert(struct bonds *bonds, struct bond *bond)
{
    const struct bond_table *old = table_of(bonds);
    struct bond_table *table = table_make(old->n + 1);
    uint32_t at = 0;

    if (!table)
        return ENOMEM;
    while (at < old->n && old->bonds[at]->id < bond->id)
        at++;
    memcpy(table->bonds, old->bonds, at * sizeof old->bonds[0]);
    table->bonds[at] = bond;
    memcpy(table->bonds + at + 1, old->bonds + at, (old->n - at) * sizeof old->bonds[0]);
    publish(bonds, table);
    return 0;
}

int bond_add(struct bonds *bonds, uint32_t id, const uint32_t ports[BOND_BUCKETS])
{
    struct bond *bond = bond_find(bonds, id);
    int error;

    if (bond) {
        for (uint32_t i = 0; i < BOND_BUCKETS; i++) {
            if (bond_port(bond, i) == ports[i])
                continue;
            bond->before[i] = counted(bond, i);
            atomic_store_explicit(&bond->ports[i], ports[i], memory_order_relaxed);
        }
        return 0;
    }
    bond = calloc(1, sizeof *bond);
    if (!bond)
        return ENOMEM;
    bond->id = id;
    for (uint32_t i = 0; i < BOND_BUCKETS; i++)
        atomic_init(&bond->ports[i], ports[i]);
    error = insert(bonds, bond);
    if (error)
        free(bond);
    return error;
}

int bond_delete(struct bonds *bonds, uint32_t id)
{
    const struct bond_table *old = table_of(bonds);
    struct bond *bond = bond_find(bonds, id);
    struct bond_table *table;
    uint32_t n = 0;

    if (!bond)
        return ENOENT;
    table = table_make(old->n - 1);
    if (!table)
        return ENOMEM;
    for (uint32_t i = 0; i < old->n; i++)
        if (old->bonds[i] != bond)
            table->bonds[n++] = old->bonds[i];
    publish(bonds, table);
    rcu_defer(bonds->rcu, free_object, bond, NULL);
    return 0;
}

int bond_get(const struct bonds *bonds, uint32_t id, uint32_t ports[BOND_BUCKETS], uint64_t bytes[BOND_BUCKETS])
{
    const struct bond *bond = bond_find(bonds, id);

    if (!bond)
        return ENOENT;
    for (uint32_t i = 0; i < BOND_BUCKETS; i++) {
        ports[i] = bond_port(bond, i);
        bytes[i] = counted(bond, i) - bond->before[i];
    }
    return 0;
}

int bond_next(const struct bonds *bonds, uint32_t id, uint32_t *next)
{
    const struct bond_table *table = table_of(bonds);

    for (uint32_t i = 0; i < table->n; i++)
        if (table->bonds[i]->id >= id) {
            *next = table->bonds[i]->id;
            return 0;
        }
    return ENOENT;
}
