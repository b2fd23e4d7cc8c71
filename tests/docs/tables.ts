// SPDX-License-Identifier: Apache-2.0
/**
 * Writes the tables of pages that say what there is: port types with their options, and settings.
 *
 *     deno run -A tests/docs/tables.ts
 *
 * What there is comes from where it is checked: the library answers a wrong type, option or setting
 * with those that it knows. The reasons for drops are written by `deno task gen`. What each is for
 * is said here; the tests fail for one that nothing is said of.
 *
 * @module
 */
import { DatapathError, openDatapath } from "../../mod.ts";
import { tunnelOptions } from "../../providers/system/tunnel_links.ts";
import { root } from "../support/tree.ts";

/** What is said of each option; `TYPE.option` where it is another thing for one type. */
const options: Readonly<Record<string, string>> = {
  device: "the Linux device, where that is not the port's name",
  shared: "`yes`: other datapaths may have the device too",
  mtu: "bytes of the largest packet, without the Ethernet header",
  queue: "frames that wait at most",
  peer: "name of the port at the other end, which names this one; needed",
  rx_pcap: "capture file to receive from, pcap or pcapng, Ethernet only",
  tx_pcap: "capture file to write what is sent to",
  infinite_rx: "`1`: the file is played over and over",
  phy_mac: "`1`: take the MAC address of a device; DPDK's",
  n_rxq: "receive queues; each is polled by one thread",
  n_txq: "transmit queues",
  n_rxq_desc: "descriptors of a receive queue",
  n_txq_desc: "descriptors of a transmit queue",
  id: "number that both ends have, 0 if absent",
  role: "`server` or `client`, which is the default",
  bsize: "bytes of a buffer in the shared memory",
  rsize: "entries of a ring, as a power of two",
  socket: "path of the socket where the two meet",
  "socket-abstract": "`no`: the socket is a file; `yes`, the default: an abstract one",
  mac: "MAC address of this end",
  secret: "both ends must have the same",
  "zero-copy": "`yes`: packets stay where they are; DPDK's",
  "owner-uid": "user that the socket's file is given to",
  "owner-gid": "group that the socket's file is given to",
  start_queue: "first queue of the device that is used",
  queue_count: "queues of the device, which must have them (`ethtool -L`)",
  shared_umem: "`1`: ports share their memory; DPDK's",
  xdp_prog: "file of an XDP program, instead of DPDK's own",
  busy_budget: "packets that the kernel polls at once; 0: no busy polling",
  force_copy: "`1`: copy, also where the driver needs not",
  devargs: "PCI address or virtual device, with its arguments; needed",
  "dpdk-devargs": "the same, by Open vSwitch's name for it",
  mtu_request: "`mtu`, by Open vSwitch's name for it",
  "rx-flow-ctrl": "`true`: pause frames are heeded",
  "tx-flow-ctrl": "`true`: pause frames are sent when receive queues fill up",
  "flow-ctrl-autoneg": "`true`: both ends agree on pause frames",
  "dpdk-lsc-interrupt": "`true`: changes of the link are told at once, by interrupt",
  "rx-interrupt":
    "`true`: the card interrupts the sleep of an idle poll thread, which otherwise looks after each nap",
  "dpdk-vf-mac": "MAC address of the virtual function that a representor stands for",
  "rx-steering": "`rss`, the default, or `rss+lacp`: a further queue for LACP alone",
  "tx-steering":
    "`thread`, the default, or `hash`: a packet's hash chooses its transmit queue, not the thread that sends it",
  "tx-offload":
    "`none`, the default, `checksum`: the card completes checksums of TCP and UDP, or `tso`: it cuts TCP as well",
  path: "path of the vhost socket; needed",
  queues: "pairs of queues that the guest may use",
  "iommu-support": "`1`: virtio IOMMU; DPDK's",
  "postcopy-support": "`1`: postcopy migration; DPDK's",
  tso: "`1`: the guest may send large segments; DPDK's",
  "linear-buffer": "`1`: no chained buffers; DPDK's",
  "ext-buffer": "`1`: external buffers for large packets; DPDK's",
  dst_port: "UDP port of the tunnel",
  gbp: "`true`: the group-based policy extension",
  gpe: "`true`: the generic protocol extension",
  packet_type: "`legacy_l2` (default) or `legacy_l3`: packets without Ethernet header",
  payload_type: "EtherType of what it carries: `ip`, `mpls` or a number",
  multiproto: "`true`: several EtherTypes",
  remote_ip: "the other end; without it each flow says where to",
  local_ip: "this end; without it any address of this host",
  key: "key or VNI of all packets, both ways, or `flow`",
  in_key: "the same of packets that are received",
  out_key: "the same of packets that are sent",
  tos:
    "TOS of outer packets, where the flow says nothing; `inherit`: that of the inner packet",
  ttl: "TTL of outer packets, likewise; `inherit`",
  df: "`true`: outer IPv4 packets are not to be fragmented, likewise",
  csum:
    "`true`: outer packets have a checksum of UDP or GRE, likewise; `false`: UDP over IPv6 has none either",
  seq: "`true`: packets are numbered",
  erspan_ver: "version of ERSPAN, 1 or 2",
  erspan_idx: "index of version 1",
  erspan_dir: "direction of version 2: 0 or 1",
  erspan_hwid: "hardware id of version 2",
};

