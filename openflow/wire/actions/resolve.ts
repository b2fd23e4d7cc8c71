// SPDX-License-Identifier: Apache-2.0
/**
 * Whether the actions of a flow are about headers that its packets have, as far as the match says.
 *
 * @module
 */
import {
  fieldSetBy,
  type Instructions,
  type LearnAction,
  type OfAction,
} from "../action.ts";
import { OfError } from "../error.ts";
import type { Field, Needs } from "../field.ts";
import {
  type FlowWords,
  flowWords,
  type Match,
  Nw,
  nwByte,
  ones,
  readBits,
  Word,
  writeBits,
} from "../flow.ts";
import {
  checkTuple,
  ETH_IP,
  ETH_IPV6,
  hasWhatItNeeds,
  saysConnection,
} from "../match.ts";
import { isOfConnection } from "../nicira/ct.ts";
import { PackedMatch } from "../packed/packed_match.ts";

/** Tags that a packet may be known to have. */
const MAX_TAGS = 2;

/** What is known of packets before they come. */
interface Known {
  /** Tags that they have. */
  tags: number;
  /** Whether the connection tracker knows them. */
  readonly isConnected: boolean;
  readonly flow: FlowWords;
  /** The first action that is about a header which packets lack. */
  lacks: string | undefined;
}

/** Whether packets have what a field needs. */
function haveIt(needs: Needs, { tags, isConnected, flow }: Known): boolean {
  if (needs === "ct") return isConnected;
  return needs === "vlan" ? tags > 0 : hasWhatItNeeds(needs, flow);
}

/**
 * Instructions with what actions must know of the packets of a match: whether they have a tag, and
 * their protocol. Throws {@linkcode OfError} for a field that these packets do not have.
 */
export function resolveInstructions(
  what: Instructions,
  match: Match,
  { strict = true, table = 0 }: {
    /** Whether actions about headers that packets lack are errors: not in OpenFlow 1.0. */
    readonly strict?: boolean;
    /** The table that the flow is in. */
    readonly table?: number;
  } = {},
): Instructions {
  const likeness = match instanceof PackedMatch ? match.likeness : undefined;
  const asked = likeness?.asked;
  if (asked?.what === what && asked.strict === strict && asked.table === table) {
    return asked.made as Instructions;
  }
  const made = resolved(what, match, strict, table);
  if (likeness !== undefined) likeness.asked = { what, strict, table, made };
  return made;
}

function resolved(
  what: Instructions,
  match: Match,
  strict: boolean,
  table: number,
): Instructions {
  const { apply, write } = what;
  checkTuple(match);
  if (!needsMatch(what)) {
    checkGoto(what, table);
    return what;
  }
  checkConjunction(what);
  const flow = match.value.slice();
  const tags = hasWhatItNeeds("vlan", flow) ? 1 : 0;
  const known: Known = {
    tags,
    isConnected: saysConnection(match),
    flow,
    lacks: undefined,
  };
  const applied = apply?.map((one) => resolve(one, known));
  // As in Open vSwitch: tables behind this one may have put on what the set takes off.
  const later = { ...known };
  const made = {
    ...what,
    ...(applied !== undefined && { apply: applied }),
    ...(write !== undefined && { write: write.map((one) => resolve(one, later)) }),
  };
  checkGoto(what, table);
  if (strict && known.lacks !== undefined) {
    throw new OfError("OFPBAC_MATCH_INCONSISTENT", known.lacks);
  }
  return made;
}

/** Packets go on only. Throws {@linkcode OfError}. */
function checkGoto({ goto }: Instructions, table: number): void {
  if (goto !== undefined && (goto <= table || goto >= TABLES)) {
    throw new OfError("OFPBIC_BAD_TABLE_ID");
  }
}

/** Tables that flows may be in. */
const TABLES = 254;

/** Actions that are the same whatever a flow matches. */
const independent: ReadonlySet<string> = new Set(["output", "group", "controller"]);

function needsMatch({ apply, write }: Instructions): boolean {
  const needs = ({ type }: OfAction): boolean => !independent.has(type);
  return apply !== undefined && apply.some(needs) ||
    write !== undefined && write.some(needs);
}

