/* SPDX-License-Identifier: Apache-2.0
 * ct_tcp.h - numbers of TCP states, in Open vSwitch's order (CT_DPIF_TCPS_*), which dumps give out.
 *
 * Threads: constants. */
#ifndef UPCALL_CT_TCP_H
#define UPCALL_CT_TCP_H

/* Those that are used: a side has sent nothing, has sent, was answered, has sent FIN, had its
 * FIN answered; RST. */
enum ct_tcp_state {
    CT_TCP_STATE_CLOSED = 0,
    CT_TCP_STATE_SYN_SENT = 2,
    CT_TCP_STATE_ESTABLISHED = 4,
    CT_TCP_STATE_CLOSING = 7,
    CT_TCP_STATE_FIN_WAIT_2 = 9,
    CT_TCP_STATE_TIME_WAIT = 10,
};

#endif
