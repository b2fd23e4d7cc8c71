// SPDX-License-Identifier: Apache-2.0
/**
 * Takes the pictures of the dashboard that are in the guide: a small switch with hosts that talk,
 * after two minutes, light and dark.
 *
 *     deno run -A tests/web/pictures.ts [FOLDER]
 *
 * @module
 */
import { serveDashboard } from "../../control/web/dashboard.ts";
import { ct, CtState, meter, meterId, openDatapath } from "../../mod.ts";
import { build, ethernet, ipv4, payload, tcp, udp } from "../../frames/mod.ts";
import {
  drop,
  flood,
  forward,
  type Policy,
  runPolicy,
  stage,
  StateMap,
  track,
} from "../../policy/mod.ts";
import { Browser } from "../support/browser.ts";
import { root } from "../support/tree.ts";

const usage = "usage: deno run -A tests/web/pictures.ts [FOLDER]";

/** Moments that a drawing shows, and a few. */
const seconds = 125;
const hosts = ["uplink", "web1", "web2", "db"] as const;

const known = stage<number>("known", (packet, to) => {
  if (packet.bits("ctState", CtState.Established)) return forward(to);
  return [ct({ commit: true }), ...forward(to)];
});

const stations = new StateMap<string, number>({ name: "stations" });
const policy: Policy = (packet, ports) => {
  if (packet.ethernet) packet.learn(stations, packet.ethernet.src, packet.inPort);
  if (packet.equals("udp.dst", 53)) return drop("no DNS here");
  if (packet.equals("tcp.dst", 22)) return drop("nobody asked for it");
  const to = stations.lookup(packet, "ethernet.dst");
  if (to === undefined) return flood(ports, packet.inPort);
  if (packet.equals("udp.dst", 514)) return [meter(meterId(1)), ...forward(to)];
  const isWeb = packet.inPort + to === 1 + 2;
  return isWeb ? track({}, known, to) : forward(to);
};

function frameOf(from: number, to: number, [source, port]: [number, number]) {
  const mac = (station: number) => `02:00:00:00:00:0${station}`;
  return build([
    ethernet({ src: mac(from), dst: mac(to) }),
    ipv4({ src: `10.0.0.${from}`, dst: `10.0.0.${to}` }),
    port === 53 || port === 514
      ? udp({ src: source, dst: port })
      : tcp({ src: source, dst: port }),
    payload(new Uint8Array(300)),
  ]);
}

async function main(): Promise<number> {
  const [folder = `${root}docs/pictures`, ...rest] = Deno.args;
  if (rest.length > 0 || folder.startsWith("-")) {
    console.log(usage);
    return /^(-h|--help)$/.test(folder) ? 0 : 1;
  }
  await using dp = await openDatapath("netdev@br0", { create: true });
  for (const name of hosts) await dp.ports.add({ name, type: "dummy" });
  dp.meters?.set(meterId(1), { unit: "pktps", bands: [{ rate: 20, burst: 10 }] });
  await using _run = await runPolicy(dp, policy);
  await using dashboard = serveDashboard(dp, { port: 0 });
  await using browser = await Browser.start();
  const page = await browser.open(dashboard.url, { width: 1280, height: 2300 });
  const put = (port: number, frame: Uint8Array): void => {
    try {
      dp.ports.inject?.(port, frame);
    } catch {
      // Its queue is full: a neighbour would lose it, too.
    }
    for (let no = 1; no <= hosts.length; no++) dp.ports.collect?.(no);
  };
  let ticks = 0;
  const traffic = setInterval(() => {
    const wave = 6 + 4 * Math.sin(ticks / 240) + 2 * Math.sin(ticks / 70);
    for (let i = 0; i < wave; i++) {
      const source = 40_000 + i % 5;
      put(1, frameOf(1, 2, [source, 80]));
      if (i % 3 > 0) put(2, frameOf(2, 1, [80, source]));
    }
    if (ticks % 2 === 0) put(3, frameOf(3, 4, [50_000, 5432]));
    if (ticks % 2 === 0) put(4, frameOf(4, 3, [5432, 50_000]));
    if (ticks % 4 === 0) put(3, frameOf(3, 1, [1000, 53]));
    if (ticks % 9 === 0) put(1, frameOf(1, 4, [60_000, 22]));
    put(4, frameOf(4, 1, [514, 514]));
    if (ticks % 150 === 0) put(1, frameOf(5 + ticks / 150 % 5, 3, [1000, 8080]));
    ticks++;
  }, 25);
  try {
    await new Promise((resolve) => setTimeout(resolve, seconds * 1000));
    for (const dark of [false, true]) {
      // To the end of a part, so that none is cut.
      const bottom =
        "document.getElementById('connections').getBoundingClientRect().bottom";
      const height = Math.ceil(await page.run<number>(bottom)) + 16;
      await page.show({ width: 1280, height, dark });
      await new Promise((resolve) => setTimeout(resolve, 2500));
      const path = `${folder}/dashboard-${dark ? "dark" : "light"}.png`;
      await Deno.writeFile(path, await page.photograph());
      console.log(path);
    }
  } finally {
    clearInterval(traffic);
    await page.close();
  }
  return 0;
}

if (import.meta.main) Deno.exit(await main());
