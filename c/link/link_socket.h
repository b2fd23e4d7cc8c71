/* SPDX-License-Identifier: Apache-2.0
 * link_socket.h - sockets in the file system by which peers of a port find it (memif, vhost-user),
 * and options of sockets.
 *
 * Threads: the thread that opens the port; the owner of the socket for link_socket_set(). */
#ifndef UPCALL_LINK_SOCKET_H
#define UPCALL_LINK_SOCKET_H

#include <stdint.h>

#include "link/link.h"

/* Makes way for a port that is to listen at `path`: a socket that nobody listens at any more, as a
 * process that was killed leaves it, is removed.  EADDRINUSE: somebody listens there.  EEXIST: it
 * is no socket.  ENAMETOOLONG: longer than an address.  All with error_set(). */
int link_socket_clear(const char *path);

/* ENAMETOOLONG with a text, if a path does not fit an address. */
int link_socket_check(const char *path);

/* Sets an option of 32 bits of SOL_SOCKET, if it is not what the socket `has`.  One that is refused
 * a value gets 0: that of earlier packets is not theirs. */
void link_socket_set(int fd, int option, uint32_t wish, uint32_t *has);

#endif
