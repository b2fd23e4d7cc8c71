// SPDX-License-Identifier: Apache-2.0
/**
 * The bonds of a bridge: what the database says, links that come and go, and neighbours who are
 * told where addresses are from now on.
 *
 * @module
 */
import type { Switch } from "../../openflow/switch/switch.ts";
import type { Bond as BondThere } from "../../openflow/translate/pipeline.ts";
import { hashOfStation } from "../../openflow/translate/forward/bond.ts";
import { anyMatch } from "../../openflow/wire/flow.ts";
import { PortConfig, PortState } from "../../openflow/wire/object.ts";
import { Port } from "../../openflow/wire/port_number.ts";
import { OfError } from "../../openflow/wire/error.ts";
import type { Row } from "../../ovsdb/schema.ts";
import { clockMs } from "../../policy/clock.ts";
import { Bond, type BondConfig, type BondHost, type MemberConfig } from "./bond.ts";
import type { LacpConfig, LacpPortConfig } from "./lacp.ts";
import { lacpFrame, parseLacp } from "./lacp_pdu.ts";

/** What the database says of a port with several interfaces. */
export function bondConfigOf(row: Row<"Port">): BondConfig {
  const { other_config: other } = row;
  const number = (name: string, usual: number): number => {
    const said = Number(other.get(name) ?? usual);
    return Number.isSafeInteger(said) && said >= 0 ? said : usual;
  };
  const rebalance = number("bond-rebalance-interval", 10_000);
  const isSet = (name: string): boolean => other.get(name) === "true";
  return {
    name: row.name,
    mode: row.bond_mode === "balance-slb" || row.bond_mode === "balance-tcp"
      ? row.bond_mode
      : "active-backup",
    lacp: lacpConfigOf(row),
    primary: other.get("bond-primary"),
    basis: number("bond-hash-basis", 0),
    updelay: Math.max(0, row.bond_updelay),
    downdelay: Math.max(0, row.bond_downdelay),
    rebalanceMs: rebalance === 0 ? 0 : Math.max(1000, rebalance),
    isAllActive: isSet("all-members-active") || isSet("all-slaves-active"),
  };
}

const isAddress = /^[0-9a-f]{2}(:[0-9a-f]{2}){5}$/i;
/** The highest number of 16 bits. */
const MOST = 0xffff;

function number16(text: string | undefined): number | undefined {
  const said = Number(text ?? "0");
  return Number.isInteger(said) && said > 0 && said <= MOST ? said : undefined;
}

/** What the database says of LACP; undefined for nothing. */
function lacpConfigOf(
  { lacp, other_config: other }: Row<"Port">,
): LacpConfig | undefined {
  if (lacp !== "active" && lacp !== "passive") return undefined;
  const id = other.get("lacp-system-id") ?? "";
  return {
    active: lacp === "active",
    fast: other.get("lacp-time") === "fast",
    sysId: isAddress.test(id) ? id.toLowerCase() : undefined,
    sysPriority: number16(other.get("lacp-system-priority")) ?? MOST - 1,
    fallback: other.get("lacp-fallback-ab") === "true",
  };
}

/** What it says of a port of such a bond. */
export function lacpPortConfigOf(
  { other_config: other }: Row<"Interface">,
): LacpPortConfig {
  return {
    portId: number16(other.get("lacp-port-id")),
    portPriority: number16(other.get("lacp-port-priority")) ?? MOST,
    key: number16(other.get("lacp-aggregation-key")) ?? 0,
  };
}

/** Bonds, by name. */
export class Bonds {
  readonly #of: Switch;
  readonly #host: BondHost;
  readonly #bonds = new Map<string, Bond>();

