// SPDX-License-Identifier: Apache-2.0
/**
 * Traces as text and JSON.
 *
 * @module
 */
import type { Datapath } from "../../providers/datapath.ts";
import {
  decodeKey,
  extractKey,
  formatKey,
  parseKeyBytes,
} from "../../providers/odp/mod.ts";
import type { FlowKey } from "../../providers/types.ts";
import { hexBytes } from "../dummy_commands.ts";
import { flowText } from "../text/flow.ts";
import { tracePacket, type TraceStep } from "./tracer.ts";
import { toJson } from "../verbs/verb.ts";

/** The key of what is to be traced: `[in_port(N)]HEX…`, or a flow in text. Throws `SyntaxError`. */
export function keyToTrace(
  dp: Datapath,
  text: string,
): { key: FlowKey; length?: number } {
  const [, port, rest = ""] =
    /^\s*(?:in_port\(([^)]*)\)[,\s]*)?([0-9a-f\s]+)$/i.exec(text) ??
      [];
  const packet = hexBytes(rest);
  if (packet === undefined) {
    const { key } = parseKeyBytes(text, { ports: dp.ports.dump() });
    return { key: decodeKey(key) };
  }
  const inPort = port === undefined
    ? 0
    : /^\d+$/.test(port)
    ? Number(port)
    : dp.ports.get(port)?.no;
  if (inPort === undefined) throw new SyntaxError(`no port named ${port}`);
  return { key: extractKey(packet, { inPort }), length: packet.length };
}

/** The whole trace: lines for people, or one JSON object. */
export function traceText(
  dp: Datapath,
  text: string,
  { json }: { readonly json: boolean },
): string {
  const { key, length } = keyToTrace(dp, text);
  const steps = tracePacket(dp, key, length === undefined ? {} : { length });
  const portsOf = (some: readonly TraceStep[]): (number | undefined)[] =>
    some.filter(({ kind }) => kind === "output").map(({ port }) => port);
  const sent = portsOf(steps.filter((step) => !step.perhaps));
  const perhaps = portsOf(steps.filter((step) => step.perhaps));
  const up = steps.some((step) => step.kind === "upcall" && !step.perhaps);
  if (json) {
    const result = steps.map((step) => ({ ...step, flow: step.flow?.toString() }));
    const verdict = { sent, perhaps, up, dropped: sent.length === 0 && !up };
    return `${
      toJson({
        verb: "trace",
        ok: true,
        result: [{ steps: result, verdict }],
        errors: [],
      })
    }\n`;
  }
  const size = length === undefined ? "" : `, ${length} bytes`;
  const lines = [`packet: ${formatKey({ key })}${size}`, ...steps.map(stepText)];
  const verdict = [
    ...(sent.length > 0 ? [`sent to ${sent.join(", ")}`] : []),
    ...(up ? ["handed up"] : []),
  ];
  const some = perhaps.length > 0 ? `; perhaps sent to ${perhaps.join(", ")}` : "";
  lines.push(`verdict: ${verdict.join("; ") || "dropped"}${some}`);
  return `${lines.join("\n")}\n`;
}

function stepText(step: TraceStep): string {
  const indent = "  ".repeat(step.depth);
  switch (step.kind) {
    case "lookup":
      return `${indent}lookup: recirc_id(${step.recircId}), ${step.text}` +
        (step.flow === undefined
          ? ""
          : `\n${indent}  flow: ${flowText(step.flow, { verbose: false })}`);
    default:
      return `${indent}  ${(step.action ?? "").padEnd(24)} ${step.text}`;
  }
}
