/* SPDX-License-Identifier: Apache-2.0 */
#include "base/hash.h"

#include <errno.h>
#include <sys/random.h>

int hash_seed(struct hash_key *key)
{
    uint8_t *at = (uint8_t *)key->words;
    size_t left = sizeof key->words;

#ifdef __AES__
    /* A library that was built for other machines, on one that lacks what it was built for. */
    __builtin_cpu_init();
    if (!__builtin_cpu_supports("aes"))
        return ENOTSUP;
#endif
    while (left) {
        ssize_t n = getrandom(at, left, 0);

        if (n < 0 && errno != EINTR)
            return errno;
        if (n > 0) {
            at += n;
            left -= (size_t)n;
        }
    }
    return 0;
}
