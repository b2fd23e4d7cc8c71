// SPDX-License-Identifier: Apache-2.0
/** Routes, rules, neighbours, links and addresses of the kernel, with ip(8) as the judge. */
import { deepStrictEqual as equal, ok, throws } from "node:assert/strict";
import {
  askForNeighbour,
  Conversation,
  FakePeer,
  isUsable,
  isWithin,
  listLinkAddresses,
  listLinks,
  listNeighbours,
  listRoutes,
  listRules,
  lookUpRoute,
  NetlinkError,
  NetlinkSocket,
  Protocol,
  type RouteEvent,
  RouteEvents,
} from "../../providers/netlink/mod.ts";
import { run, shell, tryRun } from "../support/command.ts";
import { type Host, makeHosts } from "../support/netns.ts";
import { needRoot, skippable } from "../support/skip.ts";
import { until } from "../support/wait.ts";

/** A number of this process, for tables, marks and priorities that tests must not share. */
const own = 0x5_0000 + Deno.pid % 0xffff;

/** A veth to a host: this end has 10.71.0.254/24 and fd00:71::fe/64. */
async function withLink(
  body: (conversation: Conversation, host: Host, ifindex: number) => Promise<void>,
): Promise<void> {
  needRoot("system");
  await using made = await makeHosts("rt", 1, { net: 71 });
  const [host] = made.hosts as [Host];
  await shell(`ip addr add 10.71.0.254/24 dev ${host.device}
    ip addr add fd00:71::fe/64 dev ${host.device} nodad`);
  const conversation = new Conversation(() => new NetlinkSocket(Protocol.route));
  try {
    const link = listLinks(conversation).find(({ name }) => name === host.device);
    ok(link);
    await body(conversation, host, link.index);
  } finally {
    conversation.close();
  }
}

Deno.test(
  "routes: links and addresses are those that ip(8) lists",
  skippable(() =>
    withLink(async (conversation, host, ifindex) => {
      interface Listed {
        readonly ifindex: number;
        readonly ifname: string;
        readonly address: string;
        readonly mtu: number;
        readonly flags: readonly string[];
        readonly linkinfo?: { readonly info_kind: string };
        readonly addr_info: readonly { local: string; prefixlen: number }[];
      }
      const listed = JSON.parse(
        await run("ip", "-d", "-j", "addr", "show", "dev", host.device),
      ) as Listed[];
      const [theirs] = listed.filter(({ ifname }) => ifname === host.device);
      ok(theirs);
      const link = listLinks(conversation).find(({ index }) => index === ifindex);
      equal(
        [link?.name, link?.mac, link?.mtu, link?.kind, link?.isUp, link?.isLoopback],
        [
          theirs.ifname,
          theirs.address,
          theirs.mtu,
          theirs.linkinfo?.info_kind,
          true,
          false,
        ],
      );
      equal(
        listLinkAddresses(conversation).filter((each) => each.ifindex === ifindex)
          .map(({ address, prefixLength }) => `${address}/${prefixLength}`).sort(),
        theirs.addr_info.map(({ local, prefixlen }) => `${local}/${prefixlen}`).sort(),
      );
      const lo = listLinks(conversation).find(({ name }) => name === "lo");
      ok(lo?.isLoopback);
    })
  ),
);

