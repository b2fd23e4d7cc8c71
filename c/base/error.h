/* SPDX-License-Identifier: Apache-2.0
 * error.h - the text that goes with an errno: what failed and what to do about it.
 *
 * Kept per thread, because that thread reads it next.  Calls marked "waits" run on threads that
 * their caller never sees; their text is kept for the process as well, until somebody reads it.
 *
 * Threads: any. */
#ifndef UPCALL_ERROR_H
#define UPCALL_ERROR_H

#include <stdint.h>

/* Forgets this thread's text; every entry point of dp.h starts with it. */
void error_clear(void);

/* Remembers a text and returns `error`, so that it can stand in a return statement. */
int error_set(int error, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Keeps this thread's text for error_take() on any thread, if `error` is not 0; returns `error`. */
int error_publish(int error);

/* This thread's text; empty if there is none. */
const char *error_text(void);

/* That text, or, if there is none, the one that was kept last, which is forgotten. */
void error_take(char *text, uint32_t size);

#endif
