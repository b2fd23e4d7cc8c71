// SPDX-License-Identifier: Apache-2.0
/** Ports of a kernel that is played here. */
import { deepStrictEqual as deepEqual, rejects } from "node:assert/strict";
import {
  acknowledge,
  FakePeer,
  type Message,
  MessageWriter,
  NetlinkError,
  NetlinkFlag,
  s32,
  u16,
  u32,
} from "../netlink/mod.ts";
import { Kernel } from "./ovs.ts";
import { SystemPorts } from "./ports.ts";
import type { TunnelLinks } from "./tunnel_links.ts";
import type { SystemUpcalls } from "./upcalls.ts";

const [CMD_NEW, CMD_DEL] = [1, 2];
const NUMBER = 5;

function bodyOf(write: (writer: MessageWriter) => void): Uint8Array {
  const writer = new MessageWriter();
  write(writer);
  return writer.bytes.slice();
}

Deno.test("a port that cannot be had whole is not left behind", async () => {
  const commands: number[] = [];
  let deletes = true;
  const family = bodyOf((writer) => {
    writer.put(u32, 0x201);
    writer.attributeText(2, "ovs_vport");
    writer.attribute(1, u16, 31);
    writer.attribute(4, u32, 4);
  });
  const vport = bodyOf((writer) => {
    writer.put(u32, 0x101);
    writer.put(s32, 8);
    writer.attribute(1, u32, NUMBER);
    writer.attribute(2, u32, 1);
    writer.attributeText(3, "eth1");
  });
  const answer = (request: Message) => {
    if (request.type === 16) return [{ type: 16, body: family }, acknowledge(request)];
    const command = request.body[0] ?? 0;
    commands.push(command);
    if (command === CMD_DEL && !deletes) return [acknowledge(request, 19)]; // ENODEV
    const echoed = (request.flags & NetlinkFlag.echo) !== 0;
    return [
      ...echoed ? [{ type: request.type, body: vport }] : [],
      acknowledge(request),
    ];
  };
  const kernel = new Kernel(() => new FakePeer((requests) => requests.map(answer)));
  // Another program has taken the upcalls meanwhile.
  const upcalls: Pick<SystemUpcalls, "portPids" | "direct"> = {
    portPids: () => [1],
    direct: () => {
      throw new NetlinkError({ code: "EBUSY", detail: "taken" });
    },
  };
  const ports = new SystemPorts(kernel, 8, "system@dp", {
    upcalls: upcalls as SystemUpcalls,
    links: {} as TunnelLinks,
  });
  for (const type of ["system", "internal"]) {
    for (deletes of [true, false]) {
      commands.length = 0;
      await rejects(ports.add({ name: "eth1", type }), { code: "EBUSY" });
      deepEqual(commands, [CMD_NEW, CMD_DEL]);
    }
  }
  await ports.close();
  kernel.close();
});
