/* SPDX-License-Identifier: Apache-2.0
 * act_build_userspace.h - compiles the actions `userspace` and `psample`, by which programs see
 * packets.
 *
 * Threads: the control side. */
#ifndef UPCALL_ACT_BUILD_USERSPACE_H
#define UPCALL_ACT_BUILD_USERSPACE_H

#include "act/act_build.h"

void act_build_userspace(struct act_builder *, struct act_list *, const struct odp_attr *nest);
void act_build_psample(struct act_builder *, struct act_list *, const struct odp_attr *nest);

#endif
