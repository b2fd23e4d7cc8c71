// SPDX-License-Identifier: Apache-2.0
/**
 * Where outer packets go: what is written for the library when Linux's routes, neighbours, links
 * and addresses change, on real devices.
 */
import assert from "node:assert/strict";
import {
  type Hop,
  type HopKey,
  hopKeyText,
} from "../../../providers/netdev/tunnels/hop.ts";
import { run, shell, tryRun } from "../../support/command.ts";
import { figure } from "../../support/figure.ts";
import { skippable } from "../../support/skip.ts";
import { until } from "../../support/wait.ts";
import { bench } from "./resolver_lab.ts";

const hex = (mac: string) => mac.replaceAll(":", "");

Deno.test(
  "tunnels: a neighbour is asked for, and its address is in the header, IPv4 and IPv6",
  skippable(() =>
    bench(async ({ host, table, resolver, key, settle, mac }) => {
      for (const [to, type] of [[host.ipv4, "0800"], [host.ipv6, "86dd"]] as const) {
        resolver.ask(key(to));
        await settle(`a way to ${to}`, () => table.header(key(to)) !== undefined);
        assert.equal(table.header(key(to)), `${hex(host.mac)}${mac}${type}`);
        const hop = table.hops.get(hopKeyText(key(to))) as Hop;
        assert.deepEqual(
          [hop.underlay, hop.isReceived, hop.mtu, hop.source],
          [3, false, 1500, to === host.ipv4 ? "10.73.0.254" : "fd00:73::fe"],
        );
      }
      // Behind a gateway; and where there is no way, none is asked for again.
      await run("ip", "route", "add", "198.51.73.0/24", "via", host.ipv4);
      resolver.ask(key("198.51.73.9"));
      assert.equal(table.header(key("198.51.73.9")), `${hex(host.mac)}${mac}0800`);
      await run("ip", "route", "add", "unreachable", "198.51.74.0/24");
      try {
        resolver.ask(key("198.51.74.1"));
        assert.equal(table.header(key("198.51.74.1")), "none");
        resolver.ask(key("10.73.0.254")); // Our own address: no tunnel to oneself.
        assert.equal(table.header(key("10.73.0.254")), "none");
      } finally {
        await tryRun("ip", "route", "del", "unreachable", "198.51.74.0/24");
      }
    })
  ),
);

Deno.test(
  "tunnels: what is heard renews a way at once, or withdraws it",
  skippable(() =>
    bench(async ({ host, table, linux, resolver, key, settle, mac, ports }) => {
      const [near, far] = [key(host.ipv4), key("198.51.73.9")];
      await run("ip", "route", "add", "198.51.73.0/24", "via", host.ipv4);
      resolver.ask(near);
      resolver.ask(far);
      const first = `${hex(host.mac)}${mac}0800`;
      await settle(
        "both ways",
        () => table.header(near) === first && table.header(far) === first,
      );

      // Another address of the neighbour, in one turn, for both.
      await run(
        "ip",
        "neigh",
        "replace",
        host.ipv4,
        "lladdr",
        "02:00:00:00:73:aa",
        "dev",
        host.device,
      );
      const second = `02000000` + `73aa${mac}0800`;
      await settle("the new address", () => table.header(near) === second);
      assert.equal(table.header(far), second);

      // The neighbour is forgotten: nothing is sent to its old address.
      await run("ip", "neigh", "del", host.ipv4, "dev", host.device);
      await settle("no way", () => table.header(near) === undefined);
      assert.equal(table.header(far), undefined);
      resolver.ask(far);
      await settle("the way back", () => table.header(far) === first);

      // A longer prefix leads elsewhere; its end leads back.
      await shell(`ip neigh replace 10.73.0.9 lladdr 02:00:00:00:73:09 dev ${host.device}
        ip route add 198.51.73.9 via 10.73.0.9`);
      await settle(
        "the longer prefix",
        () => table.header(far) === `020000007309${mac}0800`,
      );
      await run("ip", "route", "del", "198.51.73.9");
      await settle("the shorter prefix", () => table.header(far) === first);

      // The path's MTU, of the link and as a router says.
      const mtu = () => (table.hops.get(hopKeyText(far)) as Hop | undefined)?.mtu;
      await run("ip", "link", "set", host.device, "mtu", "1400");
      await settle("the link's MTU", () => mtu() === 1400);
      resolver.setMtu("198.51.73.9", 1300);
      assert.equal(mtu(), 1300);
      resolver.setMtu("198.51.73.9", 10);
      assert.equal(mtu(), 552);

      // The link goes down, and comes back with its routes; without a port, there is no way.
      await run("ip", "link", "set", host.device, "down");
      await settle("no way by a link that is down", () => table.header(near) !== first);
      await shell(`ip link set ${host.device} up`);
      await settle("the link to be back", () => {
        resolver.ask(near);
        return table.header(near) === first;
      });
      ports.shift();
      resolver.rescan();
      assert.equal(table.header(near), "none");
      assert.deepEqual(table.locals, []);
      assert.ok([...linux.links()].length > 0);
    })
  ),
);