/** What a type is, and what it needs. */
const types: Readonly<Record<string, readonly [what: string, needs: string]>> = {
  dummy: [
    "a program puts frames in (`dp.ports.inject`) and takes them out (`collect`)",
    "-",
  ],
  null: ["receives nothing, and swallows what is sent", "-"],
  ring: ["one end of a pair in memory: what one sends, the other receives", "-"],
  patch: ["the same, by Open vSwitch's name for it", "-"],
  system: ["a Linux device, by a packet socket", "root"],
  tap: ["a new TAP device, by which the host itself is on the datapath", "root"],
  internal: ["the same, by Open vSwitch's name for it", "root"],
  pcap: ["capture files: reads one, writes one", "-"],
  memif: ["shared memory with another process, VPP for example", "-"],
  afxdp: ["a Linux device, by AF_XDP sockets", "root"],
  dpdk: [
    "a device of DPDK: a PCI card bound to vfio, or a virtual one",
    "root for a card",
  ],
  "vhost-user": ["a virtual machine; this end makes the socket", "-"],
  "vhost-user-client": ["a virtual machine; QEMU makes the socket (`server=on`)", "-"],
  vxlan: ["a [tunnel](tunnels.md): frames in UDP", "-"],
  geneve: ["the same, with options", "-"],
  gre: ["a tunnel over IPv4", "-"],
  ip6gre: ["the same over IPv6", "-"],
  erspan: ["mirrored frames over IPv4", "-"],
  ip6erspan: ["the same over IPv6", "-"],
  gtpu: ["a tunnel of mobile networks, for packets without Ethernet header", "-"],
  bareudp: ["packets without Ethernet header in UDP", "-"],
};

/** What each setting of `netdev` is for. */
const settings: Readonly<Record<string, readonly [what: string, otherwise: string]>> = {
  local: ["kind of port 0: `dummy`, `tap`, `null`, or `none` for no port 0", "`dummy`"],
  pollThreads: [
    'hexadecimal mask of cores, `"0x6"`; one poll thread on each',
    "the last free core",
  ],
  maxSleepUs: [
    "longest nap of an idle poll thread, microseconds, up to 10,000; 0: it never sleeps",
    "50",
  ],
  eal: [
    "arguments of DPDK's EAL, one a line; the first datapath of a process decides",
    "none",
  ],
  library: [
    "compiled library to open, instead of the one that is found or built",
    "built",
  ],
};

