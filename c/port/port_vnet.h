/* SPDX-License-Identifier: Apache-2.0
 * port_vnet.h - the virtio-net header in which Linux says what it left undone in a packet, to and
 * from mbufs.
 *
 * For ports whose packets pass the kernel by a file descriptor (AF_PACKET, TAP).  Each packet is
 * read into a header, a mbuf and, behind that, a large buffer, so that a 64 KiB segment arrives
 * whole without a copy.  Segments above that (BIG TCP) are read into memory of the thread as well,
 * 14 MiB at most, and split into packets whose IP headers can say how long they are.
 *
 * Threads: the owner of the queue. */
#ifndef UPCALL_PORT_VNET_H
#define UPCALL_PORT_VNET_H

#include <linux/if_packet.h>
#include <linux/virtio_net.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>
#include <sys/uio.h>

struct rte_mbuf;

#define VNET_BATCH 32
#define VNET_PARTS 4             /* Of what is read: header, mbuf, large buffer, more. */
/* Bytes of that: Linux makes segments of 524,280 bytes and headers, at most. */
#define VNET_MORE 458752u
#define VNET_PACKETS 17          /* That one frame may become. */
#define VNET_SEGMENTS 64         /* mbufs of a packet to be sent. */

/* Where one packet is read to. */
struct vnet_buffer {
    struct rte_mbuf *m, *large;  /* NULL: taken, or not had. */
    uint8_t *more;               /* Of the thread; or NULL. */
    struct iovec parts[VNET_PARTS];
    struct virtio_net_hdr header;
};

/* Makes buffers ready; returns how many of them, from the first on, are. */
unsigned int vnet_fill(struct vnet_buffer *, unsigned int n);
void vnet_empty(struct vnet_buffer *, unsigned int n);

/* The buffers of this thread, VNET_BATCH of them, which all its ports receive by: what each port
 * kept ready, others would not have.  They go with the thread. */
struct vnet_buffer *vnet_buffers(void);

/* The packet that was read, of `size` bytes with the header; NULL, and the buffer stays ready, if
 * it is no good. */
struct rte_mbuf *vnet_take(struct vnet_buffer *, uint32_t size);

/* A tag (host order) that the kernel took out; 0: none. */
struct vnet_tag {
    uint16_t tpid, tci;
};

/* What goes beside a packet. */
union vnet_ancillary {
    struct cmsghdr align;
    uint8_t bytes[CMSG_SPACE(sizeof(struct tpacket_auxdata))];
};

/* The tag that the kernel keeps beside a packet of a packet socket. */
struct vnet_tag vnet_tag_of(struct msghdr *);

/* All that becomes of what was read, `size` bytes with the header: marked, and with its tag.
 * Returns how many packets; 0: it was no good; -1: there were no mbufs. */
int vnet_receive(struct vnet_buffer *, uint32_t size, struct vnet_tag, struct rte_mbuf *packets[VNET_PACKETS]);

/* Puts a VLAN tag (host order) back that the kernel took out, before vnet_mark(). */
void vnet_tag(struct vnet_buffer *, struct rte_mbuf *, uint16_t tpid, uint16_t tci);

/* Marks a packet with what its header asks for.  False: something that no port can do. */
bool vnet_mark(struct rte_mbuf *, const struct virtio_net_hdr *);

/* The header and parts to write for a packet; returns the number of parts, 0 if it cannot be
 * sent. */
unsigned int vnet_parts(struct rte_mbuf *, struct virtio_net_hdr *, struct iovec parts[VNET_SEGMENTS + 1]);

/* Says beside a packet that Linux shall cut TCP inside its tunnel (link_wrap.h), if it is such a
 * one. */
bool vnet_wrap(const struct rte_mbuf *, struct msghdr *, union vnet_ancillary *);

#endif
