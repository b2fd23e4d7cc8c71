// SPDX-License-Identifier: Apache-2.0
/** Messages of ovs-ofctl in every version: read, written again, cut, and damaged. */
import { deepStrictEqual, match, ok, strictEqual, throws } from "node:assert/strict";
import { decodeMessage, encodeMessage } from "../../openflow/wire/codec.ts";
import { OfError, type Version } from "../../openflow/wire/error.ts";
import type { FlowMod, Message } from "../../openflow/wire/message.ts";
import { formatFlow, parseFlow } from "../../openflow/text/flow.ts";
import { figure } from "../support/figure.ts";
import { random } from "../support/random.ts";
import { skippable } from "../support/skip.ts";
import { flowTexts } from "./flow_texts.ts";
import { hexOf, ofctl, ofctlPath, Recorder } from "./recorder.ts";

const versions: readonly Version[] = [1, 2, 3, 4, 5, 6];

function textsOf(version: Version): string[] {
  return flowTexts.filter(([since]) => since <= version).map(([, text]) => text);
}

/** Flows that ovs-ofctl cannot say in a version, and why. */
const unsaid = new Set<string>();

/** What ovs-ofctl sends for each flow; undefined where it cannot say the flow. */
async function recorded(version: Version): Promise<Map<string, Uint8Array>> {
  await using recorder = new Recorder(version);
  const found = new Map<string, Uint8Array>();
  for (const text of textsOf(version)) {
    const before = recorder.messages.length;
    const { code, stderr } = await ofctl([
      "-O",
      `OpenFlow1${version - 1}`,
      "add-flow",
      recorder.target,
      text,
    ]);
    if (code !== 0) {
      unsaid.add(`${version} ${text}: ${stderr}`);
      continue;
    }
    const mods = recorder.messages.slice(before).filter((bytes) => {
      const { message } = decodeMessage(bytes);
      return message.kind === "flowMod";
    });
    strictEqual(mods.length, 1, text);
    found.set(text, mods[0] as Uint8Array);
  }
  deepStrictEqual(recorder.faults, []);
  return found;
}

/** What ovs-ofctl prints of a flow mod, without what comes before the flow. */
function flowOf(printed: string): string {
  const line = printed.split("\n")[0] ?? "";
  return line.replace(/^OFPT_FLOW_MOD[^:]*:|^NXT_FLOW_MOD[^:]*:/, "").trim();
}

const mutable = new Map<Version, Map<string, Uint8Array>>();

async function messagesOf(version: Version): Promise<Map<string, Uint8Array>> {
  let known = mutable.get(version);
  if (known === undefined) mutable.set(version, known = await recorded(version));
  return known;
}

for (const version of versions) {
  const name = `OpenFlow 1.${version - 1}`;
  Deno.test(
    `openflow wire: flow mods of ovs-ofctl are written as they were read, ${name}`,
    skippable(async () => {
      ofctlPath();
      const wrong: string[] = [];
      const messages = await messagesOf(version);
      for (const [text, bytes] of messages) {
        const { message, xid } = decodeMessage(bytes);
        // Nicira's flow mods are read, but a switch does not send them.
        if (bytes[1] === 4) continue;
        const again = encodeMessage(message, { version, xid });
        if (hexOf(again) !== hexOf(bytes)) {
          wrong.push(`${text}\n  ${hexOf(bytes)}\n  ${hexOf(again)}`);
        }
      }
      figure(`${name}: ${messages.size} of ${textsOf(version).length} flows can be said`);
      ok(messages.size > 20, [...unsaid].join("\n"));
      deepStrictEqual(wrong, []);
    }),
  );

  Deno.test(
    `openflow text: flows are written as ovs-ofctl prints them, ${name}`,
    skippable(async () => {
      ofctlPath();
      const wrong: string[] = [];
      for (const [text, bytes] of await messagesOf(version)) {
        const { message } = decodeMessage(bytes);
        const { stdout } = await ofctl(["ofp-print", hexOf(bytes)]);
        const { match, priority, instructions, table } = message as FlowMod;
        const ours = formatFlow({ match, priority, instructions, table: 0 });
        const theirs = normalized(flowOf(stdout), table);
        if (ours.replace(", ", ",") !== theirs.replace(", ", ",")) {
          wrong.push(`${text}\n  theirs ${theirs}\n  ours   ${ours}`);
        }
      }
      deepStrictEqual(wrong, []);
    }),
  );

  Deno.test(
    `openflow text: flows are read as ovs-ofctl reads them, ${name}`,
    skippable(async () => {
      ofctlPath();
      const wrong: string[] = [];
      for (const [text, bytes] of await messagesOf(version)) {
        const theirs = decodeMessage(bytes).message as FlowMod;
        const ours = parseFlow(text);
        const shown = (mod: FlowMod): string =>
          formatFlow({ ...mod, table: 0, newCookie: undefined });
        // In old versions some actions arrive by another name: they are said anew, too.
        const again = decodeMessage(
          encodeMessage({ ...ours, flags: theirs.flags }, { version }),
        ).message as FlowMod;
        const exact = bytes[1] === 4 ? { ...ours, flags: theirs.flags } : again;
        if (shown(exact) !== shown(theirs)) {
          wrong.push(`${text}\n  theirs ${shown(theirs)}\n  ours   ${shown(exact)}`);
        }
      }
      deepStrictEqual(wrong, []);
    }),
  );
}

