// SPDX-License-Identifier: Apache-2.0
/* Tests of frames: whole captures, every cut of one, and lengths that lie. Prints nothing when good. */
#include "frames.h"

#undef NDEBUG
#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define FRAMES 40

static const char *path;
static uint8_t file[24 + FRAMES * (16 + 200)];
static size_t size;
static size_t ends[FRAMES + 1]; /* file sizes at which a record ends */

static uint32_t length_of(uint32_t i)
{
    return 1 + i * 4;
}

static void put(uint32_t word)
{
    memcpy(file + size, &word, sizeof word);
    size += sizeof word;
}

static void build(void)
{
    size = 0;
    put(0xa1b2c3d4);
    put(0x00040002);
    put(0), put(0), put(65535), put(1);
    ends[0] = size;
    for (uint32_t i = 0; i < FRAMES; i++) {
        put(0), put(0), put(length_of(i)), put(length_of(i));
        memset(file + size, (int)i + 1, length_of(i));
        size += length_of(i);
        ends[i + 1] = size;
    }
}

static void save(size_t length)
{
    FILE *out = fopen(path, "wb");

    assert(out);
    assert(fwrite(file, 1, length, out) == length);
    assert(!fclose(out));
}

static void test_whole(void)
{
    struct frames frames;

    save(size);
    assert(frames_open(&frames, path, 0, 0) == 0);
    assert(frames.count == FRAMES && !frames.order);
    assert(frames.stride % 64 == 0 && frames.stride >= length_of(FRAMES - 1));
    assert((uintptr_t)frames.bytes % 64 == 0);
    for (uint32_t i = 0; i < FRAMES; i++) {
        assert(frames.length[i] == length_of(i));
        for (uint32_t at = 0; at < frames.length[i]; at++)
            assert(frames.bytes[(size_t)i * frames.stride + at] == i + 1);
    }
    frames_close(&frames);
}

/* The lengths stay those of the frames. */
static void test_head(void)
{
    struct frames frames;

    save(size);
    assert(frames_open(&frames, path, 0, 100) == 0);
    assert(frames.count == FRAMES && frames.stride == 128);
    for (uint32_t i = 0; i < FRAMES; i++) {
        assert(frames.length[i] == length_of(i));
        for (uint32_t at = 0; at < 128; at++)
            assert(frames.bytes[(size_t)i * 128 + at] == (at < length_of(i) ? i + 1 : 0));
    }
    frames_close(&frames);
}

static void test_order(void)
{
    struct frames frames, again;
    uint32_t seen = 0, moved = 0;

    assert(frames_open(&frames, path, 7, 0) == 0);
    assert(frames_open(&again, path, 7, 0) == 0);
    assert(!memcmp(frames.order, again.order, FRAMES * sizeof *frames.order));
    for (uint32_t i = 0; i < FRAMES; i++) {
        for (uint32_t j = 0; j < FRAMES; j++)
            seen += frames.order[j] == i;
        moved += frames.order[i] != i;
    }
    assert(seen == FRAMES && moved > FRAMES / 2);
    frames_close(&frames);
    frames_close(&again);
}

/* The examples that were published with the key: 66.9.149.187:2794 to 161.142.100.80:1766. */
static void test_hash(void)
{
    static const uint8_t head[] = {0x45, 0, 0, 40, 0, 0, 0, 0, 64, 6, 0, 0, 66, 9, 149, 187, 161, 142, 100, 80, 0x0a, 0xea, 0x06, 0xe6};
    uint8_t bytes[4][64] = {{0}};
    uint16_t length[4] = {60, 60, 60, 30};
    struct frames frames = {.bytes = bytes[0], .length = length, .count = 4, .stride = 64};

    for (int i = 0; i < 4; i++) {
        bytes[i][12] = 8;
        memcpy(bytes[i] + 14, head, sizeof head);
    }
    bytes[1][20] = 0x20; /* A fragment: the ports do not count. */
    bytes[2][13] = 6;    /* ARP. */
    assert(frames_hash(&frames) == 0);
    assert(frames.rss[0] == 0x51ccc178 && frames.rss[1] == 0x323e8fc2);
    assert(frames.rss[2] == 0 && frames.rss[3] == 0);
    free(frames.rss);
}

static void test_cuts(void)
{
    for (size_t cut = 0; cut < size; cut++) {
        struct frames frames;
        uint32_t whole = 0;

        for (uint32_t i = 1; i <= FRAMES; i++)
            whole = ends[i] == cut ? i : whole;
        save(cut);
        assert(frames_open(&frames, path, 1, 0) == (whole ? 0 : EINVAL));
        assert(frames.count == whole);
        frames_close(&frames);
    }
}

/* Writes `word` at `at` and expects a refusal. */
static void expect_refused(size_t at, uint32_t word)
{
    struct frames frames;

    build();
    memcpy(file + at, &word, sizeof word);
    save(size);
    assert(frames_open(&frames, path, 0, 0) == EINVAL);
    assert(!frames.bytes && !frames.length && !frames.count);
}

static void test_lies(void)
{
    struct frames frames;

    expect_refused(0, 0xd4c3b2a1);           /* the other byte order */
    expect_refused(ends[3] + 8, 0xffffffff); /* captured */
    expect_refused(ends[3] + 8, 5000);
    expect_refused(ends[3] + 12, 1500); /* captured only in part */
    assert(frames_open(&frames, "/proc/nothing", 0, 0) == ENOENT);
    assert(frames_open(&frames, "/", 0, 0) != 0);
}

int main(int argc, char **argv)
{
    assert(argc == 2);
    path = argv[1];
    build();
    test_whole();
    test_head();
    test_order();
    test_hash();
    test_cuts();
    test_lies();
    return 0;
}
