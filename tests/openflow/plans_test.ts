// SPDX-License-Identifier: Apache-2.0
/**
 * Matches that are read by the plan of others like them, as if each were the first of its kind; and
 * prefixes that are counted, as a trie has them.
 */
import { deepStrictEqual, ok, strictEqual } from "node:assert/strict";
import { words } from "../../policy/packet/leaf.ts";
import { Trie } from "../../policy/state/trie.ts";
import { Prefixes } from "../../openflow/table/prefixes.ts";
import { parseFlow } from "../../openflow/text/flow.ts";
import { resolveInstructions } from "../../openflow/wire/actions/resolve.ts";
import { Reader } from "../../openflow/wire/bytes.ts";
import { decodeMessage, encodeMessage } from "../../openflow/wire/codec.ts";
import { OfError } from "../../openflow/wire/error.ts";
import { anyMatch } from "../../openflow/wire/flow.ts";
import { readMatch } from "../../openflow/wire/flow_message.ts";
import { normalizeMatch } from "../../openflow/wire/match.ts";
import type { FlowMod } from "../../openflow/wire/message.ts";
import { readPlanned } from "../../openflow/wire/packed/match_plan.ts";
import { type PackedMatch, packMatch } from "../../openflow/wire/packed/packed_match.ts";
import { figure } from "../support/figure.ts";
import { type Random, random } from "../support/random.ts";
import { flowTexts } from "./flow_texts.ts";

/** Of a flow mod of OpenFlow 1.5, where its match begins. */
const MATCH = 8 + 40;

const matches = [
  ...flowTexts.map(([, text]) => text.replace(/,? ?actions=.*$/, "")),
  "in_port=7,dl_vlan=5,ip,nw_src=10.0.0.0/24,nw_dst=10.1.0.1",
  "dl_vlan=5,dl_vlan_pcp=2,udp,tp_src=5,tp_dst=0x50/0xff0",
  "vlan_tci=0x1005/0x1fff,dl_src=02:00:00:00:00:00/ff:ff:00:00:00:00",
  "tcp6,ipv6_src=2001:db8::/33,ipv6_dst=2001:db8::1,tp_dst=80",
  "metadata=0x5,reg1=0x7,reg2=0x1/0x3,xreg2=0x123456789abcdef0,tun_id=0x5/0xff",
  "xxreg1=0x5,pkt_mark=0x7,conj_id=9",
  "ct_state=+trk+est,ct_mark=0x5,ct_label=0x7/0xff,ct_zone=5,ip,ct_nw_src=10.0.0.1," +
  "ct_tp_dst=80,ct_nw_proto=6",
  "icmp6,icmp_type=135,nd_target=fe80::1,nd_sll=02:00:00:00:00:01",
  "icmp6,icmp_type=134",
];

interface Outcome {
  readonly at?: number;
  readonly code?: string;
  readonly mask?: string;
  readonly value?: string;
}

function outcome(reader: Reader, read: (reader: Reader) => PackedMatch): Outcome {
  try {
    const made = read(reader);
    const text = (of: Uint32Array): string => of.join(" ");
    return { at: reader.at, mask: text(made.mask), value: text(made.value) };
  } catch (error) {
    if (error instanceof OfError) return { code: error.code };
    throw error;
  }
}

const slowly = (reader: Reader): PackedMatch => {
  const made = readMatch(reader, anyMatch());
  normalizeMatch(made);
  return packMatch(made);
};

/** Other bytes of the same length, mostly where values are. */
function changed(bytes: Uint8Array, next: Random): Uint8Array {
  const made = bytes.slice();
  for (let left = next(4); left > 0; left--) {
    const at = MATCH + next(made.length - MATCH);
    made[at] = next(2) === 0 ? next(256) : (made[at] as number) ^ 1 << next(8);
  }
  return made;
}

Deno.test("openflow plans: a match is read by a plan as it is read without one", () => {
  const next = random(5);
  let [planned, refused] = [0, 0];
  const all = matches.map((text) =>
    encodeMessage(parseFlow(`${text}${text === "" ? "" : ","}actions=drop`), {
      version: 6,
    })
  );
  for (let round = 0; round < 40_000; round++) {
    const bytes = changed(all[next(all.length)] as Uint8Array, next);
    let isPlanned = true;
    const ours = outcome(
      new Reader(bytes, { at: MATCH }),
      (reader) =>
        readPlanned(reader, () => {
          isPlanned = false;
          return slowly(reader);
        }),
    );
    deepStrictEqual(ours, outcome(new Reader(bytes, { at: MATCH }), slowly));
    if (isPlanned) planned++;
    if (ours.code !== undefined) refused++;
  }
  ok(planned > 6000 && refused > 3000, `${planned} planned, ${refused} refused`);
  figure(`${planned} matches of 40,000 were read by a plan, ${refused} refused`);
});

