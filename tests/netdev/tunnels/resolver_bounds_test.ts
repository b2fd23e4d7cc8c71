// SPDX-License-Identifier: Apache-2.0
/**
 * What a change of Linux's makes the resolver of tunnels do is bounded, however many far ends there
 * are.
 */
import assert from "node:assert/strict";
import type { Host } from "../../../providers/netdev/tunnels/host.ts";
import { portNo } from "../../../providers/ids.ts";
import { hopKeyText } from "../../../providers/netdev/tunnels/hop.ts";
import { run, shell, tryRun } from "../../support/command.ts";
import { figure } from "../../support/figure.ts";
import { skippable } from "../../support/skip.ts";
import { until } from "../../support/wait.ts";
import { bench } from "./resolver_lab.ts";

/** Counts how often Linux is asked for a route. */
function countLookUps(linux: Host): () => number {
  const lookUp = linux.lookUp.bind(linux);
  let count = 0;
  linux.lookUp = (...args) => {
    count++;
    return lookUp(...args);
  };
  return () => count;
}

const destinations = (count: number) =>
  Array.from({ length: count }, (_, i) => `198.19.${i >> 8}.${i & 255}`);

Deno.test(
  "tunnels: devices and ports that no way leads by make nothing be looked up",
  skippable(() =>
    bench(async ({ host, table, resolver, linux, key, settle, ports }) => {
      await run("ip", "route", "add", "198.19.0.0/16", "via", host.ipv4);
      const keys = destinations(20).map((destination) => key(destination));
      for (const each of keys) resolver.ask(each);
      await settle("all", () => keys.every((each) => table.header(each) !== undefined));
      const lookUps = countLookUps(linux);
      const other = `rsx${Deno.pid % 1_000_000}`;
      try {
        await shell(`ip link add ${other} type veth peer name ${other}p
          ip addr add 10.74.0.1/24 dev ${other}
          ip link set ${other}p up; ip link set ${other} up`);
        await settle("the device to be seen", () =>
          [...linux.links()].some(({ name, isUp }) => name === other && isUp));
      } finally {
        await tryRun("ip", "link", "delete", other);
      }
      await settle("it to go", () =>
        ![...linux.links()].some(({ name }) =>
          name === other
        ));
      ports.push({ no: portNo(5), name: "other", type: "dummy" });
      resolver.portsChanged();
      assert.equal(lookUps(), 0);
      assert.ok(keys.every((each) =>
        table.header(each) !== undefined
      ));
      // Those of a port that goes are looked for anew.
      ports.splice(0, 1);
      resolver.portsChanged();
      assert.equal(lookUps(), keys.length);
      assert.ok(keys.every((each) => table.header(each) === "none"));
    })
  ),
);

Deno.test(
  "tunnels: of many far ends each waits for a packet when their device comes back",
  skippable(() =>
    bench(async ({ host, table, resolver, linux, key, settle }) => {
      const route = ["route", "replace", "198.19.0.0/16", "via", host.ipv4];
      const neighbour =
        `neigh replace ${host.ipv4} lladdr ${host.mac} dev ${host.device} nud permanent`;
      await run("ip", ...route);
      await run("ip", ...neighbour.split(" "));
      await settle("the neighbour", () => {
        resolver.ask(key(host.ipv4));
        return table.header(key(host.ipv4)) !== undefined;
      });
      const keys = destinations(5000).map((destination) => key(destination));
      for (const each of keys) resolver.ask(each);
      assert.equal(table.hops.size, 5001);
      resolver.setMtu("198.19.0.1", 1300);
      const mtu = () => resolver.plan(key("198.19.0.1"))?.mtu;
      assert.equal(mtu(), 1300);
      const lookUps = countLookUps(linux);
      const times: number[] = [];
      const hear = () => {
        const events = linux.take();
        const start = performance.now();
        resolver.heard(events);
        if (events.length > 0) times.push(performance.now() - start);
      };
      for (const way of ["down", "up"]) {
        await run("ip", "link", "set", host.device, way);
        await until(`the device to be ${way}`, () => {
          hear();
          const link = [...linux.links()].find(({ name }) => name === host.device);
          return link?.isUp === (way === "up");
        });
        // What was written is never used again.
        assert.equal(table.header(key("198.19.0.1")), undefined);
      }
      assert.ok(lookUps() <= 2048, `${lookUps()} questions`);
      figure(`of 5000 far ends, a turn took ${Math.max(...times).toFixed(1)} ms at most`);
      await run("ip", ...route);
      await run("ip", ...neighbour.split(" "));
      const [first] = keys;
      assert.ok(first);
      await settle("one that is asked for", () => {
        resolver.ask(first);
        return table.hops.get(hopKeyText(first)) !== "none" &&
          table.header(first) !== undefined;
      });
      // What a router said of one that is not wanted any more is forgotten with it.
      assert.notEqual(mtu(), 1300);
    })
  ),
);
