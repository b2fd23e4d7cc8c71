// SPDX-License-Identifier: Apache-2.0
/**
 * What connection tracking does otherwise than Open vSwitch's userspace datapath, each with its
 * reason and how it is known.
 *
 * @module
 */
import type { Arrival, Version } from "./conntrack_packets.ts";
import type { HelperKind } from "./helper_packets.ts";

/** Actions of packets from either side, before they are looked up again. */
export interface World {
  readonly clients: string;
  readonly servers: string;
  readonly versions?: readonly Version[];
  /** What the packets are about, where that is a helper. */
  readonly helper?: HelperKind;
}

/** What differs and is known to, with its reason. */
export interface Difference {
  readonly reason: string;
  /** So seldom that hundreds of sequences need not show it. */
  readonly rare?: true;
  /** Whether this is it. */
  readonly applies: (found: Found) => boolean;
}

/**
 * How a sequence differs: in what came out for its last packet, or in the connections at its end.
 */
interface Found {
  readonly world: World;
  readonly arrivals: readonly Arrival[];
  readonly theirs: readonly string[];
  readonly ours: readonly string[];
  readonly atEnd: boolean;
}

export const differences: readonly Difference[] = [
  {
    reason:
      "a helper reads what it was committed for, on any port, as in Open vSwitch 3.3 and the kernel: " +
      "3.1.0 reads TFTP on port 69 alone",
    applies: ({ world, arrivals, theirs, ours, atEnd }) => {
      if (world.helper !== "tftp" || !asksElsewhere(arrivals)) return false;
      if (!atEnd) {
        return arrivals.at(-1)?.port === 2 && theirs.length === 1 && ours.length === 1 &&
          isRelatedHere(theirs[0] ?? "", ours[0] ?? "");
      }
      const plain = (line: string) =>
        line.replace(/,helper=\w+/, "").replace(/,parent=\([^)]*\)/, "");
      return theirs.map(plain).sort().join() === ours.map(plain).sort().join();
    },
  },
  {
    reason:
      "a connection that a helper announced has no helper of its own: Open vSwitch 3.1.0 lists the word " +
      "of the ct that committed it, though its payload is not read",
    applies: ({ world, theirs, ours, atEnd }) =>
      atEnd && world.helper !== undefined && theirs.length === ours.length &&
      theirs.map((line) => line.replace(/,helper=\w+(?=,parent=)/, "")).sort()
        .every((line, i) => line === ours[i]),
  },
  {
    reason:
      "a connection that was closed is not in the way of its successor's translation: Open vSwitch " +
      "3.1.0 takes another port, or none, until its sweep; the kernel and 3.1.3 do not",
    applies: ({ world, arrivals, theirs, ours, atEnd }) => {
      const again = openedAgain(arrivals);
      if (!world.clients.includes("nat(") || again.size === 0) return false;
      if (atEnd) return onlyOne(theirs, ours).every((line) => isOf(line, again));
      const last = arrivals.at(-1);
      // About a packet of it, or of it: servers answer the port that it was given.
      return last?.error === true || (last?.tcp !== undefined &&
        (last.port === 2 || again.has(last.tcp.client)));
    },
  },
  {
    reason:
      "what is inside an ICMPv6 error about a translated packet is right afterwards: Open vSwitch " +
      "3.1.0 corrects a checksum twice, or an address in its place",
    applies: ({ world, arrivals, theirs, ours, atEnd }) =>
      !atEnd && /nat\(\w+=\[?fd/.test(world.clients) && arrivals.at(-1)?.error === true &&
      theirs.length === ours.length &&
      theirs.every((frame, i) => isSameOutside(frame, ours[i] ?? "")),
  },
  {
    reason:
      "the ends of a half-open connection find out about each other: a SYN in it, its acknowledgement by " +
      "an older number and the reset that follows pass and change nothing else, as in Linux; for Open " +
      "vSwitch 3.1.0 one of them is invalid",
    applies: ({ arrivals }) => isHalfOpen(arrivals),
  },
  {
    reason:
      "a connection announces four others at a time, the oldest of which gives way to a fifth one: Open " +
      "vSwitch 3.1.0 keeps as many as are announced",
    rare: true,
    applies: ({ world, arrivals, theirs, ours, atEnd }) =>
      !atEnd && world.helper?.startsWith("ftp") === true && announced(arrivals) > 4 &&
      theirs.length === 1 && ours.length === 1 &&
      isRelatedThere(theirs[0] ?? "", ours[0] ?? ""),
  },
];

/** How many connections have been announced, the same ones more than once too. */
function announced(arrivals: readonly Arrival[]): number {
  return arrivals.filter(({ what }) => /"(?:port|eprt|227|229) /i.test(what)).length;
}

/**
 * Whether a frame is related there, and not here; and the same but for what was found out about it.
 */
function isRelatedThere(theirs: string, ours: string): boolean {
  const tag = 2 * 14;
  const [there = 0, here = 0] = [theirs, ours].map((hex) =>
    parseInt(hex.slice(tag, tag + 4), 16)
  );
  return (there & 4) !== 0 && (here & 4) === 0 &&
    theirs.slice(0, tag) + theirs.slice(tag + 4) ===
      ours.slice(0, tag) + ours.slice(tag + 4);
}

/**
 * Whether one side begins anew what the other has acknowledged or it has ended itself, or is
 * answered by no SYN.
 */
function isHalfOpen(arrivals: readonly Arrival[]): boolean {
  const open = new Set<string>();
  const acknowledged = new Set<string>();
  const ended = new Set<string>();
  return arrivals.some(({ port, tcp }) => {
    if (tcp === undefined) return false;
    const mine = `${tcp.client} ${port}`;
    const other = `${tcp.client} ${3 - port}`;
    const answer = `${mine} ${tcp.ends}`;
    const [syn, ack] = [(tcp.flags & 2) !== 0, (tcp.flags & 16) !== 0];
    if (ack) acknowledged.add(other);
    if ((tcp.flags & 1) !== 0) ended.add(mine);
    if (syn) open.add(mine).add(answer);
    return syn
      ? !ack && (acknowledged.has(mine) || ended.has(mine))
      : ack && open.has(other) && !open.has(answer);
  });
}

/** Whether a client has sent to another port than that of TFTP, with its helper. */
function asksElsewhere(arrivals: readonly Arrival[]): boolean {
  return arrivals.some(({ port, what }) => port === 1 && / UDP \d+>(?!69$)/.test(what));
}

/**
 * Whether a frame is related here, and not there, with the mark that comes of it; and the same
 * else.
 */
function isRelatedHere(theirs: string, ours: string): boolean {
  const tag = 2 * 14;
  const [there, here] = [theirs, ours].map((hex) =>
    parseInt(hex.slice(tag, tag + 4), 16)
  );
  return there === 0x21 && here === (0x25 | 1 << 8) &&
    theirs.slice(0, tag) + theirs.slice(tag + 4) ===
      ours.slice(0, tag) + ours.slice(tag + 4);
}

/** Ports of clients that open a connection anew that was reset or shut down. */
function openedAgain(arrivals: readonly Arrival[]): Set<number> {
  const closed = new Set<number>();
  const again = new Set<number>();
  for (const { tcp } of arrivals) {
    if (tcp === undefined) continue;
    if ((tcp.flags & 5) !== 0) closed.add(tcp.client);
    if ((tcp.flags & 0x12) === 2 && closed.has(tcp.client)) again.add(tcp.client);
  }
  return again;
}

/** Lines that one side alone has. */
function onlyOne(theirs: readonly string[], ours: readonly string[]): string[] {
  return [
    ...theirs.filter((line) => !ours.includes(line)),
    ...ours.filter((line) => !theirs.includes(line)),
  ];
}

/** Whether a connection of TCP is one of these clients'. */
function isOf(line: string, clients: ReadonlySet<number>): boolean {
  const port = /^tcp,orig=\([^)]*sport=(\d+)/.exec(line)?.[1];
  return port !== undefined && clients.has(Number(port));
}

/**
 * Whether frames with a tag and an ICMPv6 error are equal but for its checksum and what is inside.
 */
function isSameOutside(theirs: string, ours: string): boolean {
  const checksum = 2 * (18 + 40 + 2);
  return theirs.length === ours.length &&
    theirs.slice(0, checksum) === ours.slice(0, checksum) &&
    theirs.slice(checksum + 4, checksum + 12) === ours.slice(checksum + 4, checksum + 12);
}