/** Of what ovs-ofctl prints only the flow. */
function normalized(text: string, table: number): string {
  return text.replace(/^(ADD|MOD|DEL)\S*\s*/, "").replace(`table:${table} `, "")
    .replace(/^table:\d+ /, "").replace(/(idle|hard):\d+ /g, "")
    .replace(/importance:\d+ /, "").replace(/cookie:0x[0-9a-f]+ /, "")
    .replace(
      /(send_flow_rem|check_overlap|reset_counts|no_packet_counts|no_byte_counts) /g,
      "",
    );
}

/** A message with another length. */
function cut(bytes: Uint8Array, length: number): Uint8Array {
  const part = bytes.slice(0, length);
  if (length >= 4) new DataView(part.buffer).setUint16(2, length);
  return part;
}

/** Reads what may be malformed; anything but an error of OpenFlow is a fault. */
function survives(bytes: Uint8Array): boolean {
  try {
    decodeMessage(bytes);
    return true;
  } catch (error) {
    if (error instanceof OfError) return false;
    throw new Error(`${hexOf(bytes)} throws ${error}`, { cause: error });
  }
}

Deno.test(
  "openflow wire: messages cut at each byte and damaged give errors of OpenFlow only",
  skippable(async () => {
    ofctlPath();
    const next = random(1);
    let [cuts, damaged] = [0, 0];
    for (const version of versions) {
      for (const bytes of [...(await messagesOf(version)).values(), ...others(version)]) {
        for (let length = 0; length < bytes.length; length++) {
          survives(cut(bytes, length));
          survives(bytes.slice(0, length));
          cuts++;
        }
        for (let i = 0; i < 50; i++) {
          const changed = bytes.slice();
          for (let k = 0; k <= next(3); k++) {
            changed[4 + next(changed.length - 4)] = next(256);
          }
          survives(changed);
          damaged++;
        }
      }
    }
    figure(`${cuts} cuts, ${damaged} damaged messages`);
  }),
);

/** Messages that are not flow mods. */
function others(version: Version): Uint8Array[] {
  const messages: Message[] = [
    { kind: "hello", versions: 0x7e },
    { kind: "setConfig", flags: 0, missLength: 128 },
    { kind: "echoRequest", data: new Uint8Array(9) },
    { kind: "roleRequest", role: "primary", generation: 5n },
    {
      kind: "groupMod",
      command: "add",
      type: "select",
      group: 3,
      place: 0xffffffff,
      selection: { method: "hash", parameter: 0n, fields: undefined },
      buckets: [1, 2].map((id) => ({
        id,
        weight: 1,
        watchPort: 0xffffffff,
        watchGroup: 0xffffffff,
        actions: [{ type: "output", port: id, maxLength: 0 }],
      })),
    },
  ];
  if (version >= 4) {
    messages.push({
      kind: "meterMod",
      command: "add",
      flags: 1,
      meter: 5,
      bands: [{ type: 1, rate: 1000, burst: 10 }],
    });
    messages.push({ kind: "bundleControl", bundle: 1, step: "openRequest", flags: 3 });
  }
  return messages.map((message) => encodeMessage(message, { version, xid: 7 }));
}

Deno.test("openflow text: words that every object knows are none of a flow", () => {
  for (const text of ["constructor,actions=2", "ip,nw_frag=constructor,actions=2"]) {
    throws(() => parseFlow(text), SyntaxError, text);
  }
  for (const text of ["actions=constructor(2)", "actions=valueOf,2"]) {
    throws(() => parseFlow(text), SyntaxError, text);
  }
});

Deno.test("openflow wire: types and codes of ICMP are loaded in the 8 bits that they have", () => {
  const mod = parseFlow("icmp,actions=set_field:3->icmp_type,set_field:13->icmp_code");
  const text = encodeMessage(mod, { version: 1, xid: 1 }).toHex();
  // Experimenter's action 7, offset 0 and 8 bits, the field, the value.
  match(text, /000023200007000700001a010000000000000003/);
  match(text, /000023200007000700001c01000000000000000d/);
});
