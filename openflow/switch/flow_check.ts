// SPDX-License-Identifier: Apache-2.0
/**
 * What is wrong with flow mods, in the order in which Open vSwitch says so.
 *
 * @module
 */
import { TABLES } from "../translate/pipeline.ts";
import type { Instructions } from "../wire/action.ts";
import { OfError } from "../wire/error.ts";
import { ALL_TABLES, type FlowMod, NO_BUFFER } from "../wire/message.ts";
import { Word } from "../wire/flow.ts";
import { packMatch } from "../wire/packed/packed_match.ts";
import { resolveInstructions } from "../wire/actions/resolve.ts";
import type { Change, Known } from "./change.ts";
import { factsOf } from "./facts.ts";

/** Throws {@linkcode OfError} for a change of flows in a table that has none of controllers. */
export function checkTable({ command, table }: Pick<FlowMod, "command" | "table">): void {
  if (command.startsWith("delete") || table === ALL_TABLES) return;
  // As in Open vSwitch: the last one is the switch's own.
  if (table === TABLES) throw new OfError("OFPBRC_EPERM");
  if (table > TABLES) throw new OfError("OFPFMFC_BAD_TABLE_ID");
}

/** The instructions of a flow mod, with what the match says of them. Throws {@linkcode OfError}. */
export function checkFlowMod(
  { command, instructions, match, table, bufferId }: FlowMod,
  isOld: boolean,
): Instructions {
  const options = { strict: !isOld, table: table === ALL_TABLES ? -1 : table };
  const resolved = resolveInstructions(instructions, match, options);
  if (command.startsWith("delete")) return resolved;
  checkTable({ command, table });
  // As in Open vSwitch: what it keeps for itself is matched by flows of its own only.
  const { shape } = packMatch(match);
  if (shape.hasIn(Word.dpHash, Word.recircId + 1)) throw new OfError("OFPBRC_EPERM");
  // No packets wait here.
  if (bufferId !== NO_BUFFER) throw new OfError("OFPBRC_BUFFER_UNKNOWN");
  return resolved;
}

/** Whether what instructions name is there. Throws {@linkcode OfError}. */
export function checkNames(
  instructions: Instructions,
  known: Known,
  change: Change,
): void {
  const { groups, meters } = factsOf(instructions);
  if (meters.some((id) => !known.hasMeter(id))) {
    throw new OfError("OFPMMFC_INVALID_METER");
  }
  if (groups.some((id) => !known.hasGroup(id, change))) {
    throw new OfError("OFPBAC_BAD_OUT_GROUP");
  }
}
