// SPDX-License-Identifier: Apache-2.0
/**
 * Packets of conversations that are half right: two clients, two servers, numbers near the edges of
 * windows, answers nobody asked for, errors about what was sent.
 *
 * @module
 */
import { be16, be32, bytes, checksum, ethernet, ipv4, ipv6 } from "../support/frames.ts";
import type { Random } from "../support/random.ts";

/** One frame, the port that it arrives at, and what it is, for people. */
export interface Arrival {
  readonly port: 1 | 2;
  readonly frame: Uint8Array<ArrayBuffer>;
  readonly what: string;
  /** TCP: its flags, the client's port, and the addresses. */
  readonly tcp?: {
    readonly flags: number;
    readonly client: number;
    readonly ends: string;
  };
  /** An ICMP error. */
  readonly error?: true;
}

/** IP versions. */
export type Version = 4 | 6;

const hosts = {
  4: {
    clients: ["10.1.1.1", "10.1.1.5"],
    servers: ["10.1.1.2", "10.1.1.9"],
    nat: "9.9.9.9",
  },
  6: {
    clients: ["fd00::1", "fd00::5"],
    servers: ["fd00::2", "fd00::9"],
    nat: "fd00::99",
  },
} as const;

const FIN = 1;
const SYN = 2;
const RST = 4;
const ACK = 16;

const etherType = (version: Version): number => version === 4 ? 0x0800 : 0x86dd;

function wrap(
  version: Version,
  proto: number,
  src: string,
  dst: string,
  payload: Uint8Array,
): Uint8Array<ArrayBuffer> {
  return version === 4
    ? ipv4(proto, payload, { src, dst })
    : ipv6(proto, payload, { src, dst });
}

/** An IP packet whose payload has its checksum at `at`; `spoil`: a wrong one. */
export function summed(
  version: Version,
  proto: number,
  src: string,
  dst: string,
  payload: Uint8Array<ArrayBuffer>,
  { at, spoil }: { readonly at: number; readonly spoil: boolean },
): Uint8Array<ArrayBuffer> {
  const packet = wrap(version, proto, src, dst, payload);
  const pseudo = proto === 1 ? payload : bytes(
    version === 4 ? packet.subarray(12, 20) : packet.subarray(8, 40),
    be32(payload.length),
    be32(proto),
    payload,
  );
  const sum = checksum(pseudo);
  payload.set(
    be16((sum === 0 && proto === 17 ? 0xffff : sum) ^ (spoil ? 0x0101 : 0)),
    at,
  );
  return wrap(version, proto, src, dst, payload);
}

/** What either side of a TCP connection would send next. */
interface Numbers {
  seq: number;
  syn: boolean;
}

/** Makes the packets of one sequence. */
export class Conversation {
  readonly #next: Random;
  readonly #version: Version;
  /** What most packets of the sequence are. */
  readonly #focus: number;
  readonly #tcp = new Map<string, Numbers>();
  /** Frames that came out, without the tag that tells their state: what errors are about. */
  readonly seen: { readonly port: 1 | 2; readonly packet: Uint8Array }[] = [];

  constructor(next: Random, version: Version) {
    this.#next = next;
    this.#version = version;
    this.#focus = next(4);
  }

  /** The next packet. */
  arrival(): Arrival {
    const kind = this.#next(3) > 0 ? [0, 8, 8, 15][this.#focus] ?? 0 : this.#next(20);
    if (this.seen.length > 0 && this.#next(8) === 0) return this.#error();
    if (kind < 6) return this.#udp();
    return kind < 15 ? this.#tcpPacket() : this.#echo();
  }

  #pick<T>(list: readonly T[]): T {
    return list[this.#next(list.length)] as T;
  }

  /**
   * Ends of a packet that arrives at `port`. Servers answer the address that clients are translated
   * to, too.
   */
  #ends(port: 1 | 2): { src: string; dst: string } {
    const { clients, servers, nat } = hosts[this.#version];
    const client = this.#next(5) === 0 ? clients[1] : clients[0];
    const server = this.#next(6) === 0 ? servers[1] : servers[0];
    if (port === 1) return { src: client, dst: server };
    return { src: server, dst: this.#next(2) === 0 ? nat : client };
  }

  #frame(
    port: 1 | 2,
    what: string,
    packet: Uint8Array,
  ): Arrival {
    return { port, frame: ethernet(etherType(this.#version), packet), what };
  }

  /** The side's own port, then the other's. */
  #ports(port: 1 | 2, server: number): [number, number] {
    const client = this.#pick([1000, 1000, 1000, 1001, 7000]);
    const service = this.#next(8) === 0 ? 8053 : server;
    return port === 1 ? [client, service] : [service, client];
  }

  #udp(): Arrival {
    const port = this.#pick([1, 1, 2] as const);
    const { src, dst } = this.#ends(port);
    const [from, to] = this.#ports(port, 53);
    const odd = this.#next(24);
    const payload = bytes(
      be16(odd === 0 ? 0 : from),
      be16(to),
      be16(16),
      be16(0),
      new Uint8Array(8).fill(7),
    );
    const packet = summed(this.#version, 17, src, dst, payload, {
      at: 6,
      spoil: odd === 1,
    });
    return this.#frame(
      port,
      `UDP ${src}:${from}>${dst}:${to} ${odd < 2 ? odd : ""}`,
      packet,
    );
  }

