/* SPDX-License-Identifier: Apache-2.0
 * mem.h - memory for large arrays, in huge pages where the system has some.
 *
 * Threads: any. */
#ifndef UPCALL_MEM_H
#define UPCALL_MEM_H

#include <stddef.h>

/* Memory that is touched little by little, zeroed, in huge pages where there are some.  NULL: no
 * memory. */
void *mem_map(size_t size);
void mem_unmap(void *, size_t size);

/* An array, zeroed and on its own cache lines; a large one is mapped as above.  NULL: no memory. */
void *mem_array(size_t size);
void mem_array_free(void *, size_t size);

#endif
