// SPDX-License-Identifier: Apache-2.0
/**
 * A translation that tells what it does.
 *
 * @module
 */
import type { PacketFlow } from "../../../openflow/table/packet_flow.ts";
import type { Rule } from "../../../openflow/table/rule.ts";
import { formatAction, formatInstructions } from "../../../openflow/text/action.ts";
import { formatMatch } from "../../../openflow/text/match.ts";
import type { PortNames } from "../../../openflow/text/value.ts";
import { isMore } from "../../../openflow/translate/list_end.ts";
import type { Pipeline } from "../../../openflow/translate/pipeline.ts";
import { Translation } from "../../../openflow/translate/translation.ts";
import type { Instructions, OfAction } from "../../../openflow/wire/action.ts";

/** Lines that are told at most. */
const MAX_LINES = 20_000;

/** A translation that tells what it does. */
export class Tracing extends Translation {
  readonly lines: string[];
  readonly #ports: PortNames | undefined;
  #depth = 0;

  /** Begins with a packet. `rules` are those that counters are of. */
  constructor(
    pipeline: Pipeline,
    packet: PacketFlow,
    rules: ReadonlyMap<unknown, Rule>,
    ports: PortNames | undefined,
  ) {
    const lines: string[] = [];
    super(pipeline, packet, (counter) => {
      const rule = rules.get(counter);
      if (rule !== undefined) this.#meets(rule);
    });
    this.lines = lines;
    this.#ports = ports;
  }

  #say(text: string): void {
    if (this.lines.length < MAX_LINES) {
      this.lines.push(`${"    ".repeat(this.#depth)}${text}`);
    }
  }

  #meets({ table, priority, match, cookie, instructions, onward }: Rule): void {
    const said = [
      formatMatch(match, 0x8000, { ports: this.#ports }),
      `priority ${priority}`,
    ];
    if (cookie !== 0n) said.push(`cookie 0x${cookie.toString(16)}`);
    const what = said.filter((word) => word !== "").join(", ");
    this.#say(`${`${table}`.padStart(2)}. ${what}`);
    const { meter, apply = [], clear, write, metadata, goto } = instructions;
    if (meter !== undefined) this.#say(`    meter:${meter}`);
    const isNothing = apply.length === 0 && !clear && write === undefined &&
      metadata === undefined && goto === undefined && meter === undefined;
    if (isNothing) this.#say("    drop");
    // Nothing else is done in such a flow.
    if (onward !== undefined) {
      this.#say(`    ${formatInstructions(instructions, this.#ports)}`);
    }
  }

  /** @ignore Every lookup is told, also where its end is known. */
  protected override pass(): undefined {
    return undefined;
  }

  /** @ignore */
  protected override do(
    action: OfAction,
    list: readonly OfAction[],
    at: number,
    then: Instructions,
  ): boolean | void {
    this.#say(`    ${formatAction(action, this.#ports)}`);
    // As in Open vSwitch: what is last in its list is told no deeper.
    const deeper = at + 1 < list.length || isMore(then) ? 1 : 0;
    this.#depth += deeper;
    try {
      return super.do(action, list, at, then);
    } finally {
      this.#depth -= deeper;
    }
  }

  /** @ignore */
  override tell(text: string): void {
    this.#say(`     -> ${text}`);
  }

  /** @ignore */
  override drop(reason: string): void {
    if (this.reason === undefined) this.#say(`     -> ${reason}`);
    super.drop(reason);
  }

  /** @ignore */
  protected override instructions(what: Instructions): number | undefined {
    const next = super.instructions(what);
    if (what.goto !== undefined && next !== undefined) {
      this.#say(`    goto_table:${what.goto}`);
    }
    return next;
  }
}
