/* SPDX-License-Identifier: Apache-2.0
 * eal_divert.h - what DPDK 22.11 leaves undone: it opens descriptors that children inherit, and its
 * memif driver keeps the listening socket of a device that is gone, with a callback that points
 * into freed memory, and unmaps a peer's memory while others read it.  Its thread of interrupts
 * ends the process when a driver has closed a descriptor that it waits for.
 *
 * Descriptors also come later, in DPDK's own threads (a peer connects and sends some), so it is the
 * calls that are changed, and not what they left.
 *
 * Threads: eal_divert() by the thread that starts EAL; what it diverts is called by any. */
#ifndef UPCALL_EAL_DIVERT_H
#define UPCALL_EAL_DIVERT_H

#include <stdbool.h>

/* For the objects that are loaded: before EAL starts, and again when it has loaded its drivers. */
void eal_divert(void);

/* Whether memory without hugepages shall be nobody else's.  As EAL asks for it, it is a file that
 * other processes can be given (virtio_user), and such have transparent huge pages only where
 * shmem_enabled says so; what is private has them nearly everywhere. */
void eal_keep_private(bool);
bool eal_is_private(void);

/* Whether the memif driver listens at a path, as it does once for all devices that name it. */
bool eal_memif_listens(const char *path);

/* What the memif driver calls before it unmaps memory; the same function each time. */
void eal_before_unmap(void (*)(void));

#endif
