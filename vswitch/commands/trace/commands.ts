// SPDX-License-Identifier: Apache-2.0
/**
 * `ofproto/trace`: what would become of a packet, and which of its bits that rests on.
 *
 * Source: ovs-appctl(8), "OFPROTO COMMANDS"; the last lines are those of Open vSwitch.
 *
 * @module
 */
import { CommandError } from "../../../control/command_error.ts";
import { parseActions } from "../../../openflow/text/action_parse.ts";
import type { OfAction } from "../../../openflow/wire/action.ts";
import { OfError } from "../../../openflow/wire/error.ts";
import type { Add, ServedDaemon } from "../served.ts";
import { askedOf } from "./asked.ts";
import { namesOf } from "./flow_text.ts";
import { traceText } from "./trace_text.ts";

/** Adds them. */
export function traceCommands(add: Add, served: ServedDaemon): void {
  const usage = "{[dp_name] odp_flow | bridge br_flow} [OPTIONS...] [-generate|packet]";
  add("ofproto/trace", usage, [1, Infinity], (args) => {
    const { asked, options } = askedOf(served, args);
    return traceText(asked, options);
  });
  add(
    "ofproto/trace-packet-out",
    `[-consistent] ${usage} actions`,
    [2, Infinity],
    (args) => {
      const { asked, options } = askedOf(served, args.slice(0, -1));
      return traceText(asked, options, actionsOf(args.at(-1) ?? "", asked.bridge));
    },
  );
}

function actionsOf(
  text: string,
  { of }: ReturnType<typeof askedOf>["asked"]["bridge"],
): OfAction[] {
  try {
    return parseActions(text, namesOf(of));
  } catch (error) {
    if (!(error instanceof SyntaxError || error instanceof OfError)) throw error;
    throw new CommandError(error.message);
  }
}
