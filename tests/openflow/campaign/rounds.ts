// SPDX-License-Identifier: Apache-2.0
/**
 * Random work for a switch: mods of flows, groups and meters as bytes, and packets. A seed has the
 * same work each time.
 *
 * Where packets are sent, no two flows of a table have one priority: there is one answer.
 *
 * @module
 */
import { parseActions } from "../../../openflow/text/action_parse.ts";
import { parseFlow } from "../../../openflow/text/flow.ts";
import { encodeMessage } from "../../../openflow/wire/codec.ts";
import type { Version } from "../../../openflow/wire/error.ts";
import type { FlowCommand, GroupType, Message } from "../../../openflow/wire/message.ts";
import { type Random, random } from "../../support/random.ts";
import { actionsOf, matchOf, TABLES } from "./flows.ts";
import { packetOf } from "./packets.ts";

/** A packet that comes by a port. */
export interface Arrival {
  readonly port: number;
  readonly frame: Uint8Array;
}

/** What is done in a round. */
export interface Round {
  readonly version: Version;
  /** Messages with a number of their own each. */
  readonly mods: readonly Uint8Array[];
  /** The same for people. */
  readonly texts: readonly string[];
  readonly packets: readonly Arrival[];
}

const MODS = 36;
const PACKETS = 36;
const PORTS = 4;
const FIRST_XID = 1000;
const commands: readonly FlowCommand[] = [
  "add",
  "modify",
  "modifyStrict",
  "delete",
  "deleteStrict",
];
const groupTypes: readonly GroupType[] = ["all", "indirect", "fast_failover", "all"];

interface Mod {
  readonly message: Message;
  readonly text: string;
}

/** Where the generator is: flows that there may be. */
class Maker {
  readonly #next: Random;
  readonly #version: Version;
  /** Tables, priorities and matches of flows that were added. */
  readonly #flows: string[] = [];
  #priority = 100;

  constructor(next: Random, version: Version) {
    this.#next = next;
    this.#version = version;
  }

  #flow(): Mod {
    const next = this.#next;
    const isOld = this.#version === 1;
    const known = this.#flows[next(Math.max(1, this.#flows.length))];
    const isNew = known === undefined || next(8) > 0;
    const command = isNew ? "add" : commands[next(commands.length)] as FlowCommand;
    const table = isOld || next(2) === 0 ? 0 : next(TABLES);
    let about: string;
    if (isNew || known === undefined) {
      const parts = [`priority=${this.#priority++}`, matchOf(next)];
      if (!isOld) parts.unshift(`table=${table}`);
      about = parts.filter(Boolean).join(",");
      this.#flows.push(about);
    } else if (command === "modify" || command === "delete") {
      about = next(2) === 0 ? known.replace(/priority=\d+,?/, "") : matchOf(next);
    } else about = known;
    const more = [
      ...(next(6) === 0 ? [`cookie=0x${next(5).toString(16)}`] : []),
      ...(next(9) === 0 ? ["idle_timeout=600"] : []),
      ...(next(12) === 0 ? ["send_flow_rem"] : []),
      ...(next(12) === 0 ? ["check_overlap"] : []),
      ...(next(12) === 0 ? ["reset_counts"] : []),
    ];
    const isDelete = command.startsWith("delete");
    const head = [...more.filter((_, i) => !isDelete || i === 0), about].filter(Boolean);
    const actions = isDelete ? "" : `actions=${actionsOf(next, about, table)}`;
    const text = [...head, actions].filter(Boolean).join(",");
    return { message: parseFlow(text, { command }), text: `${command} ${text}` };
  }

  #group(): Mod {
    const next = this.#next;
    const command = (["add", "add", "add", "modify", "delete"] as const)[next(5)] ??
      "add";
    const group = 1 + next(4);
    const type = groupTypes[next(groupTypes.length)] as GroupType;
    const count = type === "indirect" ? 1 : next(4);
    const lists = Array.from({ length: count }, () => {
      const list = actionsOf(next, "", TABLES).replaceAll(/write_\w+\([^)]*\),?/g, "");
      return list === "drop" || list === "" ? "output:1" : list;
    });
    const buckets = lists.map((list, id) => ({
      id,
      weight: 0,
      watchPort: type === "fast_failover" ? 1 + next(PORTS) : 0xffffffff,
      watchGroup: 0xffffffff,
      actions: parseActions(list),
    }));
    return {
      message: {
        ...{ kind: "groupMod", command, type, group, place: 0xffffffff, buckets },
        selection: undefined,
      },
      text: `${command} group ${group} ${type} ${lists.join(" | ")}`,
    };
  }

  #meter(): Mod {
    const next = this.#next;
    const command = (["add", "modify", "delete"] as const)[next(3)] ?? "add";
    const bands = Array.from({ length: next(3) }, () => ({
      type: next(8) === 0 ? 2 : 1,
      rate: 10_000_000 + next(5),
      burst: next(3) * 1000,
    }));
    const flags = [1, 2, 5, 9, 13, 3][next(6)] ?? 1;
    const meter = 1 + next(3);
    const text = `${command} meter ${meter} flags ${flags} ${JSON.stringify(bands)}`;
    return { message: { kind: "meterMod", command, flags, meter, bands }, text };
  }

  make(): Mod {
    const kind = this.#next(14);
    if (kind === 0 && this.#version >= 2) return this.#group();
    if (kind === 1 && this.#version >= 4) return this.#meter();
    return this.#flow();
  }
}

/** Changes bytes behind the header of a message. */
function damage(next: Random, bytes: Uint8Array): void {
  for (let i = next(3); i >= 0; i--) {
    const at = 8 + next(bytes.length - 8);
    if (next(2) === 0) bytes[at] = (bytes[at] as number) ^ 1 << next(8);
    else bytes[at] = [0, 1, 0xff, 0x80, 4, 8][next(6)] as number;
  }
}

/** The round of a seed. One in three has damaged messages, and no packets. */
export function roundOf(seed: number): Round {
  const next = random(seed * 2_654_435_761 >>> 0);
  for (let i = 0; i < 8; i++) next(2);
  const isHostile = seed % 3 === 0;
  const version = ([4, 5, 6, 1, 4, 2, 6, 3] as const)[next(8)] ?? 4;
  const maker = new Maker(next, version);
  const mods: Uint8Array[] = [];
  const texts: string[] = [];
  while (mods.length < (isHostile ? 2 * MODS : MODS)) {
    let bytes: Uint8Array;
    let text: string;
    try {
      const made = maker.make();
      bytes = encodeMessage(made.message, { version, xid: FIRST_XID + mods.length });
      text = made.text;
    } catch {
      continue; // The version cannot say it, or actions are about what the match excludes.
    }
    const isDamaged = isHostile && next(4) > 0;
    if (isDamaged) damage(next, bytes);
    mods.push(bytes);
    texts.push(isDamaged ? `damaged: ${text}` : text);
  }
  const packets = Array.from(
    { length: isHostile ? 0 : PACKETS },
    (_, id) => ({ port: 1 + next(PORTS), frame: packetOf(next, id) }),
  );
  return { version, mods, texts, packets };
}
