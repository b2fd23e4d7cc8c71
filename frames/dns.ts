// SPDX-License-Identifier: Apache-2.0
/**
 * DNS messages on the wire (RFC 1035, 3596).
 *
 * @module
 */
import {
  concat,
  fits,
  formatIpv4,
  formatIpv6,
  put,
  putIpv4,
  putIpv6,
  u16,
  u32,
} from "./bytes.ts";
import {
  type DnsLayer,
  type DnsQuestion,
  type DnsRecord,
  type DnsType,
  dnsTypes,
} from "./dns_message.ts";
import type { Protocol } from "./protocol.ts";

const HEADER = 12;
const POINTER = 0xc0;
const MAX_NAME = 255;

function typeNumber(type: DnsType): number {
  const number = typeof type === "number" ? type : dnsTypes[type];
  if (number === undefined) throw new TypeError(`there is no DNS type "${type}"`);
  return number;
}

function typeName(number: number): DnsType {
  for (const [name, known] of Object.entries(dnsTypes)) {
    if (known === number) return name as DnsType;
  }
  return number;
}

/** Writes names, each suffix that was written before as a pointer to it. */
class NameWriter {
  readonly #places = new Map<string, number>();

  /** The name, to be put at `at` of the message. */
  write(name: string, at: number): Uint8Array {
    const labels = name === "" || name === "." ? [] : name.replace(/\.$/, "").split(".");
    const parts: Uint8Array[] = [];
    let place = at;
    for (const [i, label] of labels.entries()) {
      const rest = labels.slice(i).join(".").toLowerCase();
      const known = this.#places.get(rest);
      if (known !== undefined) {
        return concat(...parts, Uint8Array.of(POINTER | known >> 8, known));
      }
      if (place < 0x4000) this.#places.set(rest, place);
      const text = new TextEncoder().encode(label);
      if (text.length === 0 || text.length > 63) {
        throw new RangeError(`a label of a DNS name must have 1 to 63 bytes: "${label}"`);
      }
      parts.push(Uint8Array.of(text.length), text);
      place += 1 + text.length;
    }
    if (place - at + 1 > MAX_NAME) throw new RangeError(`DNS name is too long: ${name}`);
    return concat(...parts, Uint8Array.of(0));
  }
}

function recordData(record: DnsRecord, names: NameWriter, at: number): Uint8Array {
  const { type, data } = record;
  if (data instanceof Uint8Array) return data;
  switch (typeNumber(type)) {
    case dnsTypes.A: {
      const bytes = new Uint8Array(4);
      putIpv4(bytes, 0, data, "data of an A record");
      return bytes;
    }
    case dnsTypes.AAAA: {
      const bytes = new Uint8Array(16);
      putIpv6(bytes, 0, data, "data of an AAAA record");
      return bytes;
    }
    case dnsTypes.TXT: {
      const text = new TextEncoder().encode(data);
      return concat(Uint8Array.of(fits(text.length, 8, "length of a TXT record")), text);
    }
    case dnsTypes.NS:
    case dnsTypes.CNAME:
    case dnsTypes.PTR:
      return names.write(data, at);
    default:
      throw new TypeError(`data of a DNS record of type ${type} must be bytes`);
  }
}

function writeMessage(message: DnsLayer): Uint8Array {
  if (message.raw !== undefined) return message.raw;
  const names = new NameWriter();
  const head = new Uint8Array(HEADER);
  put(head, 0, 2, message.id, "dns.id");
  const bits = (message.response ? 0x8000 : 0) |
    fits(message.opcode, 4, "dns.opcode") << 11 |
    (message.authoritative ? 0x400 : 0) | (message.truncated ? 0x200 : 0) |
    (message.recursionDesired ? 0x100 : 0) | (message.recursionAvailable ? 0x80 : 0) |
    fits(message.z ?? 0, 3, "dns.z") << 4 | fits(message.rcode, 4, "dns.rcode");
  put(head, 2, 2, bits, "dns");
  let all = head;
  const add = (...parts: Uint8Array[]) => void (all = concat(all, ...parts));
  const ask = ({ name, type, class: family = 1 }: DnsQuestion) => {
    const numbers = new Uint8Array(4);
    put(numbers, 0, 2, typeNumber(type), "dns type");
    put(numbers, 2, 2, family, "dns class");
    add(names.write(name, all.length), numbers);
  };
  for (const question of message.questions) ask(question);
  const lists = [message.answers, message.authorities, message.additionals];
  for (const record of lists.flat()) {
    ask(record);
    const numbers = new Uint8Array(6);
    put(numbers, 0, 4, record.ttl, "dns ttl");
    const data = recordData(record, names, all.length + numbers.length);
    put(numbers, 4, 2, data.length, "length of a DNS record");
    add(numbers, data);
  }
  for (const [i, list] of [message.questions, ...lists].entries()) {
    put(all, 4 + 2 * i, 2, list.length, "number of DNS records");
  }
  return all;
}

