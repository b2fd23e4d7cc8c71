/* SPDX-License-Identifier: Apache-2.0
 * error.h - the text that goes with an errno: what failed and what to do about it.
 *
 * Kept per thread, because the next call of the same thread reads it.  Calls marked "waits" run on
 * threads that their caller never sees; their texts are kept by the handle and the object that they
 * were about, until they are read.
 *
 * Threads: any. */
#ifndef UPCALL_ERROR_H
#define UPCALL_ERROR_H

#include <stdint.h>

/* Forgets this thread's text; every entry point of dp.h starts with it. */
void error_clear(void);

/* Remembers a text and returns `error`, so that it can stand in a return statement. */
int error_set(int error, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Keeps this thread's text for error_take(), if `error` is not 0; returns `error`. */
int error_publish(uint64_t handle, uint32_t about, int error);

/* This thread's text; empty if there is none. */
const char *error_text(void);

/* The newest text that was kept for this handle and object, which is forgotten; empty if there is
 * none. */
void error_take(uint64_t handle, uint32_t about, char *text, uint32_t size);

#endif
