// SPDX-License-Identifier: Apache-2.0
/**
 * What a datapath can do, in the words of the database's column `Datapath.capabilities`.
 *
 * @module
 */
import type { Datapath } from "../providers/datapath.ts";

/** Capabilities of a datapath. */
export function capabilitiesOf(dp: Datapath): Map<string, string> {
  const tracks = dp.conntrack !== undefined;
  const isKernel = dp.type === "system";
  const known: readonly (readonly [name: string, value: string | number | boolean])[] = [
    ["max_vlan_headers", 2],
    ["max_mpls_depth", isKernel ? 3 : 1],
    ["recirc", true],
    ["ct_state", tracks],
    ["ct_zone", tracks],
    ["ct_mark", tracks],
    ["ct_label", tracks],
    ["ct_state_nat", tracks],
    ["ct_orig_tuple", tracks],
    ["ct_orig_tuple6", tracks],
    ["ct_eventmask", tracks],
    ["ct_clear", tracks],
    ["ct_timeout", tracks],
    ["ct_zero_snat", tracks],
    ["ct_flush", tracks],
    ["masked_set_action", true],
    ["ufid", true],
    ["trunc", true],
    ["clone", true],
    ["sample_nesting", 10],
    ["check_pkt_len", true],
    // The kernel computes one kind of hash, others that of both ends alike too.
    ["max_hash_alg", isKernel ? 0 : 1],
    ["nd_ext", false],
    ["explicit_drop_action", !isKernel],
    ["lb_output_action", dp.bonds !== undefined],
    ["add_mpls", false],
    // Outer headers are put on behind an output to a tunnel's port, by the datapath.
    ["tnl_push_pop", !isKernel],
  ];
  return new Map(known.map(([name, value]) => [name, `${value}`]));
}
