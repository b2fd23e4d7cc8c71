// SPDX-License-Identifier: Apache-2.0
/**
 * Ports of a switch: what they are now, and what of that is other than it was.
 *
 * @module
 */
import type { Datapath } from "../../providers/datapath.ts";
import type { Bundle, PatchPeer, SwitchPort } from "../translate/pipeline.ts";
import { sameTunnel } from "../translate/tunnel_port.ts";
import type { Version } from "../wire/error.ts";
import type { MessageOf } from "../wire/message.ts";
import { PortConfig, type PortDesc, PortState } from "../wire/object.ts";

/** A port of a datapath. */
type DatapathPort = NonNullable<ReturnType<Datapath["ports"]["get"]>>;
/** Tells the ports of a datapath as they were when it was first asked, by number. */
export type PortsThere = () => ReadonlyMap<number, DatapathPort>;

/** The ports of a datapath, which are listed once. What it makes throws `DatapathError`. */
export function portsThere(dp: Datapath): PortsThere {
  let known: ReturnType<PortsThere> | undefined;
  return () => known ??= new Map(Array.from(dp.ports.dump(), (port) => [port.no, port]));
}

/** A port as it is now: what controllers change of it is the switch's own. */
export type PlannedPort =
  & Pick<SwitchPort, "port" | "name" | "dp" | "patch" | "bundle" | "tunnel">
  & {
    /** Its address, `aa:bb:cc:dd:ee:ff`. */
    readonly mac?: string | undefined;
    /** Its link; it is up if absent. */
    readonly link?: {
      readonly up: boolean;
      readonly speed?: number;
      readonly duplex?: "full" | "half";
    } | undefined;
  };

/** Features (OpenFlow 1.1, 7.2.1) by speed, Mbit/s: both ways at once, and in turns. */
const features: ReadonlyMap<number, readonly [full: number, half: number]> = new Map([
  [10, [1 << 1, 1 << 0]],
  [100, [1 << 3, 1 << 2]],
  [1000, [1 << 5, 1 << 4]],
  [10_000, [1 << 6, 1 << 6]],
  [40_000, [1 << 7, 1 << 7]],
  [100_000, [1 << 8, 1 << 8]],
  [1_000_000, [1 << 9, 1 << 9]],
]);

/** What a link does now, as features. Of other speeds Open vSwitch (3.1) says nothing, either. */
function featuresOf(link: PlannedPort["link"]): number {
  const [full = 0, half = 0] = features.get(link?.speed ?? 0) ?? [];
  return link?.duplex === "half" ? half : full;
}

/** What a patch was, where it leads to the same port. */
function samePatch(
  before: PatchPeer | undefined,
  now: PatchPeer | undefined,
): PatchPeer | undefined {
  const isSame = before?.pipeline === now?.pipeline && before?.port === now?.port;
  return isSame ? before : now;
}

/** What a bundle was, where it is the same. */
function sameBundle(before: Bundle | undefined, now: Bundle | undefined): typeof now {
  const [a, b] = [before, now];
  if (a === undefined || b === undefined) return now;
  const isSame = sharesVlans(a, b) && a.bond === b.bond &&
    a.speaksLacp === b.speaksLacp &&
    a.isProtected === b.isProtected &&
    a.priorityTags === b.priorityTags && a.ports.length === b.ports.length &&
    a.ports.every((port, i) => port === b.ports[i]);
  return isSame ? before : now;
}

/** Whether it is the same bundle, in the same VLANs. */
function sharesVlans(a: Bundle, b: Bundle): boolean {
  return a.name === b.name && a.mode === b.mode && a.tag === b.tag &&
    isSameSet(a.trunks, b.trunks) && isSameSet(a.customers, b.customers);
}

function isSameSet(
  a: ReadonlySet<number> | undefined,
  b: ReadonlySet<number> | undefined,
): boolean {
  return (a === undefined) === (b === undefined) &&
    new Set(a).symmetricDifference(new Set(b)).size === 0;
}

