// SPDX-License-Identifier: Apache-2.0
/**
 * What a switch does with the messages of a peer.
 *
 * @module
 */
import { OfError } from "../wire/error.ts";
import { decodeMessage } from "../wire/codec.ts";
import { xidAt } from "../wire/header.ts";
import { OPTION_WORDS } from "../wire/flow.ts";
import { TABLES } from "../translate/pipeline.ts";
import type { Message, MessageKind, MessageOf, PacketOut } from "../wire/message.ts";
import { type Bundle, Bundles } from "./bundles.ts";
import type { Change } from "./change.ts";
import { type Peer, setRole, tellOthers } from "./peer.ts";
import { checkTable } from "./flow_check.ts";
import { flushConnections } from "./connections.ts";
import { isNamed } from "./facts.ts";
import { queuesOf, replies, wantsCounters } from "./replies.ts";
import type { Switch } from "./switch.ts";
import { type Job, othersTurn, TURN_MS } from "./turns.ts";

/** Messages that a secondary controller may not send. */
const writes: ReadonlySet<MessageKind> = new Set([
  "packetOut",
  "resume",
  "ctFlush",
  "tlvTableMod",
  "flowMod",
  "groupMod",
  "meterMod",
  "portMod",
  "tableMod",
  "bundleControl",
  "bundleAdd",
]);
/** Messages that bundles may have. */
const bundled: ReadonlySet<MessageKind> = new Set([
  "flowMod",
  "groupMod",
  "portMod",
  "packetOut",
]);
/** Bytes of a request that come back with its error: all of it, as far as there is room. */
const ECHOED = 65_000;

/** Bytes of a packet that a peer gets which has not said how many. */
const USUAL_MISS_LENGTH = 128;

/** The error that goes to a peer; other faults are not for it. */
export function errorOf(error: unknown, request: Uint8Array): MessageOf<"error"> {
  if (!(error instanceof OfError)) throw error;
  return { kind: "error", code: error.code, data: request.slice(0, ECHOED) };
}

/** Messages of a bundle that are done before others may have their turn. */
const TOGETHER = 8;

/** Handles the messages of one peer, one after the other. */
export class Handler {
  readonly #switch: Switch;
  readonly #peer: Peer;
  readonly #bundles: Bundles;
  /** Whether a message is done, which may take many turns, or wait for those of other peers. */
  isBusy = false;
  /** Whether that is a bundle's commit. */
  isCommitting = false;
  #isOff = false;

  /** For messages of `peer`. */
  constructor(of: Switch, peer: Peer) {
    this.#switch = of;
    this.#peer = peer;
    this.#bundles = new Bundles(of.bundled);
  }

