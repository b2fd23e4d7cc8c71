// SPDX-License-Identifier: Apache-2.0
/**
 * What a database may ask for that there is not here. It is told, since packets would go elsewhere
 * than those think who asked for it.
 *
 * @module
 */
import type { Replica } from "../../ovsdb/replica.ts";
import type { Row, TableName } from "../../ovsdb/schema.ts";

/** What tells that a column asks for something, and what of it there is not. */
type Lines<T extends TableName> = readonly (readonly [
  column: keyof Row<T> & string,
  asks: (row: Row<T>) => boolean,
  missing: string,
])[];

const ofBridge: Lines<"Bridge"> = [
  ["stp_enable", (row) => row.stp_enable, "no spanning tree"],
  ["rstp_enable", (row) => row.rstp_enable, "no rapid spanning tree"],
  [
    "mcast_snooping_enable",
    (row) => row.mcast_snooping_enable,
    "no snooping of multicast, which is flooded",
  ],
  ["netflow", (row) => row.netflow !== undefined, "no NetFlow"],
  ["sflow", (row) => row.sflow !== undefined, "no sFlow"],
  ["ipfix", (row) => row.ipfix !== undefined, "no IPFIX"],
];

const ofPort: Lines<"Port"> = [
  [
    "lacp",
    (row) => row.interfaces.size === 1 && (row.lacp ?? "off") !== "off",
    "no LACP of a single interface",
  ],
  [
    "other_config",
    (row) => row.other_config.get("lb-output-action") === "true",
    "no lb-output-action",
  ],
  ["qos", (row) => row.qos !== undefined, "no discipline of queues is set up"],
];

const ofFace: Lines<"Interface"> = [
  ["bfd", (row) => row.bfd.get("enable") === "true", "no BFD"],
  ["cfm_mpid", (row) => row.cfm_mpid !== undefined, "no CFM"],
  ["lldp", (row) => row.lldp.get("enable") === "true", "no LLDP"],
  [
    "ingress_policing_rate",
    (row) => row.ingress_policing_rate > 0,
    "no policing by ports: meters do that",
  ],
];

/** Texts about what a bridge is asked for in vain. */
export function unhonoured(rows: Replica, bridge: Row<"Bridge">): string[] {
  const ports = rows.all("Port", bridge.ports);
  return [
    ...of(`bridge ${bridge.name}`, ofBridge, bridge),
    ...ports.flatMap((port) => [
      ...of(`port ${port.name}`, ofPort, port),
      ...rows.all("Interface", port.interfaces).flatMap((face) =>
        of(`interface ${face.name}`, ofFace, face)
      ),
    ]),
  ];
}

function of<T extends TableName>(what: string, lines: Lines<T>, row: Row<T>): string[] {
  return lines.filter(([, asks]) => asks(row))
    .map(([column, , missing]) =>
      `${what}: column ${column} is not honoured: ${missing} here`
    );
}

/** What was told, so that it is told once. */
export class Notes {
  readonly #say: (text: string) => void;
  #told: ReadonlySet<string> = new Set();

  /** Begins without any. `say` is told each that is new. */
  constructor(say: (text: string) => void) {
    this.#say = say;
  }

  /** Tells what bridges are asked for in vain, where that was not so before. */
  tell(bridges: Iterable<{ readonly notes: readonly string[] }>): void {
    const notes = new Set([...bridges].flatMap(({ notes }) => notes));
    for (const text of notes.difference(this.#told)) this.#say(text);
    this.#told = notes;
  }
}
