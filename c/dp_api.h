/* SPDX-License-Identifier: Apache-2.0
 * dp_api.h - what marks a function of the ABI, in dp.h and the headers that it includes.
 *
 * Threads: none. */
#ifndef UPCALL_DP_API_H
#define UPCALL_DP_API_H

#define DP_API __attribute__((visibility("default")))

#endif
