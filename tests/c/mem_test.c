/* SPDX-License-Identifier: Apache-2.0
 * link: base/mem.c
 *
 * Large arrays are zeroed, given back bit by bit, and wanted on a NUMA node; a node that there is not, or a kernel that does not hear of
 * wishes, does no harm. */
#include <linux/mempolicy.h>
#include <stdbool.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/mem.h"
#include "check.h"

#define SIZE ((size_t)16 << 20)
#define PIECE ((size_t)3 << 20)

static bool is_zero(const uint8_t *at, size_t size)
{
    return !at[0] && !memcmp(at, at + 1, size - 1);
}

/* Bit by bit: what is not done yet stays as it is. */
static void test_done(size_t size)
{
    uint8_t *array = mem_array(size);

    CHECK(array && is_zero(array, size));
    if (!array)
        return;
    memset(array, 7, size);
    for (size_t from = 0; from < size; from += PIECE) {
        const size_t to = from + PIECE < size ? from + PIECE : size;

        mem_array_done(array, size, from, to);
        CHECK(to == size || (array[to] == 7 && !memcmp(array + to, array + to + 1, size - to - 1)));
    }
    mem_array_free(array, size);
}

/* The policy of memory: -1: none is told. */
static int policy_of(void *at, unsigned long *nodes)
{
    int policy;

    *nodes = 0;
    return syscall(SYS_get_mempolicy, &policy, nodes, 64ul, at, (unsigned long)MPOL_F_ADDR) ? -1 : policy;
}

static void test_prefer(void)
{
    uint8_t *near = mem_map(SIZE), *far = mem_map(SIZE), *nowhere = mem_map(SIZE);
    unsigned long nodes;
    int policy;

    CHECK(near && far && nowhere);
    mem_prefer(near, SIZE, 0);
    mem_prefer(far, SIZE, 63);
    mem_prefer(nowhere, SIZE, 1000);
    memset(near, 1, SIZE);
    memset(far, 2, SIZE);
    memset(nowhere, 3, SIZE);
    policy = policy_of(near, &nodes);
    if (policy == MPOL_PREFERRED)
        CHECK(nodes == 1);
    else
        printf("this kernel does not hear of wishes (%d)\n", policy);
    CHECK(policy_of(nowhere, &nodes) <= MPOL_DEFAULT);
    CHECK(near[SIZE - 1] == 1 && far[SIZE - 1] == 2 && nowhere[SIZE - 1] == 3);
    mem_unmap(near, SIZE);
    mem_unmap(far, SIZE);
    mem_unmap(nowhere, SIZE);
}

int main(void)
{
    test_done(SIZE);
    test_done(SIZE + 12345);
    test_done(1000);
    test_prefer();
    return failures != 0;
}
