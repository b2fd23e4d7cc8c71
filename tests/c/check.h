/* SPDX-License-Identifier: Apache-2.0
 * check.h - a condition that a test wants; the test goes on, and main() returns `failures != 0`. */
#ifndef UPCALL_CHECK_H
#define UPCALL_CHECK_H

#include <stdio.h>

static int failures;

#define CHECK(condition)                                                          \
    do {                                                                          \
        if (!(condition)) {                                                       \
            fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #condition);       \
            failures++;                                                           \
        }                                                                         \
    } while (0)

#endif
