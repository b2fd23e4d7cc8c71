/* SPDX-License-Identifier: Apache-2.0
 * act_build_set.h - compiles set and set_masked.
 *
 * Threads: the control side. */
#ifndef UPCALL_ACT_BUILD_SET_H
#define UPCALL_ACT_BUILD_SET_H

#include "act/act_build.h"

void act_build_set(struct act_builder *, struct act_list *, const struct odp_attr *nest, bool masked);

#endif