Deno.test(
  "routes: a lookup follows prefixes, gateways, marks and what the kernel refuses",
  skippable(() =>
    withLink(async (conversation, host, ifindex) => {
      const priority = 1000 + own % 30_000; // Before the main table's.
      const table = own;
      try {
        await shell(`ip route add 198.51.100.0/24 via 10.71.0.1
          ip route add 198.51.100.128/25 via 10.71.0.2 src 10.71.0.254 mtu 1300
          ip -6 route add 2001:db8:71::/48 via fd00:71::1
          ip route add 203.0.113.0/24 via inet6 fd00:71::1 dev ${host.device}
          ip route add unreachable 198.51.100.7
          ip route add blackhole 198.51.100.8
          ip route add prohibit 198.51.100.9
          ip route add 198.51.100.0/24 via 10.71.0.9 table ${table}
          ip rule add fwmark ${own} table ${table} priority ${priority}`);
        const ask = (to: string, query = {}) => {
          const { nextHops: [hop], source, mtu, type } = lookUpRoute(
            conversation,
            to,
            query,
          );
          return [type, hop?.ifindex, hop?.gateway, source, mtu];
        };
        const mine = "10.71.0.254";
        equal(ask("10.71.0.1"), ["unicast", ifindex, undefined, mine, undefined]);
        equal(ask("198.51.100.1"), ["unicast", ifindex, "10.71.0.1", mine, undefined]);
        equal(ask("198.51.100.200"), ["unicast", ifindex, "10.71.0.2", mine, 1300]);
        equal(ask("198.51.100.1", { mark: own }), [
          "unicast",
          ifindex,
          "10.71.0.9",
          mine,
          undefined,
        ]);
        equal(ask("203.0.113.1").slice(0, 3), ["unicast", ifindex, "fd00:71::1"]);
        equal(ask("2001:db8:71::5").slice(0, 4), [
          "unicast",
          ifindex,
          "fd00:71::1",
          "fd00:71::fe",
        ]);
        equal(ask(mine)[0], "local");
        equal(
          ask("10.71.0.1", { source: mine, tos: 0x10, outIfindex: ifindex }).slice(0, 2),
          [
            "unicast",
            ifindex,
          ],
        );
        const refusals = [
          ["198.51.100.7", "EHOSTUNREACH"],
          ["198.51.100.8", "EINVAL"],
          ["198.51.100.9", "EACCES"],
        ] as const;
        for (const [to, code] of refusals) {
          throws(() => lookUpRoute(conversation, to), { code }, to);
        }
        throws(() => lookUpRoute(conversation, "10.71.0.1", { source: "192.0.2.99" }), {
          code: /^(EINVAL|ENETUNREACH)$/,
        });
        throws(() => lookUpRoute(conversation, "10.71.0.1", { source: "::1" }), {
          code: "EINVAL",
        });
        throws(() => lookUpRoute(conversation, "10.71.0"), SyntaxError);

        const rule = listRules(conversation).find((each) => each.priority === priority);
        equal(rule, {
          version: 4,
          priority,
          table,
          mark: { value: own, mask: 0xffffffff },
        });
        const routes = listRoutes(conversation);
        const at = (address: string, inTable = 254) =>
          routes.find(({ destination, table }) =>
            destination.address === address && table === inTable
          );
        equal(at("198.51.100.128")?.nextHops, [{ ifindex, gateway: "10.71.0.2" }]);
        equal(at("198.51.100.0", table)?.nextHops, [{ ifindex, gateway: "10.71.0.9" }]);
        equal(at("198.51.100.7")?.type, "unreachable");
        equal(at("2001:db8:71::")?.destination.length, 48);
      } finally {
        await tryRun("ip", "rule", "del", "priority", `${priority}`);
        await tryRun("ip", "route", "flush", "table", `${table}`);
        for (
          const [host, type] of [["7", "unreachable"], ["8", "blackhole"], [
            "9",
            "prohibit",
          ]]
        ) {
          await tryRun("ip", "route", "del", `${type}`, `198.51.100.${host}`);
        }
      }
    })
  ),
);

Deno.test(
  "routes: a multipath route lists its ways, and a lookup takes one",
  skippable(() =>
    withLink(async (conversation, host, ifindex) => {
      await run(
        ...`ip route add 198.18.71.0/24 nexthop via 10.71.0.1 dev ${host.device} nexthop via 10.71.0.2 dev ${host.device}`
          .split(" "),
      );
      const route = listRoutes(conversation)
        .find(({ destination }) => destination.address === "198.18.71.0");
      const ways = ["10.71.0.1", "10.71.0.2"].map((gateway) => ({ ifindex, gateway }));
      equal(route?.nextHops, ways);
      const { nextHops } = lookUpRoute(conversation, "198.18.71.5");
      equal(nextHops.length, 1);
      ok(ways.some(({ gateway }) => gateway === nextHops[0]?.gateway));
    })
  ),
);

