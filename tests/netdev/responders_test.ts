// SPDX-License-Identifier: Apache-2.0
/** The examples that answer, asked by a host in a namespace: by ping, and by scapy. */
import assert from "node:assert/strict";
import { answers, type Host, makeHosts, on, ping } from "../support/netns.ts";
import { needScapy, scapy } from "../support/scapy.ts";
import { NetdevBench } from "../support/netdev.ts";
import { until } from "../support/wait.ts";
import { needRoot, skippable } from "../support/skip.ts";

/** Runs an example on the device of a host until the body is through. */
async function withResponder(
  name: string,
  net: number,
  words: (host: Host) => readonly string[],
  body: (host: Host) => Promise<void>,
): Promise<void> {
  needRoot("netdev");
  await needScapy();
  {
    await using _ = await NetdevBench.open(); // Compiles the library, or skips.
  }
  await using network = await makeHosts("exr", 1, { net });
  const [host] = network.hosts;
  assert.ok(host !== undefined);
  const path = new URL(`../../examples/${name}`, import.meta.url).pathname;
  const child = new Deno.Command(Deno.execPath(), {
    args: ["run", "-A", "--quiet", path, `netdev@ex${net}`, ...words(host)],
    stdin: "null",
    stdout: "null",
    stderr: "piped",
    env: { NO_COLOR: "1" },
  }).spawn();
  const stderr = new Response(child.stderr).text();
  try {
    await body(host);
  } catch (error) {
    child.kill("SIGINT");
    throw new Error(await stderr, { cause: error });
  } finally {
    try {
      child.kill("SIGINT");
    } catch {
      // It was ended above.
    }
    await child.status;
    await stderr;
  }
}

/**
 * What a script of scapy says in the host's namespace, where it has the host's device as `dev` and
 * MAC as `mac`.
 */
function ask(host: Host, script: string): Promise<string> {
  return scapy(`dev="${host.inner}"\nmac="${host.mac}"\n${script}`, [], on(host));
}

Deno.test(
  "example: ping_responder.ts answers for addresses of both kinds",
  skippable(() =>
    withResponder(
      "ping_responder.ts",
      86,
      ({ device }) => ["10.86.0.99", "fd00:86::99", device],
      async (host) => {
        await until("an answer", () => answers(host, "10.86.0.99"));
        await ping(host, "10.86.0.99", 3);
        await until("an answer", () => answers(host, "fd00:86::99"));
        await ping(host, "fd00:86::99", 3);
        assert.equal(await answers(host, "10.86.0.98"), false);
      },
    )
  ),
);

Deno.test(
  "example: arp_responder.ts tells the address that it has",
  skippable(() =>
    withResponder(
      "arp_responder.ts",
      87,
      ({ device }) => ["10.87.0.99", device],
      async (host) => {
        const answer = (address: string) =>
          ask(
            host,
            `r=srp1(Ether(dst="ff:ff:ff:ff:ff:ff")/ARP(pdst="${address}"),iface=dev,timeout=1)\n` +
              `print(r[ARP].hwsrc, r[ARP].psrc, r[ARP].op) if r else print("nothing")`,
          );
        const told = "02:00:00:00:00:99 10.87.0.99 2";
        await until("an answer", async () => (await answer("10.87.0.99")) === told);
        assert.equal(await answer("10.87.0.98"), "nothing");
      },
    )
  ),
);

Deno.test(
  "example: dhcp_server.ts offers and gives an address, and the same again",
  skippable(() =>
    withResponder(
      "dhcp_server.ts",
      88,
      ({ device }) => ["10.88.0.1", device],
      async (host) => {
        const answer = (kind: string) =>
          ask(
            host,
            `p=Ether(src=mac,dst="ff:ff:ff:ff:ff:ff")/IP(src="0.0.0.0",dst="255.255.255.255")/` +
              `UDP(sport=68,dport=67)/BOOTP(chaddr=mac2str(mac),xid=77)/` +
              `DHCP(options=[("message-type","${kind}"),"end"])\n` +
              `r=srp1(p,iface=dev,timeout=2)\n` +
              `o=dict(x[:2] for x in r[DHCP].options if isinstance(x,tuple)) if r else {}\n` +
              `print(r[BOOTP].yiaddr, r[BOOTP].xid, o.get("message-type"), o.get("server_id"), ` +
              `o.get("subnet_mask"), o.get("lease_time")) if r else print("nothing")`,
          );
        const offer = "10.88.0.100 77 2 10.88.0.1 255.255.255.0 3600";
        await until("an offer", async () => (await answer("discover")) === offer);
        assert.equal(await answer("request"), offer.replace(" 77 2 ", " 77 5 "));
      },
    )
  ),
);

Deno.test(
  "example: dns_server.ts answers for the names that it is given, and says that others are not",
  skippable(() =>
    withResponder(
      "dns_server.ts",
      89,
      ({ device }) => ["10.89.0.53", device, "www.lab=10.89.0.80"],
      async (host) => {
        const answer = (name: string) =>
          ask(
            host,
            `p=Ether(src=mac,dst="02:00:00:00:00:53")/IP(src="${host.ipv4}",dst="10.89.0.53")/` +
              `UDP(sport=5353,dport=53)/DNS(id=9,qd=DNSQR(qname="${name}"))\n` +
              `r=srp1(p,iface=dev,timeout=2)\n` +
              `print(r[DNS].id, r[DNS].rcode, r[DNS].an.rdata if r[DNS].ancount else "") ` +
              `if r else print("nothing")`,
          );
        await until("an answer", async () =>
          (await answer("www.lab")) === "9 0 10.89.0.80");
        assert.equal(await answer("mail.lab"), "9 3");
      },
    )
  ),
);
