// SPDX-License-Identifier: Apache-2.0
/**
 * Failures of the verbs that ovs-dpctl does not have: what went wrong, and what to do about it.
 *
 * @module
 */
import { DatapathError } from "../providers/errors.ts";
import {
  type Advice,
  adviceOf,
  adviceText,
  suggestionIn,
} from "../control/verbs/advice.ts";
import { type JsonError, noDatapaths } from "../control/verbs/verb.ts";
import { toolVerbs } from "./tool_verbs.ts";
import { program } from "./terminal.ts";

/** A failure that is the user's to mend. */
export class ToolError extends Error {
  override readonly name: string = "ToolError";
  /** What to do. */
  readonly hint: string | undefined;

  constructor(
    message: string,
    options: { hint?: string | undefined; cause?: unknown } = {},
  ) {
    super(message, { cause: options.cause });
    this.hint = options.hint;
  }
}

/** A verb that was called wrongly; the hint says how it is called. */
export class UsageError extends ToolError {
  override readonly name = "UsageError";

  constructor(verb: typeof toolVerbs[number]["name"], message: string) {
    const usage = toolVerbs.find(({ name }) => name === verb)?.usage ?? "";
    super(message, { hint: `usage: ${program} ${`${verb} ${usage}`.trimEnd()}` });
  }
}

/** Which datapath is meant, where `names` are all there are and none was named. */
export function whichDatapath(names: readonly string[]): ToolError {
  return names.length === 0
    ? new ToolError("no datapaths exist", { hint: noDatapaths })
    : new ToolError("multiple datapaths, specify one", {
      hint: `there are: ${names.join(", ")}`,
    });
}

/** Errors that wrong code throws; what users do wrong is told by a sentence with "Cannot". */
const ofCode: readonly (new () => Error)[] = [TypeError, RangeError, ReferenceError];

/** Whether a failure is of what the tool was told or found, and not of the tool itself. */
export function isExpected(error: unknown): error is Error {
  if (!(error instanceof Error)) return false;
  return !ofCode.some((kind) => error instanceof kind) ||
    error.message.startsWith("Cannot ");
}

/** A failure as an error of `--json`. */
export function asJsonError(error: Error): JsonError {
  const { message } = error;
  const advice = adviceFor(error);
  return error instanceof DatapathError
    ? { message, code: error.code, ...adviceOf(error), ...advice }
    : { message, ...advice };
}

/** A failure as text, in whole lines. */
export function asText(error: Error): string {
  return `${program}: ${error.message}\n${adviceText(adviceFor(error))}`;
}

/** What to do; the reason is in the message itself. */
function adviceFor(error: Error): Advice {
  const hint = error instanceof ToolError
    ? error.hint
    : suggestionIn(error.message) ?? refusalHint(error);
  return hint === undefined ? {} : { hint };
}

/** What to do about a refusal that does not suggest it; undefined where its reason is enough. */
function refusalHint({ message }: Error): string | undefined {
  const [, name] = /\(system@([^)]+)\): the kernel has no family/.exec(message) ?? [];
  if (name !== undefined) return `a datapath in user space is netdev@${name}`;
  const [, device] = /^Cannot add port .*: no device ([^:]+): /.exec(message) ?? [];
  return device === undefined
    ? undefined
    : `"ip link" lists devices, and a port of another type says so: ${device}:dummy`;
}