Deno.test(
  "routes: the kernel asks for a neighbour when told to, and says what came of it",
  skippable(() =>
    withLink(async (conversation, host, ifindex) => {
      const events = new RouteEvents();
      const heard: RouteEvent[] = [];
      const hear = (address: string, wanted: (event: RouteEvent) => boolean) =>
        until(`news of ${address}`, () => {
          heard.push(...events.take());
          return heard.find((event) =>
            event.kind === "neighbour" && event.neighbour.address === address &&
            event.neighbour.ifindex === ifindex && wanted(event)
          );
        });
      try {
        for (const address of [host.ipv4, host.ipv6]) {
          askForNeighbour(conversation, ifindex, address);
          const event = await hear(
            address,
            (event) => event.kind === "neighbour" && isUsable(event.neighbour),
          );
          ok(event.kind === "neighbour");
          equal(event.neighbour.mac, host.mac);
          const listed = listNeighbours(conversation)
            .find((each) => each.ifindex === ifindex && each.address === address);
          equal(listed?.mac, host.mac);
          const shown = await run("ip", "neigh", "show", address, "dev", host.device);
          ok(shown.includes(host.mac), shown);
        }
        // Nobody has this address.
        askForNeighbour(conversation, ifindex, "10.71.0.99");
        await hear("10.71.0.99", (event) =>
          event.kind === "neighbour" && event.neighbour.state === "failed");
        // Another address of the neighbour is told at once.
        const mac = "02:00:00:00:71:77";
        await shell(`ip neigh replace ${host.ipv4} lladdr ${mac} dev ${host.device}`);
        await hear(host.ipv4, (event) =>
          event.kind === "neighbour" && event.neighbour.mac === mac);
        await shell(`ip neigh del ${host.ipv4} dev ${host.device}`);
        await hear(
          host.ipv4,
          (event) =>
            event.kind === "neighbour" &&
            (event.isGone || event.neighbour.state === "failed"),
        );
        throws(() =>
          askForNeighbour(conversation, 0x7fffffff, host.ipv4), {
          code: "ENODEV",
        });
      } finally {
        events.close();
      }
    })
  ),
);

Deno.test(
  "routes: changes of links, addresses, routes and rules are told, and a waiter wakes",
  skippable(() =>
    withLink(async (_conversation, host, ifindex) => {
      const events = new RouteEvents();
      const waiter = events.waiter();
      try {
        const heard: RouteEvent[] = [];
        const change = async (words: string, wanted: (event: RouteEvent) => boolean) => {
          await run("ip", ...words.split(" "));
          for (;;) {
            heard.push(...events.take());
            if (heard.some(wanted)) break;
            await waiter.wait();
          }
          heard.length = 0;
        };
        const { device } = host;
        const goes = (isGone: boolean, kind: string) => (event: RouteEvent) =>
          event.kind === kind && "isGone" in event && event.isGone === isGone;
        await change(
          `addr add 10.72.0.1/30 dev ${device}`,
          (event) =>
            event.kind === "address" && !event.isGone &&
            event.address.address === "10.72.0.1" && event.address.prefixLength === 30 &&
            event.address.ifindex === ifindex,
        );
        await change(`addr del 10.72.0.1/30 dev ${device}`, goes(true, "address"));
        await change(
          `route add 198.18.72.0/24 via 10.71.0.1`,
          (event) =>
            event.kind === "route" && !event.isGone &&
            event.route.destination.address === "198.18.72.0",
        );
        await change(`route del 198.18.72.0/24`, goes(true, "route"));
        await change(
          `-6 route add 2001:db8:72::/48 via fd00:71::1`,
          (event) =>
            event.kind === "route" && !event.isGone &&
            event.route.destination.address === "2001:db8:72::",
        );
        await change(
          `rule add fwmark ${own} table ${own} priority ${own}`,
          (event) => event.kind === "rule" && event.rule.priority === own,
        );
        await change(`rule del priority ${own}`, goes(true, "rule"));
        await change(
          `link set ${device} mtu 1400`,
          (event) => event.kind === "link" && event.link.mtu === 1400,
        );
        await change(
          `link set ${device} down`,
          (event) =>
            event.kind === "link" && event.link.index === ifindex && !event.link.isUp,
        );
        await change(
          `link del ${device}`,
          (event) =>
            event.kind === "link" && event.link.index === ifindex && event.isGone,
        );
      } finally {
        await tryRun("ip", "rule", "del", "priority", `${own}`);
        await waiter.close();
        events.close();
      }
    })
  ),
);

