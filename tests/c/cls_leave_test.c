/* SPDX-License-Identifier: Apache-2.0
 * link: act/act_*.c cls/cls*.c packet/csum.c base/error.c packet/extract.c packet/partial.c base/hash.c base/rcu.c base/slab.c base/stat.c packet/userdata.c base/mem.c odp/odp_*.c tnl/tnl_ready.c
 *
 * Tables of many flows are given back to Linux by pieces: when a larger one has taken a table's
 * place, and when the last flow of a mask goes. */
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "cls/cls_int.h"
#include "cls_fixture.h"

#define PAGE ((size_t)4096)
#define PIECE ((size_t)2 << 20)
/* So many that the tables grow to 8 MiB. */
#define FLOWS 400000u

static bool watching;
static size_t most, sum;             /* Bytes given back: by one call, by all. */

static void note(const uint8_t *at, size_t size)
{
    static unsigned char there[PIECE / PAGE];
    size_t bytes = 0;

    for (size_t done = 0; watching && done < size; done += PIECE) {
        const size_t part = size - done < PIECE ? size - done : PIECE;

        if (syscall(SYS_mincore, at + done, part, there))
            continue; /* Nothing is mapped there. */
        for (size_t i = 0; i < (part + PAGE - 1) / PAGE; i++)
            bytes += there[i] & 1 ? PAGE : 0;
    }
    most = bytes > most ? bytes : most;
    sum += bytes;
}

int munmap(void *at, size_t size)
{
    note(at, size);
    return (int)syscall(SYS_munmap, at, size);
}

int madvise(void *at, size_t size, int advice)
{
    if (advice == MADV_DONTNEED)
        note(at, size);
    return (int)syscall(SYS_madvise, at, size, advice);
}

static void key_of(uint32_t i, struct key *key)
{
    memset(key, 0, sizeof *key);
    key->base.eth_type = 0x0008;
    key->base.skb_mark = i;
}

int main(void)
{
    struct rcu *rcu = rcu_create();
    struct cls *cls = cls_create(rcu);
    struct key key, mask = { 0 };
    size_t grown;

    mask.base.eth_type = 0xffff;
    mask.base.skb_mark = UINT32_MAX;
    watching = true;
    for (uint32_t i = 1; i <= FLOWS && !failures; i++) {
        key_of(i, &key);
        CHECK(!cls_insert(cls, i, &key, &mask, CLS_VERDICT_DROP));
        rcu_reclaim(rcu);
    }
    rcu_drain(rcu);
    grown = sum;
    printf("%zu bytes given back while the table grew, %zu at once\n", grown, most);
    CHECK(grown > 3 * PIECE && most <= PIECE);
    for (uint32_t i = 1; i <= FLOWS; i++) {
        cls_remove(cls, i);
        rcu_reclaim(rcu);
    }
    rcu_drain(rcu);
    watching = false;
    printf("%zu bytes given back when the flows went, %zu at once\n", sum - grown, most);
    CHECK(sum - grown > 3 * PIECE && most <= PIECE);
    cls_destroy(cls);
    rcu_destroy(rcu);
    return failures != 0;
}
