/* SPDX-License-Identifier: Apache-2.0
 * act_build_header.h - compiles what puts headers before a packet and takes them away: tags,
 * labels, Ethernet, NSH.
 *
 * Threads: the control side. */
#ifndef UPCALL_ACT_BUILD_HEADER_H
#define UPCALL_ACT_BUILD_HEADER_H

#include "act/act_build.h"

void act_build_push_vlan(struct act_builder *, struct act_list *, const struct odp_attr *);
void act_build_pop_vlan(struct act_builder *, struct act_list *, const struct odp_attr *);
void act_build_push_mpls(struct act_builder *, struct act_list *, const struct odp_attr *);
void act_build_pop_mpls(struct act_builder *, struct act_list *, const struct odp_attr *);
void act_build_add_mpls(struct act_builder *, struct act_list *, const struct odp_attr *);
void act_build_push_eth(struct act_builder *, struct act_list *, const struct odp_attr *);
void act_build_pop_eth(struct act_builder *, struct act_list *, const struct odp_attr *);
void act_build_push_nsh(struct act_builder *, struct act_list *, const struct odp_attr *);
void act_build_pop_nsh(struct act_builder *, struct act_list *, const struct odp_attr *);

#endif
