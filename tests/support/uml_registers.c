/* SPDX-License-Identifier: Apache-2.0
 *
 * uml_registers.c - registers of a user-mode Linux guest's programs on processors with tiles (AMX).
 *
 * Loaded into the guest's kernel by LD_PRELOAD.  Linux 6.1 for user mode knows 2,696 bytes of
 * extended registers, AVX-512 and protection keys included; a host with tiles has 11,008 and sets
 * all of them or none.  The kernel then takes the refusal for a fault of init's, and panics.  What
 * it does not know of is set here to what a program that never used it has.
 *
 * Threads: those of the guest's kernel that trace, one at a time. */
#define _GNU_SOURCE
#include <elf.h>
#include <errno.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

/* Which parts are set is a word behind the old 512 bytes. */
#define IN_USE_AT 512
/* Parts 17 and 18: how tiles are divided, and what is in them. */
#define TILES (UINT64_C(3) << 17)

static unsigned char all[32768] __attribute__((aligned(64)));

static long call(long request, pid_t pid, void *address, void *data)
{
    return syscall(SYS_ptrace, request, pid, address, data);
}

/* Bytes of registers that a process has. */
static size_t size_of(pid_t pid)
{
    static size_t size;
    struct iovec whole = { .iov_base = all, .iov_len = sizeof all };

    if (!size && !call(PTRACE_GETREGSET, pid, (void *)NT_X86_XSTATE, &whole)) {
        size = whole.iov_len;
        memset(all, 0, sizeof all);
    }
    return size;
}

long ptrace(enum __ptrace_request request, ...)
{
    va_list list;
    va_start(list, request);
    pid_t pid = va_arg(list, pid_t);
    void *address = va_arg(list, void *);
    void *data = va_arg(list, void *);
    va_end(list);
    /* As the C library does: these answer with a word. */
    if (request >= PTRACE_PEEKTEXT && request <= PTRACE_PEEKUSER) {
        long word, error = call(request, pid, address, &word);

        return error < 0 ? error : (errno = 0, word);
    }
    const struct iovec *known = data;

    if (request != PTRACE_SETREGSET || address != (void *)NT_X86_XSTATE || known->iov_len < IN_USE_AT + 8 ||
        known->iov_len >= size_of(pid))
        return call(request, pid, address, data);
    struct iovec whole = { .iov_base = all, .iov_len = size_of(pid) };
    uint64_t in_use;

    memcpy(all, known->iov_base, known->iov_len);
    memcpy(&in_use, all + IN_USE_AT, sizeof in_use);
    in_use &= ~TILES;
    memcpy(all + IN_USE_AT, &in_use, sizeof in_use);
    return call(request, pid, address, &whole);
}
