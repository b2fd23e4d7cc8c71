// SPDX-License-Identifier: Apache-2.0
#include "frames.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <fcntl.h>
#include <unistd.h>

#define LINE 64u
#define HUGE_PAGE (2u << 20)
#define LONGEST 2048u /* the data room of every mempool that the compared programs make */

struct pcap_header {
    uint32_t magic;
    uint16_t version[2];
    uint32_t zone, precision, snap, link;
};

struct pcap_record {
    uint32_t seconds, fraction, captured, original;
};

/* Walks the records. With `frames->bytes` set it copies them, else it only counts. */
static int walk(struct frames *frames, const uint8_t *file, size_t size)
{
    uint32_t count = 0, longest = 0;
    size_t at = sizeof(struct pcap_header);

    while (at < size) {
        struct pcap_record record;

        if (size - at < sizeof record)
            return EINVAL;
        memcpy(&record, file + at, sizeof record);
        at += sizeof record;
        if (record.captured != record.original || record.captured > LONGEST ||
            record.captured > size - at)
            return EINVAL;
        if (frames->bytes) {
            memcpy(frames->bytes + (size_t)count * frames->stride, file + at,
                   record.captured < frames->stride ? record.captured : frames->stride);
            frames->length[count] = (uint16_t)record.captured;
        }
        if (record.captured > longest)
            longest = record.captured;
        at += record.captured;
        count++;
    }
    if (frames->head && longest > frames->head)
        longest = frames->head;
    frames->count = count;
    frames->stride = (longest + LINE - 1) / LINE * LINE;
    return count ? 0 : EINVAL;
}

static uint64_t next_random(uint64_t *state)
{
    uint64_t x = *state;

    x ^= x << 13;
    x ^= x >> 7;
    x ^= x << 17;
    return *state = x;
}

static int shuffle(struct frames *frames, uint64_t seed)
{
    frames->order = malloc(frames->count * sizeof *frames->order);
    if (!frames->order)
        return ENOMEM;
    for (uint32_t i = 0; i < frames->count; i++)
        frames->order[i] = i;
    for (uint32_t i = frames->count - 1; i > 0; i--) {
        uint32_t j = (uint32_t)(next_random(&seed) % (i + 1)), swap = frames->order[i];

        frames->order[i] = frames->order[j];
        frames->order[j] = swap;
    }
    return 0;
}

static int place(struct frames *frames, const uint8_t *file, size_t size)
{
    /* The receive prefetches a few frames past the end. */
    size_t need = ((size_t)frames->count + 16) * frames->stride;
    void *map;

    frames->mapped = (need + HUGE_PAGE - 1) / HUGE_PAGE * HUGE_PAGE;
    map = mmap(NULL, frames->mapped, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (map == MAP_FAILED)
        return errno;
    madvise(map, frames->mapped, MADV_HUGEPAGE);
    frames->bytes = map;
    frames->length = calloc(frames->count, sizeof *frames->length);
    return frames->length ? walk(frames, file, size) : ENOMEM;
}

static int load(struct frames *frames, int fd, uint64_t seed)
{
    struct pcap_header header;
    struct stat stat;
    void *file;
    int error;

    if (fstat(fd, &stat))
        return errno;
    if ((size_t)stat.st_size < sizeof header)
        return EINVAL;
    file = mmap(NULL, (size_t)stat.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
    if (file == MAP_FAILED)
        return errno;
    memcpy(&header, file, sizeof header);
    error = header.magic == 0xa1b2c3d4 || header.magic == 0xa1b23c4d ? 0 : EINVAL;
    if (!error)
        error = walk(frames, file, (size_t)stat.st_size);
    if (!error)
        error = place(frames, file, (size_t)stat.st_size);
    if (!error && seed)
        error = shuffle(frames, seed);
    munmap(file, (size_t)stat.st_size);
    return error;
}

int frames_open(struct frames *frames, const char *path, uint64_t seed, uint32_t head)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC), error;

    memset(frames, 0, sizeof *frames);
    frames->head = head;
    if (fd < 0)
        return errno;
    error = load(frames, fd, seed);
    close(fd);
    if (error)
        frames_close(frames);
    return error;
}

/* Of addresses and ports, or addresses alone, of untagged IP; 0 for all else. */
static uint32_t toeplitz(const uint8_t *frame, uint32_t length)
{
    static const uint8_t key[40] = {
        0x6d, 0x5a, 0x56, 0xda, 0x25, 0x5b, 0x0e, 0xc2, 0x41, 0x67, 0x25, 0x3d, 0x43, 0xa3,
        0x8f, 0xb0, 0xd0, 0xca, 0x2b, 0xcb, 0xae, 0x7b, 0x30, 0xb4, 0x77, 0xcb, 0x2d, 0xa3,
        0x80, 0x30, 0xf2, 0x0c, 0x6a, 0x42, 0xb7, 0x3b, 0xbe, 0xac, 0x01, 0xfa,
    };
    uint32_t from, size, window = 0x6d5a56da, hash = 0;
    uint8_t proto;

    if (length >= 42 && frame[12] == 0x08 && frame[13] == 0 && frame[14] == 0x45) {
        bool whole = !(frame[20] & 0x3f) && !frame[21];

        from = 26;
        proto = whole ? frame[23] : 0;
        size = 8;
    } else if (length >= 62 && frame[12] == 0x86 && frame[13] == 0xdd) {
        from = 22;
        proto = frame[20];
        size = 32;
    } else {
        return 0;
    }
    if (proto == 6 || proto == 17)
        size += 4;
    for (uint32_t bit = 0; bit < 8 * size; bit++) {
        if (frame[from + bit / 8] >> (7 - bit % 8) & 1)
            hash ^= window;
        window = window << 1 | (uint32_t)(key[(bit + 32) / 8 % sizeof key] >> (7 - bit % 8) & 1);
    }
    return hash;
}

int frames_hash(struct frames *frames)
{
    frames->rss = calloc(frames->count, sizeof *frames->rss);
    if (!frames->rss)
        return ENOMEM;
    for (uint32_t i = 0; i < frames->count; i++)
        frames->rss[i] = toeplitz(frames->bytes + (size_t)i * frames->stride, frames->length[i]);
    return 0;
}

void frames_close(struct frames *frames)
{
    if (frames->bytes)
        munmap(frames->bytes, frames->mapped);
    free(frames->length);
    free(frames->order);
    free(frames->rss);
    memset(frames, 0, sizeof *frames);
}
