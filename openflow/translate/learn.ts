// SPDX-License-Identifier: Apache-2.0
/**
 * The action `learn`: which flow a packet adds.
 *
 * @module
 */
import type { LearnAction, OfAction } from "../wire/action.ts";
import { anyMatch, ones, readBits, writeBits } from "../wire/flow.ts";
import { allOf } from "../wire/match.ts";
import { FlowFlag } from "../wire/message.ts";
import { Port, portFrom10 } from "../wire/port_number.ts";
import { formatFlow } from "../text/flow.ts";
import type { Way } from "./way.ts";

/** Ports that a learned flow may send to. */
const outputs: ReadonlySet<number> = new Set([
  Port.inPort,
  Port.flood,
  Port.local,
  Port.all,
]);

/** Notes the flow that a packet adds, and says whether it may. */
export function learn(way: Way, action: LearnAction): void {
  const { result, limit, table, cookie } = action;
  const flow = flowOf(way, action);
  const { learned } = way.pipeline;
  const isIn = limit === 0 || learned.mayAdd(flow, { table, cookie, limit });
  if (result !== undefined) way.put(result, isIn ? 1n : 0n);
  if (!isIn) return;
  way.lessons = [...way.lessons, { table: learned, key: flow, value: limit }];
}

/** The flow, as text. */
function flowOf(way: Way, action: LearnAction): string {
  const match = anyMatch();
  const { finIdle: idle, finHard: hard } = action;
  const apply: OfAction[] = idle + hard > 0 ? [{ type: "finTimeout", idle, hard }] : [];
  for (const { src, to, dst } of action.specs) {
    const value = "field" in src ? way.read(src) : src.value;
    if (dst === undefined) {
      const port = value <= 0xffffn ? portFrom10(Number(value)) : Port.none;
      if (port < Port.max || outputs.has(port)) {
        apply.push({ type: "output", port, maxLength: 0 });
      }
      continue;
    }
    const { field, offset, bits } = dst;
    if (field.form === "port") {
      const port = field.size === 2 ? portFrom10(Number(value)) : Number(value);
      if (to === "match") {
        writeBits(match.value, field, BigInt(port));
        writeBits(match.mask, field, ones(field.bits));
        continue;
      }
    }
    const shift = BigInt(offset);
    const mask = ones(bits) << shift;
    if (to === "load") {
      apply.push({ type: "setField", field, value: value << shift, mask, form: "load" });
      continue;
    }
    const own = mask & allOf(field);
    const before = readBits(match.value, field) & ~own;
    writeBits(match.value, field, before | value << shift & own);
    writeBits(match.mask, field, readBits(match.mask, field) | own);
  }
  return formatFlow({
    table: action.table,
    match,
    priority: action.priority,
    instructions: apply.length === 0 ? {} : { apply },
    idle: action.idle,
    hard: action.hard,
    flags: action.sendFlowRemoved ? FlowFlag.sendFlowRemoved : 0,
    newCookie: action.cookie,
  });
}
