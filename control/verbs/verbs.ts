// SPDX-License-Identifier: Apache-2.0
/**
 * Every verb of ovs-dpctl(8), in its order, and those of ovs-ofctl(8) about meters: one table for
 * the command line, the control socket, help and completions.
 *
 * @module
 */
import { helpText } from "./help.ts";
import { didYouMean } from "./advice.ts";
import {
  type NamedVerb,
  type Verb,
  VerbFailure,
  type VerbOptions,
  VerbRun,
} from "./verb.ts";
import { conntrackVerbs } from "./conntrack.ts";
import { datapathVerbs } from "./datapath.ts";
import { flowVerbs } from "./flow.ts";
import { limitVerbs } from "./limit.ts";
import { meterVerbs } from "./meter.ts";
import { portVerbs } from "./port.ts";
import { textVerbs } from "./text.ts";

const all = Infinity;

const help: Verb = {
  name: "help",
  usage: "",
  summary: "show this list, or describe VERB",
  args: [0, all],
  writes: false,
  perform(run, [name]) {
    const { program, ownVerbs: own } = run;
    const text = helpText(verbs, { program, own, verb: name });
    if (name !== undefined && text === "") throw unknownVerb(name, own);
    run.print(text);
    verbs.filter((verb) => name === undefined || verb.name === name)
      .forEach(({ name, usage, summary, writes }) =>
        run.result({ name, usage, summary, writes })
      );
  },
};

const listCommands: Verb = {
  name: "list-commands",
  usage: "",
  summary: "list verbs and their arguments",
  args: [0, all],
  writes: false,
  perform(run) {
    run.print("The available commands are:\n");
    for (const { name, usage } of verbs) {
      if (run.isControl && name === "help") continue;
      run.print(`  ${run.isControl ? "dpctl/" : ""}${name.padEnd(23)} ${usage}\n`);
      run.result({ name, usage });
    }
  },
};

/**
 * Names in the order in which ovs-dpctl lists them; those of later versions where those have them,
 * and of ovs-ofctl behind.
 */
const order = [
  "add-dp del-dp add-if del-if set-if dump-dps show",
  "dump-flows add-flow mod-flow get-flow del-flow add-flows mod-flows del-flows",
  "offload-stats-show dump-conntrack dump-conntrack-exp flush-conntrack",
  "cache-get-size cache-set-size ct-stats-show ct-bkts",
  "ct-set-maxconns ct-get-maxconns ct-get-nconns",
  "ct-enable-tcp-seq-chk ct-disable-tcp-seq-chk ct-get-tcp-seq-chk",
  "ct-set-limits ct-del-limits ct-get-limits",
  "ct-get-sweep-interval ct-set-sweep-interval",
  "ipf-set-enabled ipf-set-disabled ipf-set-min-frag ipf-set-max-nfrags ipf-get-status",
  "add-meter mod-meter del-meters dump-meters meter-stats meter-features",
  "help list-commands parse-actions normalize-actions",
].join(" ").split(" ");

/** Every verb. */
export const verbs: readonly Verb[] = [
  ...datapathVerbs,
  ...portVerbs,
  ...flowVerbs,
  ...conntrackVerbs,
  ...limitVerbs,
  ...meterVerbs,
  ...textVerbs,
  help,
  listCommands,
].sort((a, b) => order.indexOf(a.name) - order.indexOf(b.name));

const byName: ReadonlyMap<string, Verb> = new Map(
  verbs.map((verb) => [verb.name, verb]),
);

/** The verb of a name. */
export function findVerb(name: string): Verb | undefined {
  return byName.get(name);
}

/** Verbs of Open vSwitch's other tools, and what does their work here. */
export const elsewhere: Readonly<Record<string, string>> = {
  "add-br":
    '"dpctl serve netdev@NAME" runs a datapath, "dpctl add-dp NAME" makes the kernel\'s',
  "del-br": '"dpctl del-dp" does it',
  "list-br": '"dpctl dump-dps" does it',
  "add-port": '"dpctl add-if" does it',
  "del-port": '"dpctl del-if" does it',
  "list-ports": '"dpctl show" does it',
  "dump-ports": '"dpctl -s show" does it',
  "ofproto/trace": '"dpctl trace" follows flows, "dpctl explain" a policy',
};

function unknownVerb(name: string, own: readonly NamedVerb[]): VerbFailure {
  const names = [...verbs, ...own].map((verb) => verb.name);
  const hint = elsewhere[name] ?? didYouMean(name, names) ??
    (name.includes("/")
      ? `where several datapaths are served, name one: "dpctl ${name} netdev@br0"`
      : '"dpctl help" lists the verbs');
  const message = `unknown command '${name}'; use --help for help`;
  return new VerbFailure(message, undefined, { hint });
}

/** Runs one verb with its arguments; true if all went well. Nothing but bugs is thrown. */
export async function runVerb(
  [name, ...args]: readonly string[],
  options: VerbOptions,
): Promise<boolean> {
  const run = new VerbRun(options);
  try {
    const verb = checkedVerb(name, args, options);
    await verb.perform(run, args);
  } catch (error) {
    if (!(error instanceof VerbFailure)) throw error;
    run.fail(withUsage(error, name));
  }
  run.finish(name ?? "");
  return !run.failed;
}

/** An argument that was refused without a reason: how the verb is called says most. */
function withUsage(failure: VerbFailure, name = ""): VerbFailure {
  const { message, code, advice } = failure;
  const verb = byName.get(name);
  if (code !== "EINVAL" || Object.keys(advice).length > 0 || verb === undefined) {
    return failure;
  }
  return new VerbFailure(message, code, { hint: `usage: dpctl ${name} ${verb.usage}` });
}

function checkedVerb(
  name: string | undefined,
  args: readonly string[],
  { flags, ownVerbs = [] }: VerbOptions,
): Verb {
  if (name === undefined) {
    throw new VerbFailure("missing command name; use --help for help", undefined, {
      hint: '"dpctl show" tells what there is, "dpctl doctor" what is missing',
    });
  }
  const verb = byName.get(name);
  if (verb === undefined) throw unknownVerb(name, ownVerbs);
  const [min, max] = verb.args;
  const hint = `usage: dpctl ${`${name} ${verb.usage}`.trimEnd()}`;
  const arguments_ = (words: string, count: number): VerbFailure =>
    new VerbFailure(`'${name}' command ${words} ${count} arguments`, undefined, { hint });
  if (args.length < min) throw arguments_("requires at least", min);
  if (args.length > max) throw arguments_("takes at most", max);
  if (verb.writes && flags.readOnly) {
    throw new VerbFailure(`'${name}' command does not work in read only mode`);
  }
  return verb;
}
