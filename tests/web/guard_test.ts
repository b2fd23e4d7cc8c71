// SPDX-License-Identifier: Apache-2.0
/**
 * Who the dashboard answers: this machine's programs and its own page, and others with the token.
 */
import assert from "node:assert/strict";
import { serveDashboard } from "../../control/web/dashboard.ts";
import { Guard } from "../../control/web/guard.ts";
import { Flows } from "../../providers/datapath_flows.ts";
import { DatapathError } from "../../providers/errors.ts";
import type { Datapath } from "../../providers/datapath.ts";
import { ufid } from "../../providers/ids.ts";
import { openNetdev } from "../support/netdev.ts";
import { skippable } from "../support/skip.ts";
import { until } from "../support/wait.ts";

interface Reply {
  readonly status: number;
  readonly head: string;
  readonly body: string;
}

/** Sends a request by hand: `fetch` lets nobody say another `Host`. */
async function send(url: string, line: string, ...headers: string[]): Promise<Reply> {
  const { hostname, port } = new URL(url);
  using conn = await Deno.connect({ hostname, port: Number(port) });
  const lines = [`${line} HTTP/1.1`, ...headers, "Connection: close", "", ""];
  await conn.write(new TextEncoder().encode(lines.join("\r\n")));
  const text = await new Response(conn.readable).text();
  const at = text.indexOf("\r\n\r\n");
  return {
    status: Number(/^HTTP\/1\.1 (\d+)/.exec(text)?.[1]),
    head: text.slice(0, at).toLowerCase(),
    body: text.slice(at + 4),
  };
}

async function withDatapath(test: (dp: Datapath) => Promise<void>): Promise<void> {
  await using dp = await openNetdev(`web${crypto.randomUUID().slice(0, 8)}`);
  await test(dp);
}

Deno.test(
  "at a loopback address only this machine's names and its own page are answered",
  skippable(() =>
    withDatapath(async (dp) => {
      await using dashboard = serveDashboard(dp, { port: 0 });
      const { host, port } = new URL(dashboard.url);
      assert.equal(dashboard.url, `http://127.0.0.1:${port}/`);
      const ours = `Host: ${host}`;
      const cases:
        readonly (readonly [status: number, line: string, ...headers: string[]])[] = [
          [200, "GET /", ours],
          [200, "GET /", `Host: localhost:${port}`],
          [200, "GET /api/status", "Host: localhost:9999"], // Through a tunnel of ssh.
          [200, "GET /api/status", "Host: 127.0.0.1"],
          [421, "GET /", `Host: evil.example:${port}`], // Rebinding.
          [421, "GET /api/status", "Host: 127.0.0.1.evil.example"],
          [421, "GET /api/status", "Host: 192.0.2.1"],
          [421, "GET /api/status", "Host: localhost@evil.example"],
          [421, "GET /api/status", "Host: localhost."],
          [403, "GET /api/status", ours, "Origin: http://evil.example"],
          [403, "GET /api/status", ours, "Origin: null"],
          [403, "GET /api/status", ours, "Origin: http://127.0.0.1:1"],
          [200, "GET /api/status", ours, `Origin: http://${host}`],
          [403, "GET /api/status", ours, "Sec-Fetch-Site: cross-site"],
          [403, "GET /api/status", ours, "Sec-Fetch-Site: same-site"],
          [403, "GET /", ours, "Sec-Fetch-Site: cross-site", "Sec-Fetch-Mode: no-cors"],
          [
            200,
            "GET /",
            ours,
            "Sec-Fetch-Site: cross-site",
            "Sec-Fetch-Mode: navigate",
            "Sec-Fetch-Dest: document",
          ],
          [
            403,
            "GET /",
            ours,
            "Sec-Fetch-Site: cross-site",
            "Sec-Fetch-Mode: navigate",
            "Sec-Fetch-Dest: iframe",
          ],
          [405, "POST /api/flows", ours, "Content-Length: 0"],
          [405, "DELETE /", ours],
          [405, "GET /api/capture", ours],
          [
            403,
            "POST /api/capture?id=x",
            ours,
            "Origin: http://a.b",
            "Content-Length: 0",
          ],
          [405, "HEAD /api/events", ours],
          [404, "GET /nothing", ours],
          [404, "GET /page/main.js", ours],
          [404, "GET /../dashboard.ts", ours],
          [400, "GET /api/flows?limit=0", ours],
          [400, "GET /api/flows?limit=100000", ours],
          [400, "GET /api/flows?offset=-1", ours],
          [200, "GET /api/flows?offset=50000", ours],
          [400, "GET /api/flows?offset=50001", ours],
          [400, "GET /api/flows?sort=nonsense", ours],
          [400, "GET /api/flow?id=nonsense", ours],
          [404, "GET /api/flow?id=00000000-0000-0000-0000-000000000000", ours],
          [400, "POST /api/capture?id=x", ours, "Content-Length: 0"],
        ];
      for (const [status, line, ...headers] of cases) {
        const reply = await send(dashboard.url, line, ...headers);
        assert.equal(
          reply.status,
          status,
          `${line} ${headers}: ${reply.head} ${reply.body}`,
        );
        assert.match(reply.head, /content-security-policy: default-src 'none'/);
        assert.match(reply.head, /x-content-type-options: nosniff/);
        assert.match(reply.head, /cache-control: no-store/);
        assert.doesNotMatch(reply.head, /access-control-allow/);
      }
      assert.equal(dashboard.clients.now, 0, "no request has left a page behind");
    })
  ),
);

