// SPDX-License-Identifier: Apache-2.0
/**
 * The insides of the datapath in memory of `fake_provider.ts`: its flows, its ports, its actions.
 *
 * @module
 */
import type {
  FlowDump,
  FlowDumpOptions,
  FlowStats,
  OpResult,
  ProviderFlowPut,
  ProviderOp,
  RawFlow,
} from "../../providers/contract/flows.ts";
import type { Port, PortRequest } from "../../providers/contract/ports.ts";
import type { RawUpcall } from "../../providers/contract/upcalls.ts";
import { DatapathError } from "../../providers/errors.ts";
import type { ErrnoName } from "../../providers/errno.ts";
import type { PortNo, Ufid } from "../../providers/ids.ts";
import { encodeKey, extractKey, ufidText } from "../../providers/odp/mod.ts";
import type { FakeHandler } from "./fake_handler.ts";

const KEY_ENCAP = 1;
const KEY_IN_PORT = 3;
const KEY_RECIRC_ID = 20;
const ACTION_OUTPUT = 1;
const ACTION_USERSPACE = 2;
const ACTION_RECIRC = 7;
const ACTION_TRUNC = 13;
const USERSPACE_USERDATA = 2;
const MAX_PORT = 65534;
const MAX_RECIRCULATIONS = 8;

/** Attributes by path (`0/1/6`): those of `encap` are told from those outside. */
export type Attributes = ReadonlyMap<string, Uint8Array>;

/** A flow. */
interface FakeFlow {
  readonly keyBytes: Uint8Array;
  readonly maskBytes: Uint8Array;
  readonly key: Attributes;
  readonly mask: Attributes;
  readonly ufid: Ufid;
  actions: Uint8Array;
  packets: bigint;
  bytes: bigint;
}

/** A port, and what was sent to it. */
export interface FakePort extends Port {
  readonly sent: Uint8Array[];
  rxPackets: bigint;
  rxBytes: bigint;
  txPackets: bigint;
  txBytes: bigint;
}

/** What all who have a datapath open share. */
export class FakeTable {
  readonly ports = new Map<PortNo, FakePort>();
  readonly flows = new Set<FakeFlow>();
  readonly handlers = new Map<number, FakeHandler>();
  readonly ringSize: number;
  handlerCount = 1;
  portChanges = 0;
  onPortChange = new Set<() => void>();
  references = 0;
  destroyed = false;
  hit = 0n;
  missed = 0n;
  lost = 0n;

  constructor(ringSize: number) {
    this.ringSize = ringSize;
  }

  addPort(request: PortRequest): Port {
    const { name, type = "dummy" } = request;
    const fail = (code: ErrnoName): never => {
      throw new DatapathError({ operation: "add port", object: name, code });
    };
    if (type !== "dummy") fail("EAFNOSUPPORT");
    if ([...this.ports.values()].some((port) => port.name === name)) fail("EEXIST");
    let no = request.no ?? 1;
    if (no > MAX_PORT) fail("EFBIG");
    if (request.no !== undefined && this.ports.has(no)) fail("EBUSY");
    while (this.ports.has(no)) no++;
    const counters = { rxPackets: 0n, rxBytes: 0n, txPackets: 0n, txBytes: 0n };
    this.ports.set(no, { no, name, type, sent: [], ...counters });
    this.tellPortChange();
    return { no, name, type };
  }

  tellPortChange(): void {
    this.portChanges++;
    for (const tell of this.onPortChange) tell();
  }

  /** Forwards a frame; `key` of a recirculated packet is given. */
  forward(packet: Uint8Array, inPort: PortNo, recircId = 0, depth = 0): void {
    const keyBytes = encodeKey({ ...extractKey(packet, { inPort }), recircId });
    const key = attributes(keyBytes);
    const flow = this.lookup(key);
    if (flow === undefined) {
      this.missed++;
      this.up({ kind: "miss", key: keyBytes, packet });
      return;
    }
    this.hit++;
    flow.packets++;
    flow.bytes += BigInt(packet.length);
    this.act(flow.actions, packet, inPort, keyBytes, depth);
  }

