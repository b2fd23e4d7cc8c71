/* SPDX-License-Identifier: Apache-2.0
 * A lost device is opened again at once, then after waits that grow, however many changes Linux tells; another device
 * of its name at once.
 * link: base/hash.c */
#include "check.h"
#include "port/port_eth_int.h"

int main(void)
{
    struct eth_retry retry = { 0 };
    uint32_t tries = 0, index = 7;
    uint64_t last = 0, widest = 0;

    CHECK(eth_retry_now(&retry, index, 1000));
    CHECK(!eth_retry_now(&retry, index, 1000) && !eth_retry_now(&retry, index, 1499));
    CHECK(eth_retry_now(&retry, index, 1500) && !eth_retry_now(&retry, index, 2499) && eth_retry_now(&retry, index, 2500));
    /* It is looked at every 10 ms for five minutes. */
    for (uint64_t now = 2500; now < 302500; now += 10) {
        if (!eth_retry_now(&retry, index, now))
            continue;
        if (last && now - last > widest)
            widest = now - last;
        last = now;
        tries++;
    }
    CHECK(widest == ETH_RETRY_MOST_MS);
    CHECK(tries > 30 && tries < 42);
    /* Made anew under its name, and gone again. */
    CHECK(eth_retry_now(&retry, ++index, last + 1) && !eth_retry_now(&retry, index, last + 2));
    CHECK(eth_retry_now(&retry, 0, last + 3) && eth_retry_now(&retry, index, last + 4));
    retry = (struct eth_retry){ 0 };
    CHECK(eth_retry_now(&retry, 0, last + 5) && !eth_retry_now(&retry, 0, last + 504) && eth_retry_now(&retry, 0, last + 505));
    return 0;
}