Deno.test("openflow plans: instructions are checked by likeness as they are by themselves", () => {
  const next = random(7);
  const wanted = [
    "tcp,actions=set_field:80->tcp_dst,output:1",
    "udp,actions=set_field:80->udp_dst,output:1",
    "ip,actions=dec_ttl,output:1",
    "dl_vlan=5,actions=set_field:3->vlan_pcp,output:2",
    "dl_vlan=5,actions=pop_vlan,output:2",
    "tcp,actions=ct(commit,zone=5)",
    "ct_state=+trk+est,ip,actions=resubmit(,5,ct)",
    "icmp6,icmp_type=135,icmp_code=0,actions=set_field:fe80::1->nd_target,output:1",
    "actions=goto_table:3",
    "actions=learn(table=1,NXM_OF_ETH_DST[]=NXM_OF_ETH_SRC[],output:NXM_OF_IN_PORT[])",
    "mpls,actions=set_mpls_label:5,output:1",
    "actions=output:1",
  ].map((flow) =>
    (decodeMessage(encodeMessage(parseFlow(flow), { version: 6 })).message as FlowMod)
      .instructions
  );
  const all = matches.map((text) =>
    encodeMessage(parseFlow(`${text}${text === "" ? "" : ","}actions=drop`), {
      version: 6,
    })
  );
  let [alike, refused] = [0, 0];
  for (let round = 0; round < 20_000; round++) {
    const bytes = changed(all[next(all.length)] as Uint8Array, next);
    let mod: FlowMod;
    try {
      mod = decodeMessage(bytes).message as FlowMod;
    } catch {
      continue;
    }
    if (mod.kind !== "flowMod" || mod.match === undefined) continue;
    const what = wanted[next(wanted.length)] as FlowMod["instructions"];
    const options = { strict: next(4) > 0, table: next(2) * 4 - 1 };
    const ask = (match: FlowMod["match"]): unknown => {
      try {
        return resolveInstructions(what, match, options);
      } catch (error) {
        if (error instanceof OfError) return error.code;
        throw error;
      }
    };
    if ((mod.match as PackedMatch).likeness !== undefined) alike++;
    const { value, mask } = mod.match;
    const own = ask({ value, mask });
    if (typeof own === "string") refused++;
    deepStrictEqual(ask(mod.match), own);
  }
  ok(alike > 2500 && refused > 2500, `${alike} alike, ${refused} refused`);
});

Deno.test("openflow plans: prefixes come and go as in a trie of values", () => {
  const next = random(9);
  for (const width of [6, 12, 32]) {
    const [prefixes, trie] = [new Prefixes(), new Trie<number>(32)];
    const word = (): number => {
      const value = width === 32 ? next(2 ** 31) * 2 + next(2) : next(2 ** width);
      return value << 32 - width >>> 0;
    };
    const bits = words();
    const added: [number, number][] = [];
    for (let step = 0; step < 30_000; step++) {
      if (next(100) < (step % 6000 < 3000 ? 60 : 30)) {
        // Bits behind the prefix are any.
        const [value, length] = [word(), next(width + 1)];
        bits[0] = value;
        trie.set(bits, length, (trie.get(bits, length) ?? 0) + 1);
        prefixes.add(value, length);
        added.push([value, length]);
      } else if (added.length > 0) {
        const at = next(added.length);
        const [value, length] = added[at] as [number, number];
        added.splice(at, 1);
        bits[0] = value;
        const left = (trie.get(bits, length) ?? 0) - 1;
        if (left === 0) trie.delete(bits, length);
        else trie.set(bits, length, left);
        prefixes.delete(value, length);
      }
      const asked = word();
      bits[0] = asked;
      const [to, ours] = [new Uint32Array(5), new Uint32Array(2)];
      strictEqual(prefixes.lengths(asked, ours), trie.lengths(bits, to));
      deepStrictEqual([...ours], [to[0], to[1]]);
      strictEqual(prefixes.proof(asked), trie.find(bits).proof);
      strictEqual(prefixes.nodes, trie.nodes);
    }
  }
});
