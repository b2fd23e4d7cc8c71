// SPDX-License-Identifier: Apache-2.0
/** The lab that programs are tested in, and captures of what they see. */
import assert from "node:assert/strict";
import {
  arp,
  build,
  change,
  ethernet,
  ipv4,
  payload,
  replyTo,
  udp,
} from "../../frames/mod.ts";
import { PcapngWriter } from "../../frames/pcapng.ts";
import { DatapathError, output } from "../../mod.ts";
import {
  assertFrames,
  frameDifference,
  FramesError,
  openLab,
  until,
} from "../../testing/mod.ts";
import { run } from "../support/command.ts";
import { needProgram, skippable, Unsupported } from "../support/skip.ts";

const frame = build([
  ethernet({ src: "02:00:00:00:00:01", dst: "02:00:00:00:00:02" }),
  ipv4({ src: "10.0.0.1", dst: "10.0.0.2" }),
  udp({ src: 1000, dst: 2000 }),
  payload("hello"),
]);

async function lab(...ports: string[]) {
  try {
    return await openLab({ ports });
  } catch (error) {
    if (error instanceof DatapathError && error.code === "ENOENT") {
      throw new Unsupported(`datapath library: ${error.message}`, {
        requirement: "netdev",
      });
    }
    throw error;
  }
}

Deno.test(
  "lab: frames go in and come out, and what a program does with upcalls is waited for",
  skippable(async () => {
    await using bench = await lab("left", "right");
    const { dp } = bench;
    dp.flows.put({ key: { inPort: 1, etherType: 0x0800 }, actions: "2" });
    await bench.inject("left", frame, frame);
    assert.equal((await bench.collect("right")).length, 2);
    await bench.inject(1, frame);
    await bench.expect("right", frame);
    await bench.expect("left");

    const stream = dp.upcalls();
    const program = (async () => {
      for await (const { packet } of stream) {
        await new Promise((resolve) => setTimeout(resolve, 20));
        const answer = replyTo(packet, { mac: "02:00:00:00:00:99" });
        dp.execute({ packet: answer, key: { inPort: 1 }, actions: [output(1)] });
      }
    })();
    const question = build([
      ethernet({ dst: "ff:ff:ff:ff:ff:ff" }),
      arp({ tip: "10.0.0.9" }),
    ]);
    await bench.inject("left", question);
    await bench.expect("left", replyTo(question, { mac: "02:00:00:00:00:99" }));
    await bench.inject("left", question);
    assert.equal((await bench.collect("left", 1)).length, 1);
    await stream.close();
    await program;
    assert.throws(() => bench.port("middle"), /no port "middle": it has left, right/);
  }),
);

Deno.test(
  "lab: frames that are wrong, missing or too many are told apart",
  skippable(async () => {
    await using bench = await lab("left", "right");
    bench.dp.flows.put({
      key: { inPort: 1, etherType: 0x0800 },
      actions: "set(ipv4(ttl=3)),2",
    });
    await bench.inject("left", frame);
    await assert.rejects(bench.expect("right", frame), (error: unknown) => {
      assert.ok(error instanceof FramesError);
      assert.match(error.message, /port right: 1 of 1 is another/);
      assert.match(error.message, /ipv4.ttl: 3, wanted 64/);
      assert.equal(error.found.length, 1);
      return true;
    });
  }),
);

Deno.test("frames that differ are shown field by field and byte by byte", () => {
  assert.equal(frameDifference(frame, frame), undefined);
  const other = change(frame, { ipv4: { dst: "10.0.0.3" } });
  assert.equal(
    frameDifference(other, frame),
    [
      "  found:  02:00:00:00:00:01 > 02:00:00:00:00:02, IPv4 10.0.0.1 > 10.0.0.3, " +
      "UDP 1000 > 2000, 5 bytes",
      "  wanted: 02:00:00:00:00:01 > 02:00:00:00:00:02, IPv4 10.0.0.1 > 10.0.0.2, " +
      "UDP 1000 > 2000, 5 bytes",
      "  ipv4.dst: 10.0.0.3, wanted 10.0.0.2",
      "  0010   00 21 00 00 00 00 40 11 66 c9 0a 00 00 01 0a 00",
      "  wanted 00 21 00 00 00 00 40 11 66 ca 0a 00 00 01 0a 00",
      "                                    ^^",
      "  0020   00 03 03 e8 07 d0 00 0d 9c 46 68 65 6c 6c 6f",
      "  wanted 00 02 03 e8 07 d0 00 0d 9c 47 68 65 6c 6c 6f",
      "            ^^                      ^^",
    ].join("\n"),
  );
  const wrong = frame.slice();
  wrong[24] = 0;
  assert.match(frameDifference(wrong, frame) ?? "", /ipv4.checksum: \d+, wanted right/);
  assert.throws(() => assertFrames([], [frame]), /frames: 1 of 1 did not come/);
  assert.throws(() => assertFrames([frame, frame], [frame]), /2 of 2 was not wanted/);
  assertFrames([frame], [frame.slice()]);
});

Deno.test("until() gives what it finds, and says what it waited for", async () => {
  let looks = 0;
  assert.equal(await until("three", () => ++looks === 3 && "three"), "three");
  await assert.rejects(
    until("nothing", () => false, { limitMs: 10, state: () => "none of 2" }),
    /waited 10 ms for nothing: none of 2/,
  );
});

Deno.test(
  "pcapng: tshark reads what a program writes, ports and comments included",
  skippable(async () => {
    needProgram("tshark", { requirement: "peer" });
    const file = await Deno.makeTempFile({ suffix: ".pcapng" });
    try {
      using sink = await Deno.open(file, { write: true });
      const capture = new PcapngWriter((block) => sink.writeSync(block), {
        application: "test",
      });
      capture.packet({
        port: "left",
        bytes: frame,
        time: 1_500_000_000n,
        comment: "first",
      });
      capture.packet({ port: "right", bytes: frame.subarray(0, 20), originalLength: 99 });
      capture.packet({ port: "left", bytes: frame });
      const fields = [
        "frame.interface_name",
        "frame.comment",
        "frame.len",
        "frame.time_epoch",
      ];
      const words = fields.flatMap((field) => ["-e", field]);
      const output = await run("tshark", "-r", file, "-T", "fields", ...words);
      const lines = output.trimEnd().split("\n").map((line) => line.split("\t"));
      assert.deepEqual(lines.map(([port, comment, size]) => [port, comment, size]), [
        ["left", "first", `${frame.length}`],
        ["right", "", "99"],
        ["left", "", `${frame.length}`],
      ]);
      assert.equal(lines[0]?.[3], "1.500000000");
      assert.ok(Math.abs(Number(lines[2]?.[3]) - Date.now() / 1000) < 60);
    } finally {
      await Deno.remove(file);
    }
  }),
);