/** Reads a message; every failure is one exception, which ends it. */
class Reader {
  at = HEADER;

  constructor(readonly bytes: Uint8Array) {}

  take(size: number): number {
    const at = this.at;
    if (at + size > this.bytes.length) throw new RangeError("DNS message is cut short");
    this.at += size;
    return at;
  }

  /** A name at `from`, and where it ends there; pointers go back only. */
  nameAt(from: number): { name: string; end: number } {
    const labels: string[] = [];
    const { bytes } = this;
    let at = from;
    let end = -1;
    for (;;) {
      const size = bytes[at];
      if (size === undefined) throw new RangeError("DNS name is cut short");
      if (size === 0) return { name: labels.join("."), end: end < 0 ? at + 1 : end };
      if (size >= POINTER) {
        const to = (size & 63) << 8 | (bytes[at + 1] ?? 0);
        if (to >= at) throw new RangeError("DNS name points forwards");
        if (end < 0) end = at + 2;
        at = to;
        continue;
      }
      if (size > 63 || at + 1 + size > bytes.length) {
        throw new RangeError("bad DNS label");
      }
      labels.push(new TextDecoder().decode(bytes.subarray(at + 1, at + 1 + size)));
      if (labels.length > 127) throw new RangeError("DNS name is too long");
      at += 1 + size;
    }
  }

  question(): DnsQuestion {
    const { name, end } = this.nameAt(this.at);
    this.at = end;
    const at = this.take(4);
    const family = u16(this.bytes, at + 2);
    const type = typeName(u16(this.bytes, at));
    return { name, type, ...(family !== 1 && { class: family }) };
  }

  record(): DnsRecord {
    const question = this.question();
    const at = this.take(6);
    const size = u16(this.bytes, at + 4);
    const from = this.take(size);
    const data = this.data(question.type, from, size);
    return { ...question, ttl: u32(this.bytes, at), data };
  }

  data(type: DnsType, at: number, size: number): string | Uint8Array {
    const { bytes } = this;
    if (type === "A" && size === 4) return formatIpv4(bytes, at);
    if (type === "AAAA" && size === 16) return formatIpv6(bytes, at);
    if (type === "NS" || type === "CNAME" || type === "PTR") {
      const { name, end } = this.nameAt(at);
      if (end === at + size) return name;
    }
    if (type === "TXT" && size > 0 && bytes[at] === size - 1) {
      return new TextDecoder().decode(bytes.subarray(at + 1, at + size));
    }
    return bytes.slice(at, at + size);
  }
}

function readMessage(raw: Uint8Array): DnsLayer {
  const reader = new Reader(raw);
  const bits = u16(raw, 2);
  const questions = Array.from({ length: u16(raw, 4) }, () => reader.question());
  const records = (at: number) =>
    Array.from({ length: u16(raw, at) }, () => reader.record());
  return {
    type: "dns",
    id: u16(raw, 0),
    response: (bits & 0x8000) !== 0,
    opcode: bits >> 11 & 15,
    authoritative: (bits & 0x400) !== 0,
    truncated: (bits & 0x200) !== 0,
    recursionDesired: (bits & 0x100) !== 0,
    recursionAvailable: (bits & 0x80) !== 0,
    z: bits >> 4 & 7,
    rcode: bits & 15,
    questions,
    answers: records(6),
    authorities: records(8),
    additionals: records(10),
    raw,
  };
}

/** DNS. */
export const dnsProtocol: Protocol<"dns"> = {
  computed: ["raw", "z"],
  write: (message, inner) => concat(writeMessage(message), inner),
  read(bytes, at, end) {
    if (at + HEADER > end) return undefined;
    try {
      return { layer: readMessage(bytes.slice(at, end)), at: end, end };
    } catch (error) {
      if (error instanceof RangeError) return undefined;
      throw error;
    }
  },
};