Deno.test(
  "tunnels: marks are followed, by policy routing",
  skippable(() =>
    bench(async ({ host, table, resolver, key, settle, mac }) => {
      const table1 = 10_000 + Deno.pid % 50_000;
      const to = "198.51.73.9";
      try {
        await shell(`ip route add 198.51.73.0/24 via ${host.ipv4}
          ip neigh replace 10.73.0.9 lladdr 02:00:00:00:73:09 dev ${host.device}
          ip route add 198.51.73.0/24 via 10.73.0.9 table ${table1}`);
        resolver.ask(key(to));
        resolver.ask(key(to, table1));
        const plainWay = `${hex(host.mac)}${mac}0800`;
        await settle("both", () => table.header(key(to, table1)) === plainWay);
        await run(
          "ip",
          "rule",
          "add",
          "fwmark",
          `${table1}`,
          "table",
          `${table1}`,
          "priority",
          `${1000 + table1 % 30_000}`,
        );
        await settle("the rule", () =>
          table.header(key(to, table1)) === `020000007309${mac}0800`);
        assert.equal(table.header(key(to)), plainWay);
        await run("ip", "rule", "del", "fwmark", `${table1}`);
        await settle("no rule", () =>
          table.header(key(to, table1)) === plainWay);
      } finally {
        await tryRun("ip", "rule", "del", "fwmark", `${table1}`);
      }
    })
  ),
);

Deno.test(
  "tunnels: addresses of ports are ours, those of VLANs with their tag, and of the loopback",
  skippable(() =>
    bench(async ({ host, table, resolver, key, settle, mac }) => {
      const ours = (address: string) =>
        table.locals.find((each) => each.address === address);
      assert.equal(ours("10.73.0.254")?.way, "received");
      assert.equal(hex(ours("fd00:73::fe")?.mac ?? ""), mac);
      assert.equal(ours("127.0.0.1"), undefined);
      await run("ip", "addr", "add", "10.74.0.1/24", "dev", host.device);
      await settle("another address", () => ours("10.74.0.1")?.port === 3);
      await run("ip", "addr", "del", "10.74.0.1/24", "dev", host.device);
      await settle("its end", () => ours("10.74.0.1") === undefined);
      await run("ip", "addr", "add", "198.51.100.73/32", "dev", "lo");
      try {
        await settle("the loopback's", () => ours("198.51.100.73")?.port === 3);
      } finally {
        await run("ip", "addr", "del", "198.51.100.73/32", "dev", "lo");
      }
      const vlan = `${host.device.slice(0, 11)}.v`;
      const made = await tryRun(
        ..."ip link add link DEV name VLAN type vlan id 7".replace("DEV", host.device)
          .replace("VLAN", vlan).split(" "),
      );
      if (made.code !== 0) return figure(`no VLAN devices here: ${made.stderr.trim()}`);
      await shell(`ip link set ${vlan} up; ip addr add 10.75.0.1/24 dev ${vlan}
        ip neigh replace 10.75.0.2 lladdr 02:00:00:00:75:02 dev ${vlan}`);
      await settle("the VLAN's", () => ours("10.75.0.1")?.vlan === 7);
      resolver.ask(key("10.75.0.2"));
      assert.equal(table.header(key("10.75.0.2")), `020000007502${mac}810000070800`);
    })
  ),
);

