// SPDX-License-Identifier: Apache-2.0
/**
 * Monitors of peers, which are told of changes of flows.
 *
 * What a peer changes itself it is told in short, by the number of its message, unless it wants
 * all of it. A peer that does not read is told no more, but for flows that go which it knows of;
 * when it has read what waited, it is told what came and changed meanwhile.
 *
 * Source: `ofmonitor_report()` of Open vSwitch 3.1, ofproto/connmgr.c.
 *
 * @module
 */
import type { Rule } from "../table/rule.ts";
import type { Instructions } from "../wire/action.ts";
import { writeInstructions } from "../wire/actions/instruction.ts";
import { Writer } from "../wire/bytes.ts";
import { OfError } from "../wire/error.ts";
import { MonitorFlag } from "../wire/monitor_message.ts";
import type { FlowUpdate, MonitorRequest } from "../wire/multipart_types.ts";
import type { Message } from "../wire/message.ts";
import { ANY_GROUP } from "../wire/object.ts";
import { isWithin, type PackedMatch, packMatch } from "../wire/packed/packed_match.ts";
import { Port } from "../wire/port_number.ts";
import type { By, FlowEvent } from "./change.ts";
import { isMeant } from "./meant.ts";
import type { Peer } from "./peer.ts";

/** Bytes that wait for a peer at most, until it is told no more. */
const MAX_WAITING = 128 * 1024;
/** So often it is looked whether a peer has read what waited, ms. */
const LOOK_MS = 50;
/** Updates of a message, of which none is long. */
const PART = 100;
/** Monitors of a peer at most. */
const MAX_MONITORS = 1024;

const flagOf = {
  added: MonitorFlag.add,
  removed: MonitorFlag.removed,
  modified: MonitorFlag.modify,
} as const;

interface Monitor extends MonitorRequest {
  readonly packed: PackedMatch;
}

/** A peer that monitors. */
interface Watcher {
  readonly monitors: Map<number, Monitor>;
  /** When it was told no more; undefined while it is told. */
  pausedAt: number | undefined;
}

/** Monitors of all peers of a switch. */
export class Monitors {
  readonly #rules: () => Iterable<Rule>;
  readonly #watchers = new Map<Peer, Watcher>();
  /** When rules came and were changed last, by the count of changes. */
  readonly #times = new WeakMap<
    Rule,
    { readonly added: number; readonly changed: number }
  >();
  #changes = 1;
  #timer: ReturnType<typeof setInterval> | undefined;

  /** `rules` lists all that there are. */
  constructor(rules: () => Iterable<Rule>) {
    this.#rules = rules;
  }

  /** Whether there are none. */
  get isEmpty(): boolean {
    return this.#watchers.size === 0;
  }

  /**
   * Does what a peer asks for; the flows that are there now, if it wants them. All of it is done,
   * or nothing where that throws {@linkcode OfError}.
   */
  #apply(peer: Peer, requests: readonly MonitorRequest[]): FlowUpdate[] {
    const monitors = new Map(this.#watchers.get(peer)?.monitors);
    const made: Monitor[] = [];
    for (const request of requests) {
      const { id, command, table } = request;
      if (table !== 0xff && table > 253) throw new OfError("OFPBRC_BAD_TABLE_ID");
      if (command === "add" && monitors.has(id)) {
        throw new OfError("OFPMOFC_MONITOR_EXISTS");
      }
      if (command !== "add" && !monitors.delete(id)) {
        throw new OfError("OFPMOFC_UNKNOWN_MONITOR");
      }
      if (command === "delete") continue;
      if (monitors.size >= MAX_MONITORS) throw new OfError("OFPMOFC_UNKNOWN");
      const monitor = { ...request, packed: packMatch(request.match) };
      monitors.set(id, monitor);
      made.push(monitor);
    }
    const pausedAt = this.#watchers.get(peer)?.pausedAt;
    if (monitors.size === 0) this.leave(peer);
    else this.#watchers.set(peer, { monitors, pausedAt });
    return this.#initial(made.filter(({ flags }) => flags & MonitorFlag.initial));
  }

  /** Does what a peer asks for, and answers. Throws {@linkcode OfError}. */
  answer(peer: Peer, requests: readonly MonitorRequest[], xid: number): void {
    const updates = this.#apply(peer, requests);
    for (const message of messagesOf(updates)) peer.reply(message, xid);
  }

  /** A monitor ends. Throws {@linkcode OfError}. */
  cancel(peer: Peer, id: number): void {
    const watcher = this.#watchers.get(peer);
    if (!watcher?.monitors.delete(id)) throw new OfError("OFPMOFC_UNKNOWN_MONITOR");
    if (watcher.monitors.size === 0) this.leave(peer);
  }

  /** A peer is told nothing more. */
  leave(peer: Peer): void {
    this.#watchers.delete(peer);
  }