  /** Begins without any. */
  constructor(of: Switch, say: (text: string) => void) {
    this.#of = of;
    const isUp = (port: number): boolean => {
      const desc = of.ports.value.get(port);
      return desc !== undefined && (desc.config & PortConfig.down) === 0 &&
        (desc.state & PortState.linkDown) === 0;
    };
    this.#host = {
      isUp,
      say,
      send: ({ name, port }, actor, partner) => {
        const member = [...this.all()].flatMap((one) => one.members.get(name) ?? [])[0];
        this.#out(port, lacpFrame(member?.mac ?? actor.sysId, actor, partner));
      },
    };
  }

  /** What happens at its ports. */
  get host(): BondHost {
    return this.#host;
  }

  /** All of them. */
  all(): IterableIterator<Bond> {
    return this.#bonds.values();
  }

  /** One by its name, as NORMAL knows it; made if need be. */
  need(config: BondConfig): BondThere {
    let bond = this.#bonds.get(config.name);
    if (bond === undefined) {
      this.#bonds.set(config.name, bond = new Bond(config, clockMs()));
    }
    return bond;
  }

  /** Has bonds be what the database says, with their members; there are no others. */
  set(
    wanted: readonly {
      readonly config: BondConfig;
      readonly members: readonly MemberConfig[];
    }[],
    own: string,
  ): void {
    const names = new Set(wanted.map(({ config }) => config.name));
    for (const name of this.#bonds.keys()) if (!names.has(name)) this.#bonds.delete(name);
    for (const { config, members } of wanted) {
      this.need(config);
      this.#bonds.get(config.name)?.set(config, members, own, this.#host, clockMs());
    }
    this.#teach();
  }

  /** Looks at links. */
  run(): void {
    const nowMs = clockMs();
    for (const bond of this.#bonds.values()) bond.run(this.#host, nowMs);
    this.#teach();
  }

  /** Neighbours learn where addresses are from frames that say so. */
  #teach(): void {
    for (const bond of this.#bonds.values()) {
      if (!bond.isToTeach) continue;
      bond.isToTeach = false;
      const ports = new Set([...bond.members.values()].map(({ port }) => port));
      for (const [key, at] of this.#of.stations.entries()) {
        if (!ports.has(at)) this.#announce(bond, key);
      }
    }
  }

  /** Sends a frame of reverse ARP from an address out of the port that its packets leave by. */
  #announce({ now: { value: now } }: Bond, key: string): void {
    const [vlan = "0", address = "0"] = key.split(" ");
    const hash = hashOfStation(BigInt(`0x${address}`), Number(vlan), now.basis);
    const port = now.mode === "active-backup" ? now.active : now.table[hash];
    if (port !== undefined) this.#out(port, reverseArp(address, Number(vlan)));
  }

  /** Takes a frame of a neighbour in. */
  receive(port: number, frame: Uint8Array): void {
    const said = parseLacp(frame);
    if (said === undefined) return;
    const nowMs = clockMs();
    for (const bond of this.#bonds.values()) {
      bond.lacp?.receive(port, said, nowMs);
      bond.run(this.#host, nowMs);
    }
    this.#teach();
  }

  /** Sends a frame out of a port. */
  #out(port: number, packet: Uint8Array): void {
    try {
      this.#of.runtime.packetOut({
        ...{ kind: "packetOut", bufferId: 0xffffffff, inPort: Port.none },
        ...{ metadata: anyMatch(), packet },
        actions: [{ type: "output", port, maxLength: 0 }],
      });
    } catch (error) {
      if (!(error instanceof OfError)) throw error;
      this.#of.runtime.failed(error);
    }
  }
}

/** A request of reverse ARP, about an address and from it. */
function reverseArp(address: string, vlan: number): Uint8Array {
  const mac = address.padStart(12, "0");
  const tag = vlan === 0 ? "" : `8100${vlan.toString(16).padStart(4, "0")}`;
  const none = "00000000";
  const frame = `ffffffffffff${mac}${tag}80350001080006040003${mac}${none}${mac}${none}`;
  return Uint8Array.fromHex(frame.padEnd(120, "0"));
}
