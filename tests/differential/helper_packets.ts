// SPDX-License-Identifier: Apache-2.0
/**
 * Packets of FTP and TFTP whose payload announces connections, and of the connections that were
 * announced, or nearly.
 *
 * @module
 */
import { be16, be32, bytes, ethernet } from "../support/frames.ts";
import type { Random } from "../support/random.ts";
import { type Arrival, summed, type Version } from "./conntrack_packets.ts";

/**
 * What a helper reads; `active` and `passive`: only one side announces anything; `plain`: one
 * client, whose requests come first and go to the one port.
 */
export type HelperKind = "ftp" | "ftp active" | "ftp passive" | "tftp" | "tftp plain";

const FIN = 1;
const SYN = 2;
const RST = 4;
const PSH = 8;
const ACK = 16;

const hosts = {
  4: { client: "10.1.1.1", server: "10.1.1.2", nat: "9.9.9.9", other: "10.1.1.7" },
  6: { client: "fd00::1", server: "fd00::2", nat: "fd00::99", other: "fd00::7" },
} as const;

/** Makes the packets of one sequence. */
export class HelperConversation {
  readonly seen: { readonly port: 1 | 2; readonly packet: Uint8Array }[] = [];
  readonly #next: Random;
  readonly #version: Version;
  readonly #kind: HelperKind;
  /** Whether clients are seen under another address by servers. */
  readonly #hidden: boolean;
  #step = 0;
  #seq: [number, number] = [1000, 5000];
  /** Ports that were announced, and by whom. */
  readonly #announced: { readonly port: number; readonly byClient: boolean }[] = [];

  constructor(
    next: Random,
    version: Version,
    kind: HelperKind,
    { hidden }: { readonly hidden: boolean },
  ) {
    this.#next = next;
    this.#version = version;
    this.#kind = kind;
    this.#hidden = hidden;
  }

  /** The next packet. */
  arrival(): Arrival {
    return this.#kind.startsWith("tftp") ? this.#tftp() : this.#ftp();
  }

  #pick<T>(list: readonly T[]): T {
    return list[this.#next(list.length)] as T;
  }

  /** Address that servers send to. */
  get #client(): string {
    const { client, nat } = hosts[this.#version];
    return this.#hidden ? nat : client;
  }

  #packet(
    side: 1 | 2,
    proto: 6 | 17,
    l4: Uint8Array<ArrayBuffer>,
    what: string,
  ): Arrival {
    const { client, server } = hosts[this.#version];
    const [src, dst] = side === 1 ? [client, server] : [server, this.#client];
    const at = proto === 6 ? 16 : 6;
    const packet = summed(this.#version, proto, src, dst, l4, { at, spoil: false });
    const frame = ethernet(this.#version === 4 ? 0x0800 : 0x86dd, packet);
    return { port: side, frame, what: `${src}>${dst} ${what}` };
  }

  #tcp(
    side: 1 | 2,
    [from, to]: readonly [number, number],
    flags: number,
    numbers: { readonly seq: number; readonly ack: number },
    text = "",
  ): Arrival {
    const { seq, ack } = numbers;
    const l4 = bytes(
      be16(from),
      be16(to),
      be32(seq),
      be32(flags & ACK ? ack : 0),
      0x50,
      flags,
      be16(8192),
      be32(0),
      new TextEncoder().encode(text),
    );
    const what =
      `TCP ${from}>${to} flags ${flags} seq ${seq} ack ${ack} "${text.trim()}"`;
    const { client, server } = hosts[this.#version];
    const ends = side === 1 ? `${client}>${server}` : `${server}>${this.#client}`;
    const tcp = { flags, client: side === 1 ? from : to, ends };
    return { ...this.#packet(side, 6, l4, what), tcp };
  }

  #control(side: 1 | 2, flags: number, text = ""): Arrival {
    const [mine, other] = [side - 1, 2 - side];
    const ports = side === 1 ? [1000, 21] as const : [21, 1000] as const;
    const seq = this.#seq[mine] as number;
    const made = this.#tcp(
      side,
      ports,
      flags,
      { seq, ack: this.#seq[other] as number },
      text,
    );
    this.#seq[mine] = seq + text.length + (flags & (SYN | FIN) ? 1 : 0);
    return made;
  }

  #ftp(): Arrival {
    const step = this.#step++;
    if (step === 0) return this.#control(1, SYN);
    if (step === 1) return this.#control(2, SYN | ACK);
    if (step === 2) return this.#control(1, ACK);
    const what = this.#next(16);
    if (what < 5) return this.#announce();
    if (what < 12) return this.#data();
    if (what < 14) return this.#control(this.#pick([1, 2] as const), ACK);
    if (what === 14) return this.#control(1, PSH | ACK, "USER anonymous\r\n");
    return this.#control(this.#pick([1, 2] as const), this.#pick([FIN | ACK, RST | ACK]));
  }

  #announce(): Arrival {
    const byClient = this.#kind === "ftp"
      ? this.#next(2) === 0
      : this.#kind === "ftp active";
    // A few ports, so that some are announced twice; three at most are open at a time.
    const port = this.#pick([5130, 5131, 40000]);
    const { client, server, other } = hosts[this.#version];
    const own = byClient ? client : server;
    const address = this.#next(12) === 0 ? other : own;
    if (address === own) this.#announced.push({ port, byClient });
    const numbers = `${address.replaceAll(".", ",")},${port >> 8},${port & 255}`;
    const line = this.#version === 4
      ? byClient
        ? this.#pick([`PORT ${numbers}`, `port ${numbers}`])
        : `227 Entering Passive Mode (${numbers})`
      : byClient
      ? `EPRT |2|${address}|${port}|`
      : `229 Entering Extended Passive Mode (|||${port}|)`;
    if (this.#version === 6 && !byClient) this.#announced.push({ port, byClient });
    return this.#control(byClient ? 1 : 2, PSH | ACK, `${line}\r\n`);
  }

  #data(): Arrival {
    const nearly = this.#next(8) === 0;
    const { port, byClient } = this.#announced.length > 0
      ? this.#pick(this.#announced)
      : { port: 5130, byClient: this.#kind !== "ftp passive" };
    const to = nearly ? port + 7 : port;
    const from = byClient ? this.#pick([20, 20, 21000]) : this.#pick([3000, 3001]);
    const opens = byClient ? 2 : 1;
    if (this.#next(3) > 0) {
      const flags = this.#pick([SYN, SYN, ACK]);
      return this.#tcp(opens, [from, to], flags, {
        seq: flags & SYN ? 100 : 101,
        ack: 901,
      });
    }
    const answers = opens === 1 ? 2 : 1;
    return this.#tcp(answers, [to, from], SYN | ACK, { seq: 900, ack: 101 });
  }

  #tftp(): Arrival {
    const plain = this.#kind === "tftp plain";
    const isFirst = this.#step++ === 0;
    const client = plain ? 1000 : this.#pick([1000, 1000, 1001]);
    const any = this.#pick(
      [
        [1, client, 69],
        [2, 3000, client],
        [2, 3001, client],
        [1, client, 3000],
        [2, 69, client],
        [2, 3000, 1009],
      ] as const,
    );
    const isAsked = plain && (isFirst || any[2] === 3000);
    const [side, from, to] = isAsked ? [1, client, 69] as const : any;
    const payload = new TextEncoder().encode("\0\x01file\0octet\0");
    const l4 = bytes(be16(from), be16(to), be16(8 + payload.length), be16(0), payload);
    return this.#packet(side, 17, l4, `UDP ${from}>${to}`);
  }
}