  lookup(key: Attributes): FakeFlow | undefined {
    for (const flow of this.flows) if (covers(flow, key)) return flow;
    return undefined;
  }

  act(
    actions: Uint8Array,
    packet: Uint8Array,
    inPort: PortNo,
    key: Uint8Array,
    depth: number,
  ): void {
    let cut = packet.length;
    for (const { id, payload } of nested(actions)) {
      const view = new DataView(payload.buffer, payload.byteOffset, payload.length);
      const frame = packet.slice(0, cut);
      if (id === ACTION_TRUNC) {
        cut = Math.min(packet.length, view.getUint32(0, true));
        continue;
      }
      cut = packet.length;
      if (id === ACTION_OUTPUT) {
        this.send(view.getUint32(0, true), frame);
      } else if (id === ACTION_USERSPACE) {
        const userdata = nested(payload).find(({ id }) => id === USERSPACE_USERDATA)
          ?.payload;
        this.up({
          kind: "action",
          key,
          packet: frame,
          ...(userdata && { userdata: userdata.slice() }),
          ...(frame.length < packet.length && { originalLength: packet.length }),
        });
      } else if (id === ACTION_RECIRC && depth < MAX_RECIRCULATIONS) {
        this.forward(frame, inPort, view.getUint32(0, true), depth + 1);
      }
    }
  }

  send(no: PortNo, frame: Uint8Array): void {
    const port = this.ports.get(no);
    if (port === undefined) return;
    port.sent.push(frame);
    port.txPackets++;
    port.txBytes += BigInt(frame.length);
  }

  up(upcall: RawUpcall): void {
    const key = upcall.key;
    const spread = this.handlerCount === 0
      ? 0
      : (key[key.length - 1] ?? 0) % this.handlerCount;
    const handler = this.handlers.get(spread);
    if (handler?.push(upcall) !== true) this.lost++;
  }
}

/** Runs one operation of a batch. */
export function operateOne(table: FakeTable, op: ProviderOp): OpResult {
  const fail = (code: ErrnoName): never => {
    throw new DatapathError({ operation: op.op, code });
  };
  if (op.op === "execute") {
    checkActions(op.actions);
    if (op.packet.length < 14 || op.packet.length > 65535) fail("EINVAL");
    nested(op.actions);
    const inPort = op.key === undefined ? 0 : word(attributes(op.key), KEY_IN_PORT) ?? 0;
    if (op.probe !== true) {
      table.act(op.actions, op.packet, inPort, op.key ?? new Uint8Array(), 0);
    }
    return { ok: true };
  }
  if (op.op === "put") return put(table, op);
  const flow = op.ufid !== undefined
    ? [...table.flows].find(({ ufid }) => ufid === nameOf(op.ufid))
    : table.lookup(attributes(op.key ?? fail("EINVAL")));
  if (flow === undefined) return fail("ENOENT");
  if (op.op === "get") return { ok: true, flow: rawFlow(flow, {}) };
  table.flows.delete(flow);
  return op.wantStats ? { ok: true, stats: statsOf(flow) } : { ok: true };
}

function nameOf(ufid: Ufid | Uint8Array | undefined): Ufid | undefined {
  return ufid instanceof Uint8Array ? ufidText(ufid) : ufid;
}

/** Throws `EINVAL` for what is no list of actions, and for output to what no port can be. */
function checkActions(actions: Uint8Array): void {
  for (const { id, payload } of nested(actions)) {
    const { buffer, byteOffset, length } = payload;
    if (id !== ACTION_OUTPUT || length !== 4) continue;
    if (new DataView(buffer, byteOffset, length).getUint32(0, true) > MAX_PORT) {
      throw new DatapathError({ operation: "read actions", code: "EINVAL" });
    }
  }
}