/** A table in Markdown, aligned as the formatter has it. */
function table(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const widths = head.map((cell, i) =>
    Math.max(cell.length, ...rows.map((row) => row[i]?.length ?? 0), 3)
  );
  const line = (cells: readonly string[]): string =>
    `| ${cells.map((cell, i) => cell.padEnd(widths[i] ?? 0)).join(" | ")} |`;
  return [line(head), `| ${widths.map((width) => "-".repeat(width)).join(" | ")} |`]
    .concat(rows.map(line)).join("\n");
}

/** What is listed in an error that lists what there is. */
async function listed(provoke: () => Promise<unknown>): Promise<string[]> {
  try {
    await provoke();
  } catch (error) {
    if (!(error instanceof DatapathError)) throw error;
    const [, list] = /\(there are: ([^)]*)\)/.exec(error.detail ?? "") ?? [];
    if (list !== undefined) return list === "none" ? [] : list.split(/[,\s]+/);
    throw error;
  }
  throw new Error("what is wrong was taken");
}

/** What is said of a name; throws for one that nothing is said of. */
function said<T>(of: Readonly<Record<string, T>>, name: string): T {
  const found = of[name];
  if (found === undefined) {
    throw new Error(`tests/docs/tables.ts says nothing of "${name}"`);
  }
  return found;
}

/** Tables by their names. */
export async function tables(): Promise<ReadonlyMap<string, string>> {
  await using dp = await openDatapath(`netdev@tables${Deno.pid}`, {
    create: true,
    onNotice: () => {},
  });
  const known = await listed(() => dp.ports.add({ name: "x", type: "nosuch" }));
  const optionsOf = new Map<string, readonly string[]>();
  for (const type of known) {
    const wrong = { name: "x", type, options: { "no such": "1" } };
    optionsOf.set(type, await listed(() => dp.ports.add(wrong)));
  }
  const names = [...new Set([...optionsOf.values()].flat())];
  const typesWith = (option: string): string[] =>
    known.filter((type) => optionsOf.get(type)?.includes(option));
  const wrong = { create: true, config: { "no such": 1 } } as const;
  const config = await listed(() => openDatapath(`netdev@tables${Deno.pid}x`, wrong));
  const ours = new Set(names);
  const tunnels = tunnelOptions();
  return new Map([
    [
      "port types",
      table(
        ["type", "what it is", "needs"],
        known.map((type) => [`\`${type}\``, ...said(types, type)]),
      ),
    ],
    [
      "port options",
      table(
        ["option", "of types", "what it says"],
        names.map((name) => [
          `\`${name}\``,
          typesWith(name).map((type) => `\`${type}\``).join(" "),
          said(options, name),
        ]),
      ),
    ],
    [
      "tunnel types",
      table(
        ["type", "options"],
        Object.entries(tunnels).map(([type, names]) => [
          `\`${type}\``,
          names.map((name) => `\`${name}\`: ${said(options, name)}`).join("; ") || "-",
        ]),
      ),
    ],
    [
      "settings",
      table(
        ["setting", "what it says", "if absent"],
        config.map((name) => [`\`${name}\``, ...said(settings, name)]),
      ),
    ],
    [
      "leftovers",
      Object.keys(options).filter((name) =>
        !ours.has(name) && !Object.values(tunnels).flat().includes(name)
      ).join(" "),
    ],
  ]);
}

/** A page with its tables as they are now. */
export function withTables(text: string, tables: ReadonlyMap<string, string>): string {
  return text.replaceAll(
    /(<!-- table: ([\w ]+) -->\n)[^]*?(<!-- end of table -->)/g,
    (_, start, name, end) => {
      const found = tables.get(name);
      if (found === undefined) throw new Error(`there is no table "${name}"`);
      return `${start}\n${found}\n\n${end}`;
    },
  );
}

/** Pages that have such tables. */
export const pagesWithTables = [
  "docs/ports.md",
  "docs/tunnels.md",
  "docs/tuning.md",
];

if (import.meta.main) {
  const now = await tables();
  for (const page of pagesWithTables) {
    const text = await Deno.readTextFile(root + page);
    await Deno.writeTextFile(root + page, withTables(text, now));
  }
}
