/* SPDX-License-Identifier: Apache-2.0
 * A ring of records: full, empty, round and round; and writers that do not wait for each other beside one reader, who finds each
 * record whole, each writer's in order, and all that were not counted as lost.
 * link: record/record.c
 * sanitize: address thread */
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdbool.h>

#include "check.h"
#include "record/record.h"

#define COUNT 16u
#define WRITERS 3u
#define EACH 20000u
#define WORDS 30u

struct record {
    uint64_t writer, number;
    uint64_t words[WORDS];
};

static struct records *records;

static void write_one(uint64_t writer, uint64_t number)
{
    uint64_t ticket;
    struct record *record = record_claim(records, &ticket);

    if (!record)
        return;
    record->writer = writer;
    record->number = number;
    for (uint32_t i = 0; i < WORDS; i++)
        record->words[i] = writer << 32 | number;
    record_publish(records, ticket);
}

static void test_rounds(void)
{
    records = records_create(COUNT, sizeof(struct record));
    CHECK(records && !record_oldest(records) && !records_lost(records));
    for (uint64_t round = 0; round < 5; round++) {
        for (uint64_t i = 0; i < COUNT + 3; i++)
            write_one(7, round * 100 + i);
        CHECK(records_lost(records) == 3 * (round + 1));
        for (uint64_t i = 0; i < COUNT; i++) {
            const struct record *oldest = record_oldest(records);

            CHECK(oldest && oldest->number == round * 100 + i);
            record_release(records);
        }
        CHECK(!record_oldest(records));
    }
    records_destroy(records);
}

/* Another is written first than was claimed first: the reader waits for the older one. */
static void test_order(void)
{
    uint64_t older, newer;
    struct record *record;

    records = records_create(COUNT, sizeof(struct record));
    record = record_claim(records, &older);
    CHECK(record);
    record->number = 1;
    record = record_claim(records, &newer);
    CHECK(record);
    record->number = 2;
    record_publish(records, newer);
    CHECK(!record_oldest(records));
    record_publish(records, older);
    CHECK(((const struct record *)record_oldest(records))->number == 1);
    record_release(records);
    CHECK(((const struct record *)record_oldest(records))->number == 2);
    records_destroy(records);
}

static _Atomic uint32_t done;

static void *write_all(void *arg)
{
    const uint64_t writer = (uint64_t)(uintptr_t)arg;

    for (uint64_t i = 1; i <= EACH; i++) {
        write_one(writer, i);
        if (i % 64 == 0)
            sched_yield();
    }
    atomic_fetch_add(&done, 1);
    return NULL;
}

static void test_threads(void)
{
    uint64_t last[WRITERS] = { 0 }, read = 0;
    pthread_t threads[WRITERS];
    bool over = false;

    records = records_create(COUNT, sizeof(struct record));
    for (uintptr_t i = 0; i < WRITERS; i++)
        CHECK(!pthread_create(&threads[i], NULL, write_all, (void *)i));
    while (!over) {
        const struct record *oldest;

        over = atomic_load(&done) == WRITERS; /* What comes after this is all there is. */
        while ((oldest = record_oldest(records))) {
            CHECK(oldest->writer < WRITERS && oldest->number > last[oldest->writer]);
            last[oldest->writer] = oldest->number;
            for (uint32_t i = 0; i < WORDS; i++)
                CHECK(oldest->words[i] == (oldest->writer << 32 | oldest->number));
            read++;
            record_release(records);
        }
    }
    for (uint32_t i = 0; i < WRITERS; i++)
        pthread_join(threads[i], NULL);
    CHECK(read + records_lost(records) == (uint64_t)WRITERS * EACH);
    CHECK(read >= COUNT);
    records_destroy(records);
}

int main(void)
{
    test_rounds();
    test_order();
    test_threads();
    return 0;
}