Deno.test("an address that others reach needs a token, and a token a length", () => {
  for (
    const hostname of ["0.0.0.0", "::", "192.0.2.1", "localhost.example", "127.1.evil"]
  ) {
    assert.throws(
      () => new Guard({ hostname }),
      /^TypeError: Cannot serve .* without a token/,
    );
  }
  for (const hostname of ["127.0.0.1", "127.9.9.9", "::1", "localhost"]) {
    new Guard({ hostname });
  }
  assert.throws(
    () => new Guard({ hostname: "::", token: "short" }),
    /token of 5 characters/,
  );
});

Deno.test(
  "with a token nothing is told without it, and a browser shows it once",
  skippable(() =>
    withDatapath(async (dp) => {
      assert.throws(
        () => serveDashboard(dp, { hostname: "0.0.0.0", port: 0 }),
        TypeError,
      );
      const token = "0123456789abcdefXYZ";
      await using dashboard = serveDashboard(dp, {
        hostname: "0.0.0.0",
        port: 0,
        token,
        hosts: ["lab.example"],
      });
      const { port } = new URL(dashboard.url);
      const url = `http://127.0.0.1:${port}/`;
      const ours = `Host: 127.0.0.1:${port}`;
      const status = async (line: string, ...headers: string[]): Promise<number> =>
        (await send(url, line, ...headers)).status;
      for (const path of ["/", "/main.js", "/api/status", "/api/events", "/api/flows"]) {
        assert.equal(await status(`GET ${path}`, ours), 401, path);
      }
      assert.equal(await status("POST /api/capture", ours, "Content-Length: 0"), 401);
      assert.equal(await status("GET /?token=wrong", ours), 401);
      assert.equal(await status(`GET /api/status?token=${token}`, ours), 401);
      assert.equal(await status("GET /", ours, "Authorization: Bearer wrong"), 401);
      const bearer = `Authorization: Bearer ${token}`;
      assert.equal(await status("GET /api/status", ours, bearer), 200);
      assert.equal(await status("GET /api/status", "Host: lab.example", bearer), 200);
      assert.equal(await status("GET /api/status", "Host: evil.example", bearer), 421);
      assert.equal(await status("GET /api/status", "Host: 192.0.2.1", bearer), 200);

      const shown = await send(url, `GET /?token=${token}`, ours);
      assert.equal(shown.status, 303);
      const [, cookie = "", rest = ""] = /set-cookie: ([^;]+);(.*)/.exec(shown.head) ??
        [];
      assert.match(rest, /max-age=86400; httponly; samesite=strict/);
      assert.ok(
        !shown.head.includes(token.toLowerCase()),
        "the token is not in the cookie",
      );
      assert.equal(await status("GET /api/status", ours, `Cookie: a=b; ${cookie}`), 200);
      assert.equal(await status("GET /api/status", ours, `Cookie: ${cookie}0`), 401);
      assert.equal(await status("GET /api/status", ours, `Cookie: upcall-${port}=`), 401);
    })
  ),
);