Deno.test("routes: what was lost is told as such, and what follows is heard", () => {
  const peer = new FakePeer(() => [new NetlinkError({ code: "ENOBUFS" })]);
  peer.send(new Uint8Array(0));
  // RTM_NEWNEIGH: struct ndmsg, then NDA_DST 192.0.2.1
  const body = new Uint8Array(20);
  body.set([2, 0, 0, 0, 7, 0, 0, 0, 0x20, 0, 0, 0, 8, 0, 1, 0, 192, 0, 2, 1]);
  peer.notify({ type: 28, body });
  const events = new RouteEvents(peer);
  equal(events.take(), [
    { kind: "lost" },
    {
      kind: "neighbour",
      isGone: false,
      neighbour: { ifindex: 7, version: 4, address: "192.0.2.1", state: "failed" },
    },
  ]);
  equal(events.take(), []);
  events.close();
  ok(peer.closed);
});

Deno.test("routes: messages that lie about their length are refused", () => {
  // Type, and the size of its header, of which byte 0 is the family.
  for (const [type, size] of [[16, 16], [20, 8], [24, 12], [28, 12], [32, 12]] as const) {
    const family = type === 16 ? 0 : 2;
    const take = (body: Uint8Array) => {
      const peer = new FakePeer(() => []);
      body[0] = family;
      peer.notify({ type, body });
      return new RouteEvents(peer).take();
    };
    for (let short = 1; short < size; short++) {
      throws(() => take(new Uint8Array(short)), { code: "EBADMSG" }, `${type} ${short}`);
    }
    // Attributes that say they are longer than what there is, or shorter than their header.
    for (const length of [3, 200]) {
      const body = new Uint8Array(size + 8);
      body[size] = length;
      throws(() => take(body), { code: "EBADMSG" }, `${type} attribute ${length}`);
    }
  }
  // An address of five bytes, and a next hop that ends behind the attribute.
  const lies = [
    [28, [2, 0, 0, 0, 7, 0, 0, 0, 2, 0, 0, 0, 9, 0, 1, 0, 1, 2, 3, 4, 5, 0, 0, 0]],
    [24, [2, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 12, 0, 9, 0, 99, 0, 0, 0, 1, 0, 0, 0]],
  ] as const;
  for (const [type, bytes] of lies) {
    const peer = new FakePeer(() => []);
    peer.notify({ type, body: new Uint8Array(bytes) });
    throws(() => new RouteEvents(peer).take(), { code: "EBADMSG" }, `${type}`);
  }
});

Deno.test("routes: prefixes hold addresses of their own version", () => {
  const cases = [
    ["10.1.2.3", "10.1.2.0", 24, true],
    ["10.1.3.3", "10.1.2.0", 24, false],
    ["10.1.2.129", "10.1.2.128", 25, true],
    ["10.1.2.127", "10.1.2.128", 25, false],
    ["10.1.2.3", "0.0.0.0", 0, true],
    ["10.1.2.3", "::", 0, false],
    ["fd00::1", "fd00::", 8, true],
    ["fe00::1", "fd00::", 8, false],
    ["fd00::1", "fd00::1", 128, true],
    ["fd00::2", "fd00::1", 128, false],
  ] as const;
  for (const [address, base, length, within] of cases) {
    equal(isWithin(address, { address: base, length }), within, `${address} ${base}`);
  }
});
