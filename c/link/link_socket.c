/* SPDX-License-Identifier: Apache-2.0 */
#define _GNU_SOURCE
#include "link/link_socket.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/error.h"

int link_socket_check(const char *path)
{
    const size_t most = sizeof ((struct sockaddr_un *)0)->sun_path - 1;

    if (strlen(path) <= most)
        return 0;
    return error_set(ENAMETOOLONG, "a socket's path has at most %zu bytes, and this one has %zu: %s", most,
                     strlen(path), path);
}

/* Asks for a connection: 0 if somebody listens, and `*pid` is who, if that can be seen; otherwise
 * why not. */
static int knock(const char *path, int type, int *pid)
{
    const int fd = socket(AF_UNIX, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    struct sockaddr_un address = { .sun_family = AF_UNIX };
    struct ucred peer;
    socklen_t size = sizeof peer;
    int error = 0;

    if (fd < 0)
        return errno;
    strcpy(address.sun_path, path);
    if (connect(fd, (struct sockaddr *)&address, sizeof address))
        error = errno;
    else if (!getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size))
        *pid = peer.pid;
    close(fd);
    return error;
}

int link_socket_clear(const char *path)
{
    static const int types[] = { SOCK_STREAM, SOCK_SEQPACKET, SOCK_DGRAM };
    int error = link_socket_check(path), pid = 0;
    struct stat status;

    if (error || lstat(path, &status))
        return error; /* Not there, or out of reach, which the driver will say. */
    if (!S_ISSOCK(status.st_mode))
        return error_set(EEXIST, "%s exists and is not a socket", path);
    for (size_t i = 0; i < sizeof types / sizeof types[0]; i++) {
        error = knock(path, types[i], &pid);
        if (error != EPROTOTYPE) /* A socket of another type. */
            break;
    }
    if (error == ECONNREFUSED && !unlink(path))
        return 0;
    if (pid > 0)
        return error_set(EADDRINUSE, "process %d listens at %s", pid, path);
    return error_set(EADDRINUSE, "%s is in use", path);
}

void link_socket_set(int fd, int option, uint32_t wish, uint32_t *has)
{
    if (wish != *has && !setsockopt(fd, SOL_SOCKET, option, &wish, sizeof wish))
        *has = wish;
    else if (wish != *has && *has && !setsockopt(fd, SOL_SOCKET, option, &(uint32_t){ 0 }, sizeof wish))
        *has = 0;
}
