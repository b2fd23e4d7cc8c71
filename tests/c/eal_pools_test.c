/* SPDX-License-Identifier: Apache-2.0
 * link: everything
 * eal: yes
 *
 * There are so many pools of packet buffers and no more; who gets none is told which it is, memory
 * or their number, and a pool that is given back makes room for another. */
#include <errno.h>
#include <rte_memory.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "check.h"
#include "dp.h"
#include "packet/eal.h"

#define MANY 100u

static struct rte_mempool *make(void)
{
    return eal_pool_make(63, 64, NULL, SOCKET_ID_ANY);
}

int main(void)
{
    struct rte_mempool *pools[MANY];
    uint32_t n = 0;

    if (dp_eal_start()) {
        printf("EAL: %s\n", error_text());
        return 77;
    }
    CHECK(!eal_pools_full());
    while (n < MANY && (pools[n] = make()))
        n++;
    CHECK(n > 30 && n < MANY);
    CHECK(eal_pools_full() == ENOSPC && strstr(error_text(), "as many as there may be"));
    eal_pool_retire(pools[--n]);
    CHECK(!eal_pools_full());
    pools[n] = make();
    CHECK(pools[n] && eal_pools_full() == ENOSPC);
    for (n += 1; n; n--)
        eal_pool_retire(pools[n - 1]);
    CHECK(!eal_pools_full());
    return failures != 0;
}
