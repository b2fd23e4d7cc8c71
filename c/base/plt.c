/* SPDX-License-Identifier: Apache-2.0 */
#define _GNU_SOURCE
#include "base/plt.h"

#include <elf.h>
#include <link.h>
#include <stddef.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

/* Relocations of a slot that holds a function's address: of the procedure linkage table, and of the
 * other table. */
#if defined(__x86_64__)
#define SLOT R_X86_64_JUMP_SLOT
#define SLOT_DATA R_X86_64_GLOB_DAT
#elif defined(__aarch64__)
#define SLOT R_AARCH64_JUMP_SLOT
#define SLOT_DATA R_AARCH64_GLOB_DAT
#else
#error "Say here how this architecture calls functions of other libraries."
#endif

struct search {
    const struct plt_divert *diverts;
    uint32_t n;
    uint32_t changed;
};

/* One loaded object. */
struct object {
    const char *file;
    uintptr_t base;
    const ElfW(Sym) *symbols;
    const char *strings;
    const ElfW(Rela) *tables[2];
    size_t sizes[2];
    uintptr_t sealed, sealed_end;    /* What the loader made read-only after it had filled it in. */
};

static void read_dynamic(struct object *object, const ElfW(Dyn) *at)
{
    for (; at->d_tag != DT_NULL; at++) {
        switch (at->d_tag) {
        case DT_SYMTAB:
            object->symbols = (const ElfW(Sym) *)at->d_un.d_ptr;
            break;
        case DT_STRTAB:
            object->strings = (const char *)at->d_un.d_ptr;
            break;
        case DT_JMPREL:
            object->tables[0] = (const ElfW(Rela) *)at->d_un.d_ptr;
            break;
        case DT_PLTRELSZ:
            object->sizes[0] = at->d_un.d_val;
            break;
        case DT_RELA:
            object->tables[1] = (const ElfW(Rela) *)at->d_un.d_ptr;
            break;
        case DT_RELASZ:
            object->sizes[1] = at->d_un.d_val;
            break;
        default:
            break;
        }
    }
}

/* Writes a slot.  Threads that call through it meanwhile go to either place. */
static bool write_slot(const struct object *object, void **slot, void *value)
{
    const uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE), start = (uintptr_t)slot & ~(page - 1);
    const bool sealed = (uintptr_t)slot >= object->sealed && (uintptr_t)slot < object->sealed_end;

    if (sealed && mprotect((void *)start, page, PROT_READ | PROT_WRITE))
        return false;
    __atomic_store_n(slot, value, __ATOMIC_RELEASE);
    if (sealed)
        mprotect((void *)start, page, PROT_READ);
    return true;
}

static const struct plt_divert *wanted(const struct search *search, const struct object *object, const char *symbol)
{
    for (uint32_t i = 0; i < search->n; i++) {
        const struct plt_divert *divert = &search->diverts[i];

        if (!strncmp(object->file, divert->object, strlen(divert->object)) && !strcmp(symbol, divert->symbol))
            return divert;
    }
    return NULL;
}

static void divert_table(struct search *search, const struct object *object, const ElfW(Rela) *table, size_t size)
{
    for (size_t i = 0; table && i < size / sizeof *table; i++) {
        const uint64_t type = ELF64_R_TYPE(table[i].r_info);
        const struct plt_divert *divert;
        void **slot;

        if (type != SLOT && type != SLOT_DATA)
            continue;
        divert = wanted(search, object, object->strings + object->symbols[ELF64_R_SYM(table[i].r_info)].st_name);
        slot = (void **)(object->base + table[i].r_offset);
        if (divert && *slot != divert->replacement && write_slot(object, slot, divert->replacement))
            search->changed++;
    }
}

static int visit(struct dl_phdr_info *info, size_t size, void *arg)
{
    const char *slash = strrchr(info->dlpi_name, '/');
    struct object object = { .file = slash ? slash + 1 : info->dlpi_name, .base = info->dlpi_addr };
    struct search *search = arg;
    bool theirs = false;

    (void)size;
    for (uint32_t i = 0; i < search->n && !theirs; i++)
        theirs = !strncmp(object.file, search->diverts[i].object, strlen(search->diverts[i].object));
    for (uint32_t i = 0; i < info->dlpi_phnum && theirs; i++) {
        const ElfW(Phdr) *header = &info->dlpi_phdr[i];

        if (header->p_type == PT_DYNAMIC)
            read_dynamic(&object, (const ElfW(Dyn) *)(object.base + header->p_vaddr));
        if (header->p_type == PT_GNU_RELRO) {
            object.sealed = object.base + header->p_vaddr;
            object.sealed_end = object.sealed + header->p_memsz;
        }
    }
    for (int i = 0; i < 2 && object.symbols && object.strings; i++)
        divert_table(search, &object, object.tables[i], object.sizes[i]);
    return 0;
}

uint32_t plt_divert(const struct plt_divert *diverts, uint32_t n)
{
    struct search search = { .diverts = diverts, .n = n };

    dl_iterate_phdr(visit, &search);
    return search.changed;
}
