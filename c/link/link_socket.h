/* SPDX-License-Identifier: Apache-2.0
 * link_socket.h - sockets in the file system by which peers of a port find it (memif, vhost-user).
 *
 * Threads: the thread that opens the port. */
#ifndef UPCALL_LINK_SOCKET_H
#define UPCALL_LINK_SOCKET_H

#include "link/link.h"

/* Makes way for a port that is to listen at `path`: a socket that nobody listens at any more, as a
 * process that was killed leaves it, is removed.  EADDRINUSE: somebody listens there.  EEXIST: it
 * is no socket.  ENAMETOOLONG: longer than an address.  All with error_set(). */
int link_socket_clear(const char *path);

/* ENAMETOOLONG with a text, if a path does not fit an address. */
int link_socket_check(const char *path);

#endif
