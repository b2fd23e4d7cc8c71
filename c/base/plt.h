/* SPDX-License-Identifier: Apache-2.0
 * plt.h - diverts calls that other libraries make, by the slots through which they call (the global
 * offset table).
 *
 * For what a library leaves undone and offers no setting for.  Where a library was linked in
 * statically there are no slots, and nothing is diverted.
 *
 * Threads: any; one at a time. */
#ifndef UPCALL_PLT_H
#define UPCALL_PLT_H

#include <stdbool.h>
#include <stdint.h>

/* Calls of `symbol` by objects whose file name begins with `object` go to `replacement`. */
struct plt_divert {
    const char *object;
    const char *symbol;
    void *replacement;
};

/* Changes the slots of all objects that are loaded now; what is diverted already stays so.  Returns
 * how many were changed. */
uint32_t plt_divert(const struct plt_divert *, uint32_t n);

#endif