function put(table: FakeTable, op: ProviderFlowPut): OpResult {
  const fail = (code: ErrnoName): never => {
    throw new DatapathError({ operation: "put flow", code });
  };
  const key = attributes(op.key);
  const maskBytes = op.mask ?? ones(op.key);
  const mask = attributes(maskBytes);
  checkActions(op.actions);
  if (word(mask, KEY_IN_PORT) !== 0xffffffff) fail("EINVAL");
  const known = table.lookup(key);
  if (known !== undefined && !op.modify) return fail("EEXIST");
  if (known === undefined && !op.create) return fail("ENOENT");
  const stats = known === undefined
    ? { packets: 0n, bytes: 0n, tcpFlags: 0 }
    : statsOf(known);
  if (known !== undefined) {
    known.actions = op.actions.slice();
    if (op.zeroStats) known.packets = known.bytes = 0n;
  } else {
    table.flows.add({
      keyBytes: op.key.slice(),
      maskBytes: maskBytes.slice(),
      key: attributes(op.key.slice()),
      mask: attributes(maskBytes.slice()),
      ufid: nameOf(op.ufid) ?? crypto.randomUUID(),
      actions: op.actions.slice(),
      packets: 0n,
      bytes: 0n,
    });
  }
  return op.wantStats ? { ok: true, stats } : { ok: true };
}

function covers(flow: FakeFlow, key: Attributes): boolean {
  for (const [path, bits] of flow.mask) {
    const wanted = flow.key.get(path);
    const found = key.get(path);
    for (let i = 0; i < bits.length; i++) {
      const bit = bits[i] as number;
      if (bit !== 0 && found === undefined && wanted !== undefined) return false;
      if (((wanted?.[i] ?? 0) ^ (found?.[i] ?? 0)) & bit) return false;
    }
  }
  // What a key does not say of recirculation is "not recirculated".
  return word(flow.key, KEY_RECIRC_ID) !== undefined || !word(key, KEY_RECIRC_ID);
}

function statsOf({ packets, bytes }: FakeFlow): FlowStats {
  return { packets, bytes, tcpFlags: 0 };
}

function rawFlow(flow: FakeFlow, { terse }: FlowDumpOptions): RawFlow {
  const { ufid, keyBytes, maskBytes, actions } = flow;
  if (terse) return { ufid, stats: statsOf(flow) };
  return {
    ufid,
    key: keyBytes.slice(),
    mask: maskBytes.slice(),
    actions: actions.slice(),
    stats: statsOf(flow),
  };
}

/** Lists `flows`. */
export function fakeDump(flows: FakeFlow[], options: FlowDumpOptions): FlowDump {
  return {
    next: (max) => flows.splice(0, max).map((flow) => rawFlow(flow, options)),
    close: () => void (flows = []),
  };
}

/** Attributes in a row. Throws `EINVAL` for bytes that are none. */
function nested(bytes: Uint8Array): { id: number; payload: Uint8Array }[] {
  const found: { id: number; payload: Uint8Array }[] = [];
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  for (let at = 0; at < bytes.length;) {
    const size = at + 4 <= bytes.length ? view.getUint16(at, true) : 0;
    if (size < 4 || at + size > bytes.length) {
      throw new DatapathError({ operation: "read attributes", code: "EINVAL" });
    }
    found.push({
      id: view.getUint16(at + 2, true) & 0x3fff,
      payload: bytes.subarray(at + 4, at + size),
    });
    at += size + 3 & ~3;
  }
  return found;
}

/** The attributes of a key or mask. */
export function attributes(
  bytes: Uint8Array,
  path = "0",
  into = new Map<string, Uint8Array>(),
): Attributes {
  for (const { id, payload } of nested(bytes)) {
    if (id === KEY_ENCAP) attributes(payload, `${path}/${id}`, into);
    else into.set(`${path}/${id}`, payload);
  }
  return into;
}

function word(from: Attributes, id: number): number | undefined {
  const payload = from.get(`0/${id}`);
  if (payload === undefined) return undefined;
  return new DataView(payload.buffer, payload.byteOffset, payload.length).getUint32(
    0,
    true,
  );
}

/** A mask with every bit of a key. */
function ones(key: Uint8Array): Uint8Array {
  const mask = key.slice();
  for (const { id, payload } of nested(mask)) {
    if (id === KEY_ENCAP) payload.set(ones(payload));
    else payload.fill(0xff);
  }
  return mask;
}