  #tcpPacket(): Arrival {
    const port = this.#pick([1, 1, 2] as const);
    const { src, dst } = this.#ends(port);
    const [from, to] = this.#ports(port, 80);
    const key = (side: number) => `${side} ${port === 1 ? from : to}`;
    const numbers = (side: number): Numbers => {
      const found = this.#tcp.get(key(side)) ?? { seq: 1000 * side, syn: false };
      this.#tcp.set(key(side), found);
      return found;
    };
    const mine = numbers(port);
    const other = numbers(3 - port);
    let flags = this.#pick([ACK, ACK, ACK, ACK | 8, FIN | ACK, RST, RST | ACK, SYN]);
    if (!mine.syn && this.#next(8) > 0) flags = other.syn ? SYN | ACK : SYN;
    if (this.#next(30) === 0) flags = this.#next(64);
    const size = flags & SYN ? 0 : this.#pick([0, 0, 1, 100, 700]);
    const seq =
      (mine.seq + this.#pick([0, 0, 0, 0, 0, 0, -1, 1, 70000, -70000, 1 << 30])) >>> 0;
    const ack = flags & ACK
      ? (other.seq + this.#pick([0, 0, 0, 0, 0, 1, 67035, 67037, -67037])) >>> 0
      : 0;
    const window = this.#pick([8192, 8192, 1000, 0, 65535]);
    const options = flags & SYN && this.#next(2) === 0
      ? [1, 3, 3, this.#pick([0, 2, 7, 15])]
      : [];
    const payload = bytes(
      be16(from),
      be16(to),
      be32(seq),
      be32(ack),
      (20 + options.length) * 4,
      flags,
      be16(window),
      be16(0),
      be16(0),
      Uint8Array.from(options),
      new Uint8Array(size),
    );
    if (seq === mine.seq) {
      mine.seq += size + (flags & SYN ? 1 : 0) + (flags & FIN ? 1 : 0);
    }
    mine.syn ||= (flags & SYN) !== 0;
    const packet = summed(this.#version, 6, src, dst, payload, {
      at: 16,
      spoil: this.#next(40) === 0,
    });
    const what = `TCP ${src}:${from}>${dst}:${to} flags ${flags} seq ${seq} ack ${ack} ` +
      `win ${window} size ${size} options ${options}`;
    const client = port === 1 ? from : to;
    const ends = `${src}>${dst}`;
    return { ...this.#frame(port, what, packet), tcp: { flags, client, ends } };
  }

  #echo(): Arrival {
    const port = this.#pick([1, 1, 2] as const);
    const { src, dst } = this.#ends(port);
    const v4 = this.#version === 4;
    const [ask, answer] = v4 ? [8, 0] : [128, 129];
    const type = this.#next(12) === 0
      ? this.#pick(v4 ? [13, 14, 17, 9] : [130, 133])
      : port === 1
      ? ask
      : answer;
    const code = this.#next(20) === 0 ? 1 : 0;
    const id = this.#pick([7, 7, 9]);
    const payload = bytes(type, code, be16(0), be16(id), be16(1), new Uint8Array(8));
    const packet = summed(this.#version, v4 ? 1 : 58, src, dst, payload, {
      at: 2,
      spoil: false,
    });
    return this.#frame(
      port,
      `ICMP ${src}>${dst} type ${type} code ${code} id ${id}`,
      packet,
    );
  }

  /** About a packet that came out of a port, from behind that port. */
  #error(): Arrival {
    const { port, packet } = this.#pick(this.seen);
    const v4 = this.#version === 4;
    const address = (at: number) => packet.subarray(at, at + (v4 ? 4 : 16));
    const inside = this.#next(8) === 0 ? (v4 ? 28 : 60) : packet.length;
    const payload = bytes(
      v4 ? 3 : 1,
      1,
      be16(0),
      be32(0),
      packet.subarray(0, inside),
    );
    const router = this.#next(2) === 0;
    const text = (part: Uint8Array): string =>
      v4 ? part.join(".") : part.toHex().replace(/(....)(?=.)/g, "$1:");
    const src = router ? (v4 ? "172.16.0.1" : "fd01::1") : text(address(v4 ? 16 : 24));
    const dst = text(address(v4 ? 12 : 8));
    const whole = summed(this.#version, v4 ? 1 : 58, src, dst, payload, {
      at: 2,
      spoil: false,
    });
    const made = this.#frame(
      port,
      `error ${src}>${dst} about ${packet.toHex()}, ${inside} bytes`,
      whole,
    );
    return { ...made, error: true };
  }
}
