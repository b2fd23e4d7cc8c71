// SPDX-License-Identifier: Apache-2.0
/**
 * What a DHCP message says (RFC 2131, 2132).
 *
 * @module
 */

/** Kinds of messages, by the number that option 53 has. */
export const dhcpMessages = [
  "discover",
  "offer",
  "request",
  "decline",
  "ack",
  "nak",
  "release",
  "inform",
] as const;

/** Kind of a message. */
export type DhcpMessage = typeof dhcpMessages[number];

/** What a message says in its options. They are written in this order. */
export interface DhcpOptions {
  /** Kind of the message. */
  readonly message?: DhcpMessage;
  /** Mask of the network, `255.255.255.0`. */
  readonly subnetMask?: string;
  /** Routers, the best one first. */
  readonly routers?: readonly string[];
  /** Servers of DNS. */
  readonly nameServers?: readonly string[];
  /** The client's name. */
  readonly hostName?: string;
  /** The address that a client wishes for. */
  readonly requestedAddress?: string;
  /** How long the address may be used. */
  readonly leaseSeconds?: number;
  /** Address of the server. */
  readonly serverId?: string;
  /** Codes of options that a client asks for. */
  readonly parameters?: readonly number[];
}

/** An option as the wire has it. */
export interface DhcpOption {
  /** Number of the option. */
  readonly code: number;
  /** Its bytes. */
  readonly data: Uint8Array;
}

/** A DHCP message. */
export interface DhcpLayer extends DhcpOptions {
  /** Tells it from other layers. */
  readonly type: "dhcp";
  /** 1 from a client, 2 from a server. */
  readonly op: number;
  /** Number that the client chose for the exchange. */
  readonly xid: number;
  /** Seconds since the client began. */
  readonly secs: number;
  /** 0x8000: answers shall be broadcast. */
  readonly flags: number;
  /** Relays so far. */
  readonly hops: number;
  /** The client's address, if it has one. */
  readonly ciaddr: string;
  /** The address that a client is given. */
  readonly yiaddr: string;
  /** Next server. */
  readonly siaddr: string;
  /** Relay. */
  readonly giaddr: string;
  /** The client's MAC address. */
  readonly chaddr: string;
  /** Options that have no field here; they come behind those that have. */
  readonly others?: readonly DhcpOption[];
  /** Zeros behind the options; by default up to the 300 bytes of BOOTP. */
  readonly fill?: number;
  /**
   * All options as they came, where they stand in another order; put in place of everything else
   * that the options say.
   */
  readonly raw?: Uint8Array;
  /** Name of the server and of a file, 192 bytes, where they are not zero. */
  readonly boot?: Uint8Array;
}

/** A DHCP message, a client's unless said otherwise. */
export function dhcp(fields: Partial<Omit<DhcpLayer, "type">> = {}): DhcpLayer {
  const none = "0.0.0.0";
  return {
    type: "dhcp",
    op: 1,
    xid: 0,
    secs: 0,
    flags: 0,
    hops: 0,
    ciaddr: none,
    yiaddr: none,
    siaddr: none,
    giaddr: none,
    chaddr: "00:00:00:00:00:00",
    ...fields,
  };
}
