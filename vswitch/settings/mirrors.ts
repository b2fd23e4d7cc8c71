// SPDX-License-Identifier: Apache-2.0
/**
 * Mirrors as the database has them: who gets copies of which packets, and what each has had.
 *
 * Source: table Mirror of ovs-vswitchd.conf.db(5).
 *
 * @module
 */
import type { Switch } from "../../openflow/switch/switch.ts";
import { RuleCounter } from "../../openflow/table/rule.ts";
import { MAX_MIRRORS } from "../../openflow/translate/forward/mirror.ts";
import type { Mirror } from "../../openflow/translate/pipeline.ts";
import type { Replica } from "../../ovsdb/replica.ts";
import type { Row } from "../../ovsdb/schema.ts";
import { clockMs } from "../../policy/clock.ts";

/** A mirror. */
export type MirrorConfig = Omit<Mirror, "counter"> & { readonly uuid: string };

/** The mirrors of a bridge. `odd` is told of those that cannot be, and why. */
export function mirrorsOf(
  rows: Replica,
  bridge: Row<"Bridge">,
  odd: (text: string) => void,
): MirrorConfig[] {
  const found = rows.all("Mirror", bridge.mirrors).flatMap((row) => {
    const said = (what: string): void =>
      odd(`bridge ${bridge.name}: mirror ${row.name} ${what}`);
    const output = outputOf(rows, bridge, row, said);
    if (output === undefined) return [];
    const named = (uuids: ReadonlySet<string>): ReadonlySet<string> =>
      new Set(rows.all("Port", uuids).map(({ name }) => name));
    return [{
      uuid: row.uuid,
      name: row.name,
      sources: row.select_all ? "all" as const : named(row.select_src_port),
      targets: row.select_all ? "all" as const : named(row.select_dst_port),
      vlans: row.select_vlan.size === 0 ? undefined : row.select_vlan,
      output,
      cut: row.snaplen ?? 0,
    }];
  }).sort((a, b) => a.name < b.name ? -1 : 1);
  for (const { name } of found.slice(MAX_MIRRORS)) {
    odd(`maximum of ${MAX_MIRRORS} port mirrors reached, cannot create ${name}`);
  }
  return found.slice(0, MAX_MIRRORS);
}

/** Where copies go; undefined if it does not say, or that is in another bridge. */
function outputOf(
  rows: Replica,
  bridge: Row<"Bridge">,
  { output_port: port, output_vlan: vlan }: Row<"Mirror">,
  said: (what: string) => void,
): Mirror["output"] | undefined {
  if (port === undefined) {
    if (vlan === undefined) said("does not specify output; ignoring");
    return vlan === undefined ? undefined : { vlan };
  }
  const bundle = bridge.ports.has(port) ? rows.get("Port", port)?.name : undefined;
  if (bundle === undefined) said("outputs to port not on bridge");
  else if (vlan !== undefined) {
    said("specifies both output port and output vlan; ignoring output vlan");
  }
  return bundle === undefined ? undefined : { bundle };
}

/** The mirrors of a switch, with what they have had while they were there. */
export class Mirrors {
  readonly #of: Switch;
  #counters = new Map<string, RuleCounter>();
  #before = "";

  /** Begins without any. */
  constructor(of: Switch) {
    this.#of = of;
  }

  /** Has the switch have some mirrors. */
  set(configs: readonly MirrorConfig[]): void {
    const text = JSON.stringify(
      configs,
      (_, value: unknown) => value instanceof Set ? [...value] : value,
    );
    if (text === this.#before) return;
    this.#before = text;
    this.#counters = new Map(
      configs.map(({ uuid, name }) => [
        uuid,
        this.#counters.get(uuid) ?? new RuleCounter(`mirror ${name}`, clockMs()),
      ]),
    );
    this.#of.mirrors.value = configs.map((config) => ({
      ...config,
      counter: this.#counters.get(config.uuid) as RuleCounter,
    }));
  }

  /** What each has had, by the number of its row. */
  *statistics(): IterableIterator<[uuid: string, ReadonlyMap<string, bigint>]> {
    for (const [uuid, { packets, bytes }] of this.#counters) {
      yield [uuid, new Map([["tx_packets", packets], ["tx_bytes", bytes]])];
    }
  }
}
