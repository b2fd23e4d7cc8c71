/* SPDX-License-Identifier: Apache-2.0
 * Which core polls which queue: what was seen of Open vSwitch 3.1.0, two NUMA nodes, and machines of 1 to 1,024 cores with holes.
 * link: pmd/rxq_assign.c */
#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "pmd/rxq_assign.h"

/* Assigns queues as they are described; answers with their cores, `-` for nobody. */
static const char *assigned(const char *cores, const char *queues, enum rxq_algorithm algorithm, bool isolate)
{
    static char text[256];
    struct rxq_core list[16];
    struct rxq_wish wishes[16];
    uint32_t n_cores = 0, n = 0;
    char *at, *copy = strdup(cores), *word;

    for (word = strtok_r(copy, " ", &at); word; word = strtok_r(NULL, " ", &at)) {
        list[n_cores] = (struct rxq_core){ .core = (uint32_t)atoi(word) };
        if (strchr(word, '/'))
            list[n_cores].numa = (uint32_t)atoi(strchr(word, '/') + 1);
        n_cores++;
    }
    free(copy);
    copy = strdup(queues);
    for (word = strtok_r(copy, " ", &at); word; word = strtok_r(NULL, " ", &at)) { /* LOAD[@PIN][/NUMA] */
        wishes[n] = (struct rxq_wish){ .load = (uint64_t)atoi(word), .pin = RXQ_UNPINNED };
        if (strchr(word, '@'))
            wishes[n].pin = (uint32_t)atoi(strchr(word, '@') + 1);
        if (strchr(word, '/'))
            wishes[n].numa = (uint32_t)atoi(strchr(word, '/') + 1);
        n++;
    }
    free(copy);
    CHECK(!rxq_assign(list, n_cores, wishes, n, algorithm, isolate));
    text[0] = '\0';
    for (uint32_t i = 0; i < n; i++) {
        char one[16] = "-";

        if (wishes[i].place != RXQ_NOBODY)
            snprintf(one, sizeof one, "%u", list[wishes[i].place].core);
        snprintf(text + strlen(text), sizeof text - strlen(text), "%s%s%s%s", i ? " " : "", one, wishes[i].pin_lost ? "!" : "",
                 wishes[i].far ? "~" : "");
    }
    return text;
}

#define IS(cores, queues, algorithm, isolate, wanted)                                             \
    do {                                                                                          \
        const char *found = assigned(cores, queues, algorithm, isolate);                          \
                                                                                                  \
        if (strcmp(found, wanted)) {                                                              \
            fprintf(stderr, "%s on %s: %s, wanted %s\n", queues, cores, found, wanted);           \
            failures++;                                                                           \
        }                                                                                         \
    } while (0)

static void test_observed(void)
{
    IS("0 1", "0 0 0 0", RXQ_CYCLES, true, "0 1 1 0");
    IS("0 1", "0 0 0 0", RXQ_ROUNDROBIN, true, "0 1 0 1");
    IS("0 1", "0 0 0 0", RXQ_GROUP, true, "0 1 0 1");
    /* Pinned to core 1, and to core 7, which has no thread. */
    IS("0 1", "0 0@1 0@7 0", RXQ_CYCLES, true, "0 1 0! 0");
}

static void test_algorithms(void)
{
    IS("0 1 2", "1 2 3 4 5 6 7", RXQ_CYCLES, true, "0 0 1 2 2 1 0");
    IS("0 1 2", "1 2 3 4 5 6 7", RXQ_ROUNDROBIN, true, "0 1 2 0 1 2 0");
    IS("0 1", "70 10 30 40", RXQ_GROUP, true, "0 0 1 1");
    IS("0 1", "50 0 0 0", RXQ_GROUP, true, "0 1 0 1");       /* Those of no load by their number. */
    IS("0 1 2", "5@2 5 5 5 5", RXQ_CYCLES, true, "2 0 1 1 0"); /* Two turns of core 2 are missed. */
    IS("0 1 2", "5 5@1 5 5 5", RXQ_ROUNDROBIN, true, "0 1 2 0 2");
    IS("0 1", "5 5@1 5 9", RXQ_GROUP, true, "0 1 0 0");
    IS("0 1", "5 5@1 5 9", RXQ_GROUP, false, "1 1 0 0"); /* Without isolation its load counts. */
    IS("0 1", "5 5@1 5 9", RXQ_CYCLES, false, "0 1 0 0"); /* Other algorithms isolate all the same. */
    IS("0 1", "5@0 5@1 5", RXQ_CYCLES, true, "0 1 -");
    IS("0 1", "5@0 5@1 5", RXQ_GROUP, false, "0 1 0");
    IS("", "5 5@1", RXQ_CYCLES, true, "- -!");
    IS("3", "5 6 0", RXQ_CYCLES, true, "3 3 3");
}

static void test_nodes(void)
{
    IS("0/0 1/1", "5/0 5/1 5/1 5/0", RXQ_CYCLES, true, "0 1 1 0");
    IS("0/0 2/0 1/1 3/1", "0/1 0/1 0/0 0/1 0/0", RXQ_ROUNDROBIN, true, "1 3 0 1 2");
    IS("0/0 1/0", "5/1 5/1", RXQ_CYCLES, true, "0~ 1~");
    /* Node 1 has one core, which is isolated: its queues go where one is free. */
    IS("0/0 1/1", "5@1/1 5/1 5/0", RXQ_CYCLES, true, "1 0~ 0");
    IS("0/0 1/1 2/2", "5/7 5/7 5/7 5/7", RXQ_CYCLES, true, "0~ 1~ 2~ 0~"); /* In turn. */
    IS("0/0 1/1", "5@1/0", RXQ_CYCLES, true, "1~"); /* Who pins may pin across. */
}

/* Every queue is polled once, and no core has two more than another, whatever the machine. */
static void test_sizes(void)
{
    static const uint32_t sizes[] = { 1, 2, 3, 31, 64, 65, 127, 1024 };

    for (uint32_t s = 0; s < sizeof sizes / sizeof sizes[0]; s++)
        for (enum rxq_algorithm algorithm = RXQ_ROUNDROBIN; algorithm <= RXQ_GROUP; algorithm++) {
            const uint32_t n_cores = sizes[s], n = 3 * n_cores + 1;
            struct rxq_core *cores = calloc(n_cores, sizeof *cores);
            struct rxq_wish *wishes = calloc(n, sizeof *wishes);
            uint32_t most = 0, fewest = UINT32_MAX, sum = 0;

            for (uint32_t i = 0; i < n_cores; i++) /* Holes in the numbering, nodes of two cores in turn. */
                cores[i] = (struct rxq_core){ .core = 3 * i + i / 7, .numa = 0 };
            for (uint32_t i = 0; i < n; i++)
                wishes[i] = (struct rxq_wish){ .pin = RXQ_UNPINNED, .load = 10 };
            CHECK(!rxq_assign(cores, n_cores, wishes, n, algorithm, true));
            for (uint32_t i = 0; i < n_cores; i++) {
                most = cores[i].queues > most ? cores[i].queues : most;
                fewest = cores[i].queues < fewest ? cores[i].queues : fewest;
                sum += cores[i].queues;
                CHECK(cores[i].load == 10 * cores[i].queues);
            }
            CHECK(sum == n && most - fewest <= 1);
            for (uint32_t i = 0; i < n; i++)
                CHECK(wishes[i].place < n_cores);
            free(cores);
            free(wishes);
        }
}

int main(void)
{
    test_observed();
    test_algorithms();
    test_nodes();
    test_sizes();
    return failures != 0;
}
