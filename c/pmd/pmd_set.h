/* SPDX-License-Identifier: Apache-2.0
 * pmd_set.h - the poll threads of a datapath, and the queues that they poll.
 *
 * Without being asked, a datapath runs one poll thread on the last allowed core, from when it has
 * something to receive.  Changes are made while traffic runs: a queue is taken from one thread, a
 * grace period passes, then another gets it.
 *
 * Threads: all under the control mutex. */
#ifndef UPCALL_PMD_SET_H
#define UPCALL_PMD_SET_H

#include <stdint.h>

struct bonds;
struct cls;
struct ct;
struct ipf;
struct meters;
struct pmd_set;
struct port;
struct port_table;
struct rcu;
struct tnl;
struct records;
struct upcalls;
struct worker;

/* The datapath's, which its threads use. */
struct pmd_parts {
    struct rcu *rcu;
    struct cls *cls;
    struct port_table *ports;
    struct upcalls *upcalls;
    struct ct *ct;
    struct meters *meters;
    struct ipf *ipf;
    struct bonds *bonds;
    struct tnl *tnl;
};

/* NULL: no memory. */
struct pmd_set *pmd_set_create(const struct pmd_parts *);
void pmd_set_destroy(struct pmd_set *);      /* Stopped; no port left. */

/* The control side's own, with its clock set. */
struct worker *pmd_set_control(struct pmd_set *);

/* Threads show what they drop there from now on; NULL: nowhere.  Threads may still write to what it
 * was for a grace period.  */
void pmd_set_show(struct pmd_set *, struct records *drops, struct records *samples);

/* A port that is open gets transmit buffers in every thread, and its queues get polled.  errno, and
 * error_set(). */
int pmd_set_add_port(struct pmd_set *, struct port *);
/* When it returns, no thread touches the port. */
void pmd_set_remove_port(struct pmd_set *, struct port *);

#endif