  /**
   * Handles a message with its header, of which nothing is kept. What is wrong with it is told to
   * the peer. Promises its end where that does not come at once; the next message waits for it.
   */
  handle(bytes: Uint8Array): void | Promise<void> {
    try {
      const { role, version: agreed } = this.#peer;
      const mayWrite = role !== "secondary";
      if (mayWrite && this.#bundles.addFlow(bytes, agreed, this.#switch.tlv)) return;
      const { message, version } = decodeMessage(bytes, {
        tableInCommand: this.#peer.tableInCommand,
        options: this.#switch.tlv,
      });
      if (version !== agreed && message.kind !== "hello") {
        throw new OfError("OFPBRC_BAD_VERSION");
      }
      if (!mayWrite && writes.has(message.kind)) throw new OfError("OFPBRC_IS_SECONDARY");
      const done = this.#do(message, xidAt(bytes));
      if (done === undefined) return;
      // The bytes are the reader's again until this ends.
      const start = bytes.slice(0, ECHOED);
      this.isBusy = true;
      return done.catch((error: unknown) => this.#tell(error, start))
        .finally(() => void (this.isBusy = false));
    } catch (error) {
      this.#tell(error, bytes);
    }
  }

  #tell(error: unknown, request: Uint8Array): void {
    const said = errorOf(error, request);
    if (!this.#isOff) this.#peer.reply(said, xidAt(request));
  }

  /** Ends: what the peer had begun is let go, and a bundle that is committed as if it never was. */
  close(): void {
    this.abandon();
    this.#bundles.clear();
  }

  /** The peer is gone: it hears nothing more, and no bundle of it is committed any more. */
  abandon(): void {
    this.#isOff = true;
  }

  async #statistics(
    { request }: MessageOf<"multipartRequest">,
    xid: number,
  ): Promise<void> {
    const [of, peer] = [this.#switch, this.#peer];
    if (request.type === "flowMonitor") {
      return of.monitors.answer(peer, request.monitors, xid);
    }
    if (wantsCounters(request)) await of.runtime.refresh();
    // The last part says that it is the last: one is held back.
    let before: MessageOf<"multipartReply"> | undefined;
    let since = performance.now();
    for (const reply of replies(of, request)) {
      if (performance.now() - since > TURN_MS) {
        await othersTurn();
        since = performance.now();
      }
      if (this.#isOff) return;
      if (reply === undefined) continue;
      if (before !== undefined) {
        peer.reply({ ...before, more: true }, xid);
        await peer.ready();
      }
      before = { kind: "multipartReply", reply, more: false };
    }
    if (before !== undefined) peer.reply(before, xid);
  }

  #do(message: Message, xid: number): void | Promise<void> {
    const of = this.#switch;
    const peer = this.#peer;
    switch (message.kind) {
      case "hello":
      case "setFlowFormat":
      case "echoReply":
      case "error":
        return;
      case "echoRequest":
        return peer.reply({ kind: "echoReply", data: message.data }, xid);
      case "featuresRequest":
        return peer.reply(this.#features(), xid);
      case "configRequest":
        return peer.reply({
          kind: "configReply",
          flags: of.fragments.value | peer.ttlFlag,
          missLength: peer.missLength,
        }, xid);
      case "setConfig":
        if ((message.flags & 3) === 2) throw new OfError("OFPSCFC_BAD_FLAGS");
        of.fragments.value = message.flags & 3;
        peer.configure(message);
        return of.missesOf();
      case "tlvTableRequest":
        return peer.reply({
          kind: "tlvTableReply",
          maxSpace: 4 * OPTION_WORDS,
          maxFields: 64,
          maps: of.tlv.maps(),
        }, xid);
      case "barrierRequest": {
        // What messages before it removed is told before it is answered.
        const answer = (): void => peer.reply({ kind: "barrierReply" }, xid);
        if (of.telling === undefined && of.handing === undefined) return answer();
        return Promise.all([of.telling, of.handing]).then(answer);
      }
      case "multipartRequest":
        return this.#statistics(message, xid);
      case "monitorCancel":
        return of.monitors.cancel(peer, message.id);
      case "queueConfigRequest":
        return peer.reply({
          kind: "queueConfigReply",
          port: message.port,
          ports: queuesOf(of, message.port),
        }, xid);
      case "roleRequest":
        return setRole(of, peer, message, xid);
      case "asyncRequest":
        return peer.reply({ kind: "asyncReply", asynchronous: peer.asynchronous }, xid);
      case "setAsync":
        peer.asynchronous = { ...peer.asynchronous, ...message.asynchronous };
        if (!peer.isDeaf) return;
        // One that says what it wants to be told is told.
        peer.missLength = USUAL_MISS_LENGTH;
        return of.missesOf();
      case "bundleControl":
        return this.#bundleControl(message, xid);
      case "bundleAdd":
        return this.#bundleAdd(message);
      case "flowModTableId":
        peer.tableInCommand = message.enabled;
        return;
      case "setPacketInFormat":
        peer.format = message.format;
        return;
      case "setControllerId":
        peer.controllerId = message.id;
        return of.missesOf();
      case "flowMod":
      case "groupMod":
      case "portMod":
        return of.flows.soon((change) => this.#stage(message, change, xid));
      case "meterMod": {
        const { command, meter } = message;
        const tell = (): void => tellOthers(of, peer, message, xid);
        if (command !== "delete") {
          return of.turns.soon(() => (of.meters.apply(message), tell()));
        }
        return of.flows.soon((change) => {
          change.after.push(tell);
          return of.meters.delete(meter, change);
        });
      }
      // Those before of the same peer are done: changes of others need not be.
      case "packetOut":
        return of.runtime.packetOut(message);
      case "resume":
        return of.runtime.resume(message);
      case "ctFlush":
        return flushConnections(of.dp, message);
      default:
        return of.turns.soon(() => this.#alone(message));
    }
  }

  /** Messages that change the switch, in bundles too. */
  #stage(message: Message, change: Change, xid: number): Job<void> | void {
    const of = this.#switch;
    change.by ??= { peer: this.#peer, xid };
    switch (message.kind) {
      case "flowMod":
        return of.flows.stage(message, { isOld: this.#peer.version === 1 }, change);
      case "groupMod":
        change.after.push(() => tellOthers(of, this.#peer, message, xid));
        return of.groups.stage(message, change);
      case "portMod":
        of.checkPortMod(message);
        change.with.push(() => of.portMod(message));
        return;
      default:
        throw new OfError("OFPBRC_BAD_TYPE");
    }
  }

  /** Messages that change the switch by themselves. */
  #alone(message: Message): void {
    const of = this.#switch;
    switch (message.kind) {
      case "tlvTableMod":
        return of.tlv.apply(message, (field) => isNamed(of.flows.rules(), field));
      case "tableMod": {
        const { table, config } = message;
        const vacancy = config & 8 ? message.vacancy : undefined;
        if (table !== 0xff && table >= TABLES) throw new OfError("OFPTMFC_BAD_TABLE");
        const ids = table === 0xff ? [...Array(TABLES).keys()] : [table];
        if (this.#peer.version >= 5) {
          for (const id of ids) {
            const { limits } = of.table(id);
            of.table(id).limits = { ...limits, evicts: (config & 4) !== 0, vacancy };
          }
          return;
        }
        if (this.#peer.version === 4) return; // OpenFlow 1.3 has no misses to configure.
        // What a miss does: 0 controller, 1 continue, 2 drop.
        const miss = [3, 1, 2][config & 3];
        if (miss === undefined) throw new OfError("OFPTMFC_BAD_CONFIG");
        for (const id of ids) of.table(id).miss.value = miss;
        return;
      }
      default:
        throw new OfError("OFPBRC_BAD_TYPE");
    }
  }

  #features(): MessageOf<"featuresReply"> {
    const [of, { version }] = [this.#switch, this.#peer];
    const ports = [...of.ports.value.values()];
    // Statistics of flows, tables, ports, queues; of groups where there are any.
    const capabilities = 1 | 2 | 4 | 64 | (version > 1 ? 8 : 128);
    return {
      kind: "featuresReply",
      datapathId: of.datapathId,
      tables: TABLES,
      auxiliary: 0,
      capabilities: version >= 5 ? capabilities | 512 : capabilities,
      actions: 0xfff,
      ports,
    };
  }

  #bundleControl(
    message: MessageOf<"bundleControl">,
    xid: number,
  ): void | Promise<void> {
    const bundles = this.#bundles;
    const { bundle: id, step, flags } = message;
    const answer = step.replace("Request", "Reply") as typeof step;
    // As in Open vSwitch, without the flags.
    const reply = (): void =>
      this.#peer.reply({ ...message, step: answer, flags: 0 }, xid);
    this.expireBundles();
    const bundle = bundles.get(id);
    if (step === "openRequest") {
      if (bundles.delete(id)) throw new OfError("OFPBFC_BAD_ID");
      bundles.open(id, flags, this.#peer.version, xid);
      return reply();
    }
    if (step === "discardRequest") {
      if (!bundles.delete(id)) throw new OfError("OFPBFC_BAD_ID");
      return reply();
    }
    if (bundle === undefined) throw new OfError("OFPBFC_BAD_ID");
    if (step === "closeRequest") {
      if (bundle.isClosed || bundle.flags !== flags) {
        bundles.delete(id);
        throw new OfError(bundle.isClosed ? "OFPBFC_BUNDLE_CLOSED" : "OFPBFC_BAD_FLAGS");
      }
      bundle.isClosed = true;
      return reply();
    }
    if (step !== "commitRequest") throw new OfError("OFPBFC_BAD_TYPE");
    if (bundle.flags !== flags) {
      bundles.delete(id);
      throw new OfError("OFPBFC_BAD_FLAGS");
    }
    bundles.take(id);
    return this.#commit(bundle, reply);
  }

  /** Bundles that nobody fills any more end. */
  expireBundles(): void {
    for (const { opening, xid } of this.#bundles.expire(this.#switch.bundleIdleMs)) {
      this.#peer.reply({ kind: "error", code: "OFPBFC_TIMEOUT", data: opening }, xid);
    }
  }

  #bundleAdd({ bundle: id, flags, inner }: MessageOf<"bundleAdd">): void {
    const bundles = this.#bundles;
    // One that is not open is opened by the first message in it.
    const bundle = bundles.get(id) ??
      bundles.open(id, flags, this.#peer.version, xidAt(inner));
    if (bundle.isClosed) {
      bundles.delete(id);
      throw new OfError("OFPBFC_BUNDLE_CLOSED");
    }
    if (bundle.flags !== flags) throw new OfError("OFPBFC_BAD_FLAGS");
    const { tlv } = this.#switch;
    const { message, version } = decodeMessage(inner, { options: tlv });
    if (version !== this.#peer.version) throw new OfError("OFPBFC_BAD_VERSION");
    if (!bundled.has(message.kind)) throw new OfError("OFPBFC_MSG_UNSUP");
    if (message.kind === "flowMod") checkTable(message);
    bundles.add(bundle, inner, message, tlv.stamp);
  }

  /** Does all that is in a bundle, or nothing. */
  #commit(bundle: Bundle, reply: () => void): void | Promise<void> {
    const { flows } = this.#switch;
    const release = (): void => {
      this.isCommitting = false;
      this.#bundles.release(bundle);
    };
    let done: void | Promise<void>;
    try {
      done = flows.soon((change) => this.#stageAll(bundle, change), () => this.#isOff);
    } catch (error) {
      release();
      throw error;
    }
    if (done !== undefined) {
      this.isCommitting = true;
      return done.finally(release).then(reply);
    }
    release();
    reply();
  }

  *#stageAll(bundle: Bundle, change: Change): Job<void> {
    const { runtime, flows, tlv } = this.#switch;
    const how = { isOld: this.#peer.version === 1 };
    for (let i = 0; i < bundle.taken.messages; i++) {
      try {
        change.by ??= { peer: this.#peer, xid: xidAt(bundle.bytes(0)) };
        const known = bundle.known(i, tlv.stamp);
        if (known === undefined || !flows.stageAtOnce(known, how, change)) {
          const bytes = bundle.bytes(i);
          const { message } = decodeMessage(bytes, { options: tlv });
          if (message.kind === "packetOut") {
            runtime.checkPacketOut(message);
            flows.checkActions(message.actions, change);
            change.after.push(() => this.#send(message, bytes));
          } else yield* this.#stage(message, change, xidAt(bytes)) ?? [];
        }
      } catch (error) {
        this.#tell(error, bundle.bytes(i));
        throw new OfError("OFPBFC_MSG_FAILED");
      }
      if (i % TOGETHER === 0) yield;
    }
  }

  /** Does a packet-out of a bundle that holds: what goes wrong is told, and undoes nothing. */
  #send(message: PacketOut, bytes: Uint8Array): void {
    try {
      this.#switch.runtime.packetOut(message);
    } catch (error) {
      this.#tell(error, bytes);
    }
  }
}
