// SPDX-License-Identifier: Apache-2.0
/** What actions may be said of packets of which a match tells something. */
import { strictEqual, throws } from "node:assert/strict";
import { parseInstructions } from "../../text/action_parse.ts";
import { parseMatch } from "../../text/match.ts";
import { OfError } from "../error.ts";
import { resolveInstructions } from "./resolve.ts";

/** The name of the error of OpenFlow; undefined for what is taken. */
function refusal(match: string, actions: string): string | undefined {
  try {
    resolveInstructions(parseInstructions(actions), parseMatch(match));
  } catch (error) {
    if (error instanceof OfError) return error.message.split(/[ :]/)[0];
    throw error;
  }
  return undefined;
}

Deno.test("actions know the tags of packets: at most two, and none is left after as many pops", () => {
  const push = "push_vlan:0x8100";
  const set = "set_field:3->vlan_pcp";
  for (
    const [match, actions, error] of [
      ["", `${push},${push}`, undefined],
      ["", `${push},${push},${push}`, "OFPBAC_BAD_TAG"],
      ["dl_vlan=5", `${push},${push}`, "OFPBAC_BAD_TAG"],
      ["dl_vlan=5", `${push},pop_vlan,${push}`, undefined],
      // The tag that the packet came with is there still.
      ["dl_vlan=5", `${push},pop_vlan,${set}`, undefined],
      ["dl_vlan=5", `pop_vlan,${set}`, "OFPBAC_MATCH_INCONSISTENT"],
      ["", `${push},pop_vlan,${set}`, "OFPBAC_MATCH_INCONSISTENT"],
      ["", set, "OFPBAC_MATCH_INCONSISTENT"],
      // Of the action set nobody knows what tables before and behind put on.
      ["ip", "write_actions(pop_vlan,output:2)", undefined],
      ["ip", "pop_vlan,output:2", "OFPBAC_MATCH_INCONSISTENT"],
    ] as const
  ) {
    strictEqual(refusal(match, actions), error, `${match} ${actions}`);
  }
  throws(() => parseInstructions("push_vlan:x"));
});

Deno.test("the tuple of a connection is there only where a match says that there is one", () => {
  const [move, out] = ["move:NXM_NX_CT_NW_SRC[]->NXM_NX_REG0[],output:2", "output:2"];
  for (
    // What Open vSwitch 3.1 answers.
    const [match, actions, error] of [
      ["ip,ct_nw_src=10.0.0.1", out, "OFPBMC_BAD_PREREQ"],
      ["ip,ct_state=+trk,ct_nw_src=10.0.0.1", out, "OFPBMC_BAD_PREREQ"],
      ["ip,ct_state=+trk+inv,ct_nw_proto=6", out, "OFPBMC_BAD_PREREQ"],
      ["ip,ct_state=+trk+est,ct_nw_src=10.0.0.1", out, undefined],
      ["ip,ct_state=+trk-inv,ct_nw_src=10.0.0.1", out, undefined],
      ["ip,ct_state=+rpl,ct_nw_proto=6", out, undefined],
      ["ip,ct_state=+snat,ct_nw_proto=6", out, undefined],
      ["ct_state=+trk+est,ct_nw_proto=6", out, undefined],
      ["ct_state=+trk+est,ct_nw_src=10.0.0.1", out, "OFPBAC_MATCH_INCONSISTENT"],
      ["ip,ct_state=+trk+est,ct_ipv6_src=::1", out, "OFPBAC_MATCH_INCONSISTENT"],
      ["ip", move, "OFPBAC_MATCH_INCONSISTENT"],
      ["ip,ct_state=+trk+est", move, undefined],
    ] as const
  ) {
    strictEqual(refusal(match, actions), error, `${match} ${actions}`);
  }
});
