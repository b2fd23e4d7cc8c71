/* SPDX-License-Identifier: Apache-2.0
 * link_watch.h - looks after objects (ports) whose devices or peers come and go, by one thread of
 * the process, which runs while there are any.
 *
 * It looks when Linux says that a network device changed, and twice a second, because devices of
 * other namespaces and peers change without a word.
 *
 * Threads: link_watch_add and _remove by the thread that opens or closes a port, without the
 * control mutex; `attend` runs on the thread, and must not take it. */
#ifndef UPCALL_LINK_WATCH_H
#define UPCALL_LINK_WATCH_H

#include "link/link.h"

/* errno, and error_set(). */
int link_watch_add(void *object, void (*attend)(void *));

/* When it returns, `attend` does not run and never will.  Nothing happens if it was not added. */
void link_watch_remove(void *object);

#endif
