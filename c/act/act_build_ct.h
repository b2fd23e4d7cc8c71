/* SPDX-License-Identifier: Apache-2.0
 * act_build_ct.h - compiles ct.
 *
 * Threads: the control side. */
#ifndef UPCALL_ACT_BUILD_CT_H
#define UPCALL_ACT_BUILD_CT_H

#include "act/act_build.h"

/* `nest`: the attributes OVS_CT_ATTR_*. */
void act_build_ct(struct act_builder *, struct act_list *, const struct odp_attr *nest);

#endif