Deno.test(
  "tunnels: a sweep forgets what is idle, and what it does not know",
  skippable(() =>
    bench(async ({ host, table, resolver, key, settle }) => {
      const [used, idle] = [key(host.ipv4), key(host.ipv6)];
      resolver.ask(used);
      resolver.ask(idle);
      await settle("both", () => table.hops.size === 2);
      table.set(key("192.0.2.1"), undefined); // Left by an isolate that managed before.
      table.idle.set(hopKeyText(used), 10);
      table.idle.set(hopKeyText(idle), 1_000_000);
      resolver.sweep();
      assert.deepEqual([...table.hops.keys()], [hopKeyText(used)]);
      // A stale neighbour that is in use is made sure of.
      await run(
        "ip",
        "neigh",
        "replace",
        host.ipv4,
        "lladdr",
        host.mac,
        "nud",
        "stale",
        "dev",
        host.device,
      );
      await settle("a sweep to ask", () => {
        resolver.sweep();
        return table.header(used) !== undefined;
      });
      await until("Linux to look", async () =>
        /DELAY|PROBE|REACHABLE/.test(await run("ip", "neigh", "show", host.ipv4)));
    })
  ),
);

Deno.test(
  "tunnels: a thousand far ends behind a neighbour are renewed together",
  skippable(() =>
    bench(async ({ host, table, resolver, linux, key, settle, mac }) => {
      await run("ip", "route", "add", "198.19.0.0/16", "via", host.ipv4);
      resolver.ask(key(host.ipv4));
      const alone: number[] = [];
      for (let round = 0; round < 9; round++) {
        const next = `02:00:00:00:74:0${round}`;
        const words = `ip neigh replace ${host.ipv4} lladdr ${next} dev ${host.device}`;
        await run(...words.split(" "));
        await until("news", () => {
          const start = performance.now();
          const events = linux.take();
          if (events.length === 0) return false;
          resolver.heard(events);
          alone.push(performance.now() - start);
          return table.header(key(host.ipv4)) === `${hex(next)}${mac}0800`;
        });
      }
      alone.sort((a, b) => a - b);
      figure(`one far end: ${alone[0]?.toFixed(3)} to ${alone.at(-1)?.toFixed(3)} ms`);
      const keys = Array.from({ length: 1000 }, (_, i) =>
        key(`198.19.${i >> 8}.${i & 255}`));
      for (const each of keys) {
        resolver.ask(each);
      }
      await settle("all", () =>
        keys.every((each) => table.header(each) !== undefined));
      const times: number[] = [];
      for (let round = 0; round < 5; round++) {
        const next = `02000000730${round}`;
        await run(
          "ip",
          "neigh",
          "replace",
          host.ipv4,
          "lladdr",
          next.match(/../g)?.join(":") ?? "",
          "dev",
          host.device,
        );
        await until("news", () => {
          const start = performance.now();
          const events = linux.take();
          resolver.heard(events);
          if (events.length > 0) times.push(performance.now() - start);
          return table.header(keys[0] as HopKey) === `${next}${mac}0800`;
        });
        assert.ok(keys.every((each) => table.header(each) === `${next}${mac}0800`));
      }
      times.sort((a, b) => a - b);
      figure(
        `a notification about the neighbour of 1000 far ends is carried out in ` +
          `${times[0]?.toFixed(2)} to ${times.at(-1)?.toFixed(2)} ms`,
      );
    })
  ),
);
