/* SPDX-License-Identifier: Apache-2.0
 * link_wrap.h - has Linux cut TCP inside a tunnel that a packet socket sends.
 *
 * Linux cuts such packets itself, as late as it can: a veth pair passes them uncut, and cards do it
 * in hardware.  It does so for packets of its own tunnel devices, which say where the outer headers
 * end.  A virtio-net header cannot say that (packet sockets, Linux 6.18).  But a BPF program on a
 * device's way out can: it takes the outer headers of a packet off, and has Linux put them on
 * (bpf_skb_adjust_room), as tunnels made of BPF do.
 *
 * The program looks at packets of one socket only, known by its cookie, and of those at the ones
 * that are to be cut and have a mark as below; all others pass as they are.  It is attached by a
 * link of TCX (Linux 6.6), which goes with its descriptor, and so with a process that was killed.
 *
 * Threads: any. */
#ifndef UPCALL_LINK_WRAP_H
#define UPCALL_LINK_WRAP_H

#include <errno.h>
#include <stdbool.h>
#include <stdint.h>

/* Bytes in front of the IP header inside, at least and at most. */
#define LINK_WRAP_LEAST 52u
#define LINK_WRAP_MOST 352u

/* The mark (SO_MARK) of a packet whose IP header inside begins at byte `inner`, behind Ethernet;
 * outer UDP has no checksum, outer GRE neither that nor a number. */
static inline uint32_t link_wrap_mark(uint32_t inner, bool ip6, bool gre)
{
    return 0x9d000000u | (ip6 ? 0x10000u : 0) | (gre ? 0x20000u : 0) | inner;
}

/* Attaches it for packets that socket `fd` sends by a device.  The descriptor to close, or -1: this
 * kernel or process cannot. */
int link_wrap(int fd, int ifindex);

#define LINK_WRAP_TRIES 16u      /* In a row that are refused. */
#define LINK_WRAP_PAUSE_S 30u    /* After which one more is tried. */

/* Whether Linux goes on being given such packets: not while it refuses all of them.  Zeros: it is.
 * One thread at a time. */
struct link_wrap {
    uint32_t refused;            /* In a row. */
    uint64_t again;              /* Time when it is tried again; 0: it is given packets. */
};

/* What became of a packet that Linux was to cut: `error` 0, it was sent.  A queue that is full
 * says nothing of that.  `now` and `second` are in any unit.  False: none is to be given from now
 * on. */
static inline bool link_wrap_note(struct link_wrap *wrap, int error, uint64_t now, uint64_t second)
{
    if (!error)
        *wrap = (struct link_wrap){ 0 };
    else if (error != EAGAIN && error != ENOBUFS && error != EINTR && ++wrap->refused >= LINK_WRAP_TRIES)
        wrap->again = (now + LINK_WRAP_PAUSE_S * second) | 1;
    return !wrap->again;
}

/* Whether it is time to try one again: true once, and if that one is refused as well, it is over
 * for another while. */
static inline bool link_wrap_again(struct link_wrap *wrap, uint64_t now)
{
    if (!wrap->again || now < wrap->again)
        return false;
    wrap->again = 0;
    wrap->refused = LINK_WRAP_TRIES - 1;
    return true;
}

#endif
