// SPDX-License-Identifier: Apache-2.0
/**
 * What a daemon follows of its database.
 *
 * @module
 */
import type { Watched } from "../../ovsdb/database.ts";

/** Columns by table. */
export const watched: Watched = {
  Open_vSwitch: ["bridges", "datapaths", "next_cfg", "cur_cfg", "other_config"],
  Bridge: [
    ...["name", "datapath_type", "ports", "controller", "fail_mode", "protocols"],
    ...["flood_vlans", "other_config", "flow_tables", "mirrors", "stp_enable"],
    ...["rstp_enable", "mcast_snooping_enable", "netflow", "sflow", "ipfix"],
  ],
  Port: [
    ...["name", "interfaces", "tag", "trunks", "cvlans", "vlan_mode", "protected"],
    ...["other_config", "qos", "bond_mode", "bond_updelay", "bond_downdelay", "lacp"],
  ],
  Interface: [
    ...["name", "type", "options", "ofport_request", "mtu_request", "mac"],
    ...["ofport", "bfd", "cfm_mpid", "lldp", "ingress_policing_rate", "other_config"],
  ],
  Mirror: [
    ...["name", "select_all", "select_src_port", "select_dst_port", "select_vlan"],
    ...["output_port", "output_vlan", "snaplen"],
  ],
  Controller: ["target", "max_backoff", "inactivity_probe", "type"],
  Datapath: ["ct_zones"],
  Flow_Table: ["name", "flow_limit", "overflow_policy", "groups"],
};