Deno.test(
  "a page that goes is forgotten, and closing the datapath ends the dashboard",
  skippable(() =>
    withDatapath(async (dp) => {
      const dashboard = serveDashboard(dp, { port: 0, intervalMs: 5 });
      const { hostname, port, host } = new URL(dashboard.url);
      const conn = await Deno.connect({ hostname, port: Number(port) });
      const request = `GET /api/events HTTP/1.1\r\nHost: ${host}\r\n\r\n`;
      await conn.write(new TextEncoder().encode(request));
      await until("the page to be counted", () => dashboard.clients.now === 1);
      conn.close();
      await until("the page to be forgotten", () => dashboard.clients.now === 0);

      const events = await fetch(`${dashboard.url}api/events`);
      const text = events.text();
      await until("the page to be counted", () => dashboard.clients.now === 1);
      await dp.close();
      assert.match(await text, /event: gone\n/);
      await assert.rejects(fetch(dashboard.url));
      await dashboard.close();
      assert.throws(() => serveDashboard(dp, { port: 0 }), /EBADF/);
    })
  ),
);

Deno.test(
  "a datapath that cannot be looked at is said so, and the program goes on",
  skippable(() =>
    withDatapath(async (dp) => {
      await using dashboard = serveDashboard(dp, { port: 0, intervalMs: 5 });
      const events = await fetch(`${dashboard.url}api/events`);
      const failWith = (error: Error): void =>
        void Object.defineProperty(dp, "stats", {
          configurable: true,
          value: () => {
            throw error;
          },
        });
      failWith(new RangeError("a defect of this program"));
      let text = "";
      for await (const part of events.body?.pipeThrough(new TextDecoderStream()) ?? []) {
        text += part;
        if (text.includes("a defect of this program")) break; // Or the stream goes on for ever.
      }
      assert.match(text, /event: trouble\ndata: \{"reason":"a defect of this program"\}/);
      failWith(new DatapathError({ operation: "count", code: "ENODEV" }));
      const refused = await fetch(`${dashboard.url}api/events`);
      assert.equal(refused.status, 503);
      assert.match(await refused.text(), /ENODEV/);
      Reflect.deleteProperty(dp, "stats");
      const status = await (await fetch(`${dashboard.url}api/status`)).json();
      assert.ok(status.failures >= 1, `${status.failures}`);
    })
  ),
);

Deno.test(
  "the capture of one flow does not walk over the others",
  skippable(() =>
    withDatapath(async (dp) => {
      await using dashboard = serveDashboard(dp, { port: 0 });
      dp.flows.put({ key: "in_port(1),eth(),eth_type(0x0800)", actions: "" });
      const [flow] = [...dp.flows.dump()];
      const id = flow?.ufid ?? "";
      const dump = Flows.prototype.dump;
      let walks = 0;
      Flows.prototype.dump = function (...options): ReturnType<typeof dump> {
        walks++;
        return dump.apply(this, options);
      };
      try {
        const url = `${dashboard.url}api/capture?id=${id}&seconds=1`;
        const response = await fetch(url, { method: "POST" });
        const body = response.bytes();
        await until(
          "the flow to be marked",
          () => (dp.flows.get({ ufid: ufid(id) }).actions ?? []).length > 0,
        );
        assert.ok((await body).length > 0);
      } finally {
        Flows.prototype.dump = dump;
      }
      assert.equal(walks, 2, "marks of dead captures, and at the end its own");
      assert.deepEqual(dp.flows.get({ ufid: ufid(id) }).actions, []);
    })
  ),
);