function resolve(action: OfAction, known: Known, isInCt = false): OfAction {
  const { flow } = known;
  const needs = (has: boolean): void => {
    if (!has) known.lacks ??= action.type;
  };
  checkConnection(action, isInCt);
  switch (action.type) {
    case "mod": {
      const { name } = action;
      needs(hasHeader(action, known));
      if (action.pushes) {
        const hasTag = known.tags > 0;
        known.tags = Math.max(1, known.tags);
        return { ...action, hasTag };
      }
      const isPort = name === "tp_src" || name === "tp_dst";
      return isPort ? { ...action, proto: nwByte(flow, Nw.proto) } : action;
    }
    case "setField":
      checkField(action.field, known);
      if (action.field.name === "vlan_tci") known.tags = action.value & 0x1000n ? 1 : 0;
      return action;
    case "move":
      checkField(action.src.field, known);
      checkField(action.dst.field, known);
      return action;
    case "push":
    case "pop":
      checkField(action.of.field, known);
      return action;
    case "outputReg":
      checkField(action.src.field, known);
      return action;
    case "multipath":
      checkField(action.dst.field, known);
      return action;
    case "pushVlan":
      if (known.tags >= MAX_TAGS) throw new OfError("OFPBAC_BAD_TAG");
      known.tags++;
      return action;
    case "popVlan":
      needs(known.tags > 0);
      known.tags = Math.max(0, known.tags - 1);
      return action;
    case "decTtl":
      needs(hasWhatItNeeds("ip", flow));
      return action;
    case "decMplsTtl":
      needs(hasWhatItNeeds("mpls", flow));
      return action;
    case "pushMpls":
      flow[Word.dlType] = action.etherType;
      // What is below a label is not known.
      flow[Word.nw] = (flow[Word.nw] as number) & 0xffffff;
      return action;
    case "popMpls":
      needs(hasWhatItNeeds("mpls", flow));
      flow[Word.dlType] = action.etherType;
      return action;
    case "finTimeout":
      needs(nwByte(flow, Nw.proto) === 6);
      return action;
    case "resubmit":
      if (action.isOfConnection && !known.isConnected) {
        throw new OfError("OFPBAC_MATCH_INCONSISTENT", "resubmit");
      }
      return action;
    case "learn":
      checkLearn(action, known);
      return action;
    case "ct":
    case "nat": {
      const type = flow[Word.dlType];
      const isIp = type === ETH_IP || type === ETH_IPV6;
      const isOther = action.type === "nat" &&
        (action.family === 4 && type !== ETH_IP ||
          action.family === 6 && type !== ETH_IPV6);
      // An inconsistent action of these is an error in OpenFlow 1.0, too.
      if (!isIp || isOther) throw new OfError("OFPBAC_MATCH_INCONSISTENT", action.type);
      if (action.type === "nat") return action;
      const actions = action.actions.map((one) => resolve(one, known, true));
      return { ...action, actions };
    }
    case "clone": {
      const within = { ...known, flow: flow.slice() };
      const made = {
        ...action,
        actions: action.actions.map((one) => resolve(one, within)),
      };
      known.lacks ??= within.lacks;
      return made;
    }
    default:
      return action;
  }
}

/** A field of an action is one of the packets. Throws {@linkcode OfError}. */
function checkField({ needs, name }: Field, known: Known): void {
  if (!haveIt(needs, known) || name === "vlan_vid" && known.tags === 0) {
    throw new OfError("OFPBAC_MATCH_INCONSISTENT", name);
  }
}

/** Whether packets have the header that an action of OpenFlow 1.0 or 1.1 sets. */
function hasHeader(
  { name, pushes }: OfAction & { readonly type: "mod" },
  { tags, flow }: Known,
): boolean {
  if (name.startsWith("vlan")) return pushes === true || tags > 0;
  if (name.startsWith("mpls")) return hasWhatItNeeds("mpls", flow);
  if (name.startsWith("tp")) {
    return (["tcp", "udp", "sctp"] as const).some((needs) => hasWhatItNeeds(needs, flow));
  }
  if (name === "nw_src" || name === "nw_dst") return hasWhatItNeeds("ipv4", flow);
  return name.startsWith("dl") || hasWhatItNeeds("ip", flow);
}

/** A flow of a conjunction does nothing else. Throws {@linkcode OfError}. */
function checkConjunction({ apply = [], ...rest }: Instructions): void {
  if (!apply.some(({ type }) => type === "conjunction")) return;
  const isPlain = apply.every(({ type }) => type === "conjunction" || type === "note") &&
    Object.values(rest).every((value) => value === undefined || value === false);
  if (!isPlain) throw new OfError("NXBAC_BAD_CONJUNCTION");
}

/** What may be in a `ct` only, and what may be there. Throws {@linkcode OfError}. */
function checkConnection(action: OfAction, isInCt: boolean): void {
  const field = fieldSetBy(action);
  const isOf = field !== undefined && isOfConnection(field.name);
  if ((isOf || action.type === "nat") && !isInCt) {
    throw new OfError("OFPBAC_BAD_SET_ARGUMENT", field?.name ?? "nat");
  }
  if (isInCt && !isOf && action.type !== "nat") {
    throw new OfError("OFPBAC_BAD_ARGUMENT", action.type);
  }
}

/** What is learned must be of the packets of a flow. Throws {@linkcode OfError}. */
function checkLearn({ specs }: LearnAction, known: Known): void {
  const learned = flowWords();
  const check = ({ needs, name }: Field, of: Known): void => {
    if (needs !== "vlan" && !haveIt(needs, of)) {
      throw new OfError("OFPBAC_MATCH_INCONSISTENT", name);
    }
  };
  for (const { src, to, dst } of specs) {
    if ("field" in src) check(src.field, known);
    if (dst === undefined) continue;
    check(dst.field, {
      tags: 1,
      isConnected: hasWhatItNeeds("ct", learned),
      flow: learned,
      lacks: undefined,
    });
    // Values of the match are what later parts may need.
    if (to !== "match" || "field" in src) continue;
    const shift = BigInt(dst.offset);
    const others = readBits(learned, dst.field) & ~(ones(dst.bits) << shift);
    writeBits(learned, dst.field, others | src.value << shift);
  }
}
