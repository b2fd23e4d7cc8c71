/* SPDX-License-Identifier: Apache-2.0 */
#define _GNU_SOURCE
#include "packet/eal_memory.h"

#include <dirent.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>

#include <rte_memory.h>

#include "packet/eal_divert.h"

uint64_t eal_memory_hugepages(void)
{
    const char *base = "/sys/kernel/mm/hugepages";
    uint64_t sum = 0;
    DIR *directory = opendir(base);
    struct dirent *entry;

    if (!directory)
        return 0;
    while ((entry = readdir(directory)) != NULL) {
        unsigned long long kilobytes, pages;
        char path[320];
        FILE *file;

        if (sscanf(entry->d_name, "hugepages-%llukB", &kilobytes) != 1)
            continue;
        snprintf(path, sizeof path, "%s/%s/free_hugepages", base, entry->d_name);
        file = fopen(path, "re");
        if (!file)
            continue;
        if (fscanf(file, "%llu", &pages) == 1)
            sum += pages * kilobytes * 1024;
        fclose(file);
    }
    closedir(directory);
    return sum;
}

static void read_line(const char *path, char *text, int size)
{
    FILE *file = fopen(path, "re");

    if (!file || !fgets(text, size, file))
        text[0] = '\0';
    if (file)
        fclose(file);
}

/* Whether private memory that is not used is limited.  It counts as a whole, and all else would be
 * refused then. */
static bool private_is_limited(void)
{
    struct rlimit limit;
    char strict[8];

    read_line("/proc/sys/vm/overcommit_memory", strict, sizeof strict);
    return strict[0] == '2' || getrlimit(RLIMIT_DATA, &limit) || limit.rlim_cur != RLIM_INFINITY;
}

/* Whether a setting of the kernel's, "always [madvise] never", is one that heeds madvise(). */
static bool heeds(const char *name)
{
    char path[96], text[96];

    snprintf(path, sizeof path, "/sys/kernel/mm/transparent_hugepage/%s", name);
    read_line(path, text, sizeof text);
    return strstr(text, "[always]") || strstr(text, "[madvise]") || strstr(text, "[advise]") || strstr(text, "[within_size]");
}

bool eal_memory_choose(void)
{
    const bool shared = heeds("shmem_enabled"), transparent = shared || (heeds("enabled") && !private_is_limited());

    eal_keep_private(transparent && !shared);
    return transparent;
}

static int wish_huge(const struct rte_memseg_list *list, void *unused)
{
    (void)unused;
    madvise(list->base_va, list->len, MADV_HUGEPAGE); /* Only a wish. */
    return 0;
}

void eal_memory_wish(void)
{
    rte_memseg_list_walk(wish_huge, NULL);
}
