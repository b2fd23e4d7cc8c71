// SPDX-License-Identifier: Apache-2.0
/** TCP that goes through tunnels on a veth pair in large UDP packets arrives as it was sent. */
import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { run } from "../../support/command.ts";
import { NetdevBench } from "../../support/netdev.ts";
import { random, randomBytes } from "../../support/random.ts";
import { needProgram, needRoot, skippable } from "../../support/skip.ts";
import { inside, kinds, specOf } from "./kinds.ts";
import { at, captured, makeWire, reach, startSide, type Wire } from "./lab.ts";
import { lines } from "./lines.ts";

const size = 8 << 20;
const port = 7777;

/** Prints when it listens, and the hash of all that one client sends. */
const receiver = `
import hashlib, socket, sys
server = socket.create_server(("", ${port}))
print("listening", flush=True)
client, _ = server.accept()
digest = hashlib.sha256()
while True:
    part = client.recv(1 << 20)
    if not part: break
    digest.update(part)
print(digest.hexdigest(), flush=True)
`;

/** Sends a file by TCP to the other end; gives the hash of what arrives. */
async function send({ ends }: Wire, address: string, path: string): Promise<string> {
  const child = new Deno.Command("ip", {
    args: at(ends[1], "python3", "-c", receiver).slice(1),
    stdout: "piped",
  }).spawn();
  const said = lines(child.stdout);
  try {
    assert.equal((await said.next()).value, "listening");
    const line = `cat ${path} > /dev/tcp/${address}/${port}`;
    await run(...at(ends[0], "timeout", "60", "bash", "-c", line));
    return `${(await said.next()).value}`;
  } finally {
    try {
      child.kill("SIGKILL");
    } catch {
      // It has had its client.
    }
    for await (const _ of said) { /* What is left. */ }
    await child.status;
  }
}

function isLinux(wantedMajor: number, wantedMinor: number): boolean {
  const [major = 0, minor = 0] = Deno.osRelease().split(".").map(Number);
  return major > wantedMajor || (major === wantedMajor && minor >= wantedMinor);
}

for (const [name, version] of [["vxlan", 4], ["geneve", 6], ["bareudp", 4]] as const) {
  Deno.test(
    `tunnels: TCP in large UDP packets arrives as it was sent: ${name} over IPv${version}`,
    skippable(async () => {
      needRoot("netdev");
      for (const program of ["tshark", "tcpdump", "python3"]) {
        needProgram(program, { requirement: "peer" });
      }
      await (await NetdevBench.open())[Symbol.asyncDispose](); // Compiles, or skips.
      await using wire = await makeWire("tbu");
      const kind = kinds.find((each) => each.name === name);
      assert.ok(kind);
      const spec = (which: 1 | 2) => ({
        name: "ov0",
        tunnels: [specOf(kind, which, wire.ends, version)],
      });
      await using _one = await startSide(wire.ends[0], spec(1));
      await using two = await startSide(wire.ends[1], spec(2));
      const { ipv4 } = inside(kind, 2);
      await reach(wire.ends[0], ipv4);
      const bytes = randomBytes(random(15), size);
      const path = await Deno.makeTempFile({ prefix: "tunnels-" });
      try {
        await Deno.writeFile(path, bytes);
        await captured(wire.ends[0], async () => {
          const sent = createHash("sha256").update(bytes).digest("hex");
          assert.equal(await send(wire, ipv4, path), sent);
        }, async (capture) => {
          const words = ["tshark", "-n", "-r", capture, "-Y", "frame.len > 1600"];
          const large = (await run(...words)).split("\n").filter((line) => line !== "");
          // Linux 6.2 knows UDP packets that hold many.
          assert.equal(large.length > 0, isLinux(6, 2), `${large.length} large packets`);
          // Without an outer checksum Linux cuts the packet inside, which is one until then.
          if (name !== "vxlan" || !isLinux(6, 6)) return;
          const whole = ["tshark", "-n", "-r", capture, "-Y", "tcp.len > 1600"];
          assert.notEqual(await run(...whole), "", "no large TCP packets");
        });
      } finally {
        await Deno.remove(path);
      }
      // Each was made one packet again, and none was refused.
      assert.doesNotMatch(await two.control("coverage/show"), /drop_tunnel_?\S*\s+[1-9]/);
    }),
  );
}