  #initial(monitors: readonly Monitor[]): FlowUpdate[] {
    if (monitors.length === 0) return [];
    const updates: FlowUpdate[] = [];
    for (const rule of this.#rules()) {
      const about = monitors.filter((monitor) => isAbout(monitor, rule));
      if (about.length > 0) updates.push(updateOf(rule, "initial", 0, about));
    }
    return updates;
  }

  /** Tells what happened, and by whom. */
  tell(happened: readonly FlowEvent[], by: By | undefined): void {
    const news = happened.filter(({ event, rule, before }) => {
      const isNews = event !== "modified" || before === undefined ||
        before.cookie !== rule.cookie ||
        !isSame(before.instructions, rule.instructions);
      if (event !== "removed") {
        const changed = this.#changes++;
        const added = event === "added" ? changed : this.#timesOf(before).added;
        this.#times.set(rule, { added, changed });
      }
      return isNews;
    });
    for (const [peer, watcher] of this.#watchers) {
      const updates: FlowUpdate[] = [];
      let isShort = false;
      const own = by?.peer === peer ? by.xid : undefined;
      for (const one of news) {
        const update = this.#update(watcher, one, own);
        if (update === undefined || update.event === "abbreviated" && isShort) continue;
        isShort ||= update.event === "abbreviated";
        updates.push(update);
      }
      this.#send(peer, updates);
      if (watcher.pausedAt === undefined && peer.waiting() > MAX_WAITING) {
        this.#pause(peer, watcher);
      }
    }
  }

  #timesOf(rule: Rule | undefined): { readonly added: number; readonly changed: number } {
    return rule !== undefined && this.#times.get(rule) || { added: 0, changed: 0 };
  }

  #update(
    { monitors, pausedAt }: Watcher,
    { event, rule, before, reason }: FlowEvent,
    own: number | undefined,
  ): FlowUpdate | undefined {
    const isLate = pausedAt !== undefined &&
      (event !== "removed" || this.#timesOf(rule).added > pausedAt);
    if (isLate) return undefined;
    const about = [...monitors.values()].filter((monitor) =>
      (monitor.flags & flagOf[event]) !== 0 &&
      (isAbout(monitor, rule) || before !== undefined && isAbout(monitor, rule, before))
    );
    if (about.length === 0) return undefined;
    const isFull = own === undefined || pausedAt !== undefined ||
      about.some(({ flags }) => (flags & MonitorFlag.own) !== 0);
    return isFull
      ? updateOf(rule, event, reason, about)
      : { event: "abbreviated", xid: own };
  }

  #send(peer: Peer, updates: readonly FlowUpdate[]): void {
    if (updates.length === 0) return;
    for (const message of messagesOf(updates)) peer.tell(message);
  }

  #say(peer: Peer, event: "paused" | "resumed"): void {
    if (peer.version >= 5) this.#send(peer, [{ event }]);
    else peer.tell({ kind: "monitorState", event });
  }

  #pause(peer: Peer, watcher: Watcher): void {
    watcher.pausedAt = this.#changes++;
    this.#say(peer, "paused");
    if (this.#timer !== undefined) return;
    this.#timer = setInterval(() => this.#look(), LOOK_MS);
    Deno.unrefTimer(this.#timer);
  }

  /** Peers that have read all are told what came and changed meanwhile. */
  #look(): void {
    let isPaused = false;
    for (const [peer, watcher] of this.#watchers) {
      const { pausedAt, monitors } = watcher;
      if (pausedAt === undefined) continue;
      if (peer.waiting() > 0) {
        isPaused = true;
        continue;
      }
      watcher.pausedAt = undefined;
      const updates: FlowUpdate[] = [];
      for (const rule of this.#rules()) {
        const { added, changed } = this.#timesOf(rule);
        if (changed <= pausedAt) continue;
        const event = added > pausedAt ? "added" : "modified";
        const about = [...monitors.values()].filter((monitor) =>
          (monitor.flags & flagOf[event]) !== 0 && isAbout(monitor, rule)
        );
        if (about.length > 0) updates.push(updateOf(rule, event, 0, about));
      }
      this.#send(peer, updates);
      this.#say(peer, "resumed");
    }
    if (isPaused) return;
    clearInterval(this.#timer);
    this.#timer = undefined;
  }
}

function* messagesOf(updates: readonly FlowUpdate[]): IterableIterator<Message> {
  let from = 0;
  do {
    const some = updates.slice(from, from + PART);
    from += PART;
    const reply = { type: "flowMonitor", updates: some } as const;
    yield { kind: "multipartReply", reply, more: from < updates.length };
  } while (from < updates.length);
}

/** Whether a monitor is about a rule; what it was, where that did something else. */
function isAbout(monitor: Monitor, rule: Rule, before = rule): boolean {
  const { table, outPort, outGroup, packed } = monitor;
  const filter = { ...monitor, cookie: 0n, cookieMask: 0n };
  return (table === 0xff || table === rule.table) &&
    isMeant(before, { ...filter, outPort, outGroup: ANY_GROUP }) &&
    isMeant(rule, { ...filter, outPort: Port.none, outGroup }) &&
    isWithin(rule.match, packed);
}

function updateOf(
  rule: Rule,
  event: "initial" | "added" | "removed" | "modified",
  reason: number,
  about: readonly Monitor[],
): FlowUpdate {
  const hasActions = about.some(({ flags }) => flags & MonitorFlag.instructions);
  const { table, idle, hard, priority, cookie, match, instructions } = rule;
  return {
    ...{ event, reason, table, idle, hard, priority, cookie, match },
    instructions: hasActions ? instructions : {},
  };
}

function isSame(a: Instructions, b: Instructions): boolean {
  if (a === b) return true;
  const [one, other] = [bytesOf(a), bytesOf(b)];
  return one.length === other.length && one.every((byte, i) => byte === other[i]);
}

function bytesOf(instructions: Instructions): Uint8Array {
  const writer = new Writer();
  writeInstructions(writer, instructions, 6);
  return writer.bytes();
}
