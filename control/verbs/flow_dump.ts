// SPDX-License-Identifier: Apache-2.0
/**
 * The verb that lists flows: of some types, of some poll thread, those that fit a filter.
 *
 * @module
 */
import type { Flow } from "../../providers/flow.ts";
import { FlowFilter } from "../text/flow_filter.ts";
import { flowJson, flowText } from "../text/flow.ts";
import { readInteger } from "../text/scan.ts";
import { VerbFailure, type VerbRun } from "./verb.ts";

const flowTypes = [
  "ovs",
  "tc",
  "dpdk",
  "offloaded",
  "non-offloaded",
  "partially-offloaded",
] as const;
type FlowType = typeof flowTypes[number];

/** Poll thread that `pmd=-1` means. */
const mainThread = 0x7fffffff;

interface DumpArguments {
  readonly rest: readonly string[];
  readonly filter?: string;
  readonly types?: string;
  readonly pmd?: number;
}

/**
 * Takes `filter=`, `type=` and `pmd=` off the end. Every further filter or list of types stays an
 * argument.
 */
function dumpArguments(run: VerbRun, args: readonly string[]): DumpArguments {
  const rest = [...args];
  let filter: string | undefined;
  let types: string | undefined;
  let pmd: number | undefined;
  for (;;) {
    const last = rest.at(-1) ?? "";
    if (last.startsWith("filter=") && filter === undefined) filter = last.slice(7);
    else if (last.startsWith("type=") && types === undefined) {
      if (!run.isControl) {
        throw new VerbFailure(
          "Invalid argument 'type'. Use 'ovs-appctl dpctl/dump-flows' instead.",
        );
      }
      types = last.slice(5);
    } else if (last.startsWith("pmd=") && pmd === undefined) {
      const id = readInteger(last.slice(4));
      if (id === undefined || id < -1) {
        throw new VerbFailure(`invalid argument "${last}"`, "EINVAL");
      }
      pmd = id === -1 ? mainThread : id;
    } else break;
    rest.pop();
  }
  return {
    rest,
    ...(filter !== undefined && { filter }),
    ...(types !== undefined && { types }),
    ...(pmd !== undefined && { pmd }),
  };
}

function parseTypes(list: string | undefined): ReadonlySet<FlowType> {
  if (list === undefined) return new Set(flowTypes);
  const types = new Set<FlowType>();
  for (const word of list === "" ? [] : list.replace(/,$/, "").split(",")) {
    if (word === "all") flowTypes.forEach((type) => types.add(type));
    else if ((flowTypes as readonly string[]).includes(word)) types.add(word as FlowType);
    else throw new VerbFailure(`Failed to parse type (${word})`, "EINVAL");
  }
  return types;
}

function hasType(flow: Flow, types: ReadonlySet<FlowType>): boolean {
  const { layer = "ovs", offloaded } = flow;
  return types.has(layer as FlowType) ||
    (types.has("offloaded") && offloaded && layer !== "ovs") ||
    (types.has("partially-offloaded") && offloaded && layer === "ovs") ||
    (types.has("non-offloaded") && !offloaded);
}

/** Lists flows: the verb `dump-flows`. */
export async function dumpFlows(run: VerbRun, args: readonly string[]): Promise<void> {
  const wanted = dumpArguments(run, args);
  await run.withDatapath(wanted.rest, 1, (dp) => {
    const ports = [...dp.ports.dump()];
    const filter = parseFilter(wanted.filter, ports);
    const types = parseTypes(wanted.types);
    const names = run.flags.names ? { ports } : {};
    const options = { verbose: run.flags.verbosity > 0, ...names };
    let pmd = wanted.pmd;
    run.attempt("Failed to dump flows from datapath", () => {
      for (const flow of dp.flows.dump()) {
        if (filter !== undefined && !filter.matches(flow)) continue;
        if (wanted.pmd === undefined && pmd !== flow.pmd) {
          pmd = flow.pmd;
          run.print(
            pmd === mainThread
              ? "flow-dump from the main thread:\n"
              : `flow-dump from pmd on cpu core: ${pmd}\n`,
          );
        }
        if (pmd !== flow.pmd || !hasType(flow, types)) continue;
        run.print(() => `${flowText(flow, options)}\n`);
        run.result(() => flowJson(flow, names));
      }
    });
  });
}

function parseFilter(
  text: string | undefined,
  ports: Iterable<{ readonly no: number; readonly name: string }>,
): FlowFilter | undefined {
  if (text === undefined) return undefined;
  try {
    return new FlowFilter(text, { ports });
  } catch (error) {
    if (!(error instanceof SyntaxError)) throw error;
    // The reason is in the message itself; the exit status is the only other sign.
    throw new VerbFailure(`Failed to parse filter (${error.message})`);
  }
}
