// SPDX-License-Identifier: Apache-2.0
/**
 * What a DNS message says (RFC 1035, 3596).
 *
 * @module
 */

/** Numbers of the types of records that have names here. */
export const dnsTypes = {
  A: 1,
  NS: 2,
  CNAME: 5,
  PTR: 12,
  TXT: 16,
  AAAA: 28,
} as const;

/** Type of a record: its name, or its number. */
export type DnsType = keyof typeof dnsTypes | number;

/** A question. */
export interface DnsQuestion {
  /** Labels with dots between; the root is the empty name. */
  readonly name: string;
  /** What is asked for. */
  readonly type: DnsType;
  /** 1 (Internet) if absent. */
  readonly class?: number;
}

/** A record: an address or a name in text where `type` has such, otherwise bytes. */
export interface DnsRecord extends DnsQuestion {
  /** Seconds. */
  readonly ttl: number;
  /** What it says. */
  readonly data: string | Uint8Array;
}

/** A DNS message. */
export interface DnsLayer {
  /** Tells it from other layers. */
  readonly type: "dns";
  /** Number that the client chose. */
  readonly id: number;
  /** Whether it answers. */
  readonly response: boolean;
  /** 0: a query. */
  readonly opcode: number;
  /** Whether the server is in charge of the name. */
  readonly authoritative: boolean;
  /** Whether the answer was too long. */
  readonly truncated: boolean;
  /** Whether the server shall ask others. */
  readonly recursionDesired: boolean;
  /** Whether it would. */
  readonly recursionAvailable: boolean;
  /** The three bits that follow, reserved but for AD and CD. */
  readonly z?: number;
  /** 0 no error, 3 no such name. */
  readonly rcode: number;
  /** What is asked. */
  readonly questions: readonly DnsQuestion[];
  /** What answers it. */
  readonly answers: readonly DnsRecord[];
  /** Authority records. */
  readonly authorities: readonly DnsRecord[];
  /** What else may help. */
  readonly additionals: readonly DnsRecord[];
  /**
   * The message as it came, where names are compressed in another way; put in place of all else.
   */
  readonly raw?: Uint8Array;
}

/** A DNS message, a query unless said otherwise. */
export function dns(fields: Partial<Omit<DnsLayer, "type">> = {}): DnsLayer {
  return {
    type: "dns",
    id: 0,
    response: false,
    opcode: 0,
    authoritative: false,
    truncated: false,
    recursionDesired: true,
    recursionAvailable: false,
    rcode: 0,
    questions: [],
    answers: [],
    authorities: [],
    additionals: [],
    ...fields,
  };
}