/** A port with what controllers know of it. `before` is what had its number. */
export function portOf(
  { port, name, dp, patch, bundle, tunnel, mac, link }: PlannedPort,
  before: SwitchPort | undefined,
  config: number,
): SwitchPort {
  const isUp = link?.up ?? true;
  const speed = (link?.speed ?? 0) * 1000;
  return {
    port,
    mac: BigInt(`0x${(mac ?? "").replaceAll(":", "") || "0"}`),
    name,
    dp,
    patch: samePatch(before?.patch, patch),
    bundle: sameBundle(before?.bundle, bundle),
    tunnel: sameTunnel(before?.tunnel, tunnel),
    config,
    // As in Open vSwitch: the link of a port that is taken down is down too.
    state: !isUp || config & PortConfig.down ? PortState.linkDown : PortState.live,
    current: featuresOf(link),
    advertised: 0,
    supported: 0,
    peer: 0,
    currentSpeed: features.has(link?.speed ?? 0) ? speed : 0,
    maxSpeed: 0, // Of what is supported, which no datapath here tells.
  };
}

/** What peers are not told of a port. */
const untold: readonly (keyof SwitchPort)[] = ["dp", "patch", "bundle", "tunnel"];
const told = [
  ...["port", "mac", "name", "config", "state", "current", "advertised", "supported"],
  ...["peer", "currentSpeed", "maxSpeed"],
] as readonly (keyof PortDesc)[];

function isSame<Port extends PortDesc>(
  a: Port,
  b: Port,
  names: readonly (keyof Port)[],
): boolean {
  return names.every((name) => a[name] === b[name]);
}

/** What peers are told of a port, and what they were told of it before, if they were. */
export interface PortChange extends MessageOf<"portStatus"> {
  readonly old?: PortDesc;
}

/** Whether peers of a version are told a change: OpenFlow 1.0 has no live ports, and no speeds. */
export function isSeen(version: Version, { desc, old }: PortChange): boolean {
  if (old === undefined || version > 1) return true;
  const seen = ({ state, ...port }: PortDesc): PortDesc => ({
    ...port,
    state: state & ~PortState.live,
    currentSpeed: 0,
    maxSpeed: 0,
  });
  return !isSame(seen(old), seen(desc), told);
}

/**
 * What peers are told of what changed; `isOther` says whether something did that they are not. As
 * in Open vSwitch a port is added first, and becomes live then.
 */
export function compare(
  before: ReadonlyMap<number, SwitchPort>,
  now: ReadonlyMap<number, SwitchPort>,
): { readonly changes: readonly PortChange[]; readonly isOther: boolean } {
  const changes: PortChange[] = [];
  let isOther = false;
  for (const [port, desc] of now) {
    const known = before.get(port);
    isOther ||= known === undefined || !isSame(known, desc, untold);
    let old: PortDesc | undefined = known;
    if (old === undefined) {
      old = { ...desc, state: desc.state & ~PortState.live };
      changes.push({ kind: "portStatus", reason: "add", desc: old });
    }
    if (!isSame(old, desc, told)) {
      changes.push({ kind: "portStatus", reason: "modify", desc, old });
    }
  }
  for (const [port, desc] of before) {
    if (!now.has(port)) changes.push({ kind: "portStatus", reason: "delete", desc });
  }
  return { changes, isOther };
}

/** Whether what NORMAL learned at a port holds for what has its number now. */
function learnsAlike(before: SwitchPort, now: SwitchPort | undefined): boolean {
  if (now?.name !== before.name) return false;
  const [a, b] = [before.bundle, now.bundle];
  if (a === undefined || b === undefined) return a === b;
  return sharesVlans(a, b);
}

/** Ports that are others now, or in other VLANs: what was learned there holds no more. */
export function learnersOf(
  before: ReadonlyMap<number, SwitchPort>,
  now: ReadonlyMap<number, SwitchPort>,
): ReadonlySet<number> {
  return new Set(
    [...before].filter(([port, old]) => !learnsAlike(old, now.get(port)))
      .map(([port]) => port),
  );
}

/** Queues of the kernel's datapath end here, and are classes below this one. */
const MAX_QUEUE = 0xf000;
const ROOT_CLASS = 0x10000;

/**
 * The priority of packets that a queue stands for; undefined where there is no such queue. As in
 * Open vSwitch: in the kernel's datapath a class of the root discipline of `tc`, and in others the
 * number itself.
 */
export function queuePriority(type: string, queue: number): number | undefined {
  if (type !== "system") return queue;
  return queue < MAX_QUEUE ? ROOT_CLASS | queue + 1 : undefined;
}
