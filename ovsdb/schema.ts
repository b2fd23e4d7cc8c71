// SPDX-License-Identifier: Apache-2.0
/**
 * The parts of Open vSwitch's database that a switch reads and writes: a line a column.
 *
 * Source: `vswitch.ovsschema` 8.3.1, ovs-vswitchd.conf.db(5).
 *
 * @module
 */
import {
  type Column,
  counter,
  flag,
  integer,
  map,
  optional,
  row,
  set,
  text,
} from "./column.ts";

const texts = map(text, text);

/** Tables, by name. */
export const tables = {
  Open_vSwitch: {
    bridges: set(row),
    datapaths: map(text, row),
    manager_options: set(row),
    other_config: texts,
    external_ids: texts,
    next_cfg: counter,
    cur_cfg: counter,
    datapath_types: set(text),
    iface_types: set(text),
    dpdk_initialized: flag,
    dpdk_version: optional(text),
    ovs_version: optional(text),
    statistics: texts,
  },
  Bridge: {
    name: text,
    datapath_type: text,
    datapath_id: optional(text),
    datapath_version: text,
    ports: set(row),
    controller: set(row),
    mirrors: set(row),
    fail_mode: optional(text),
    protocols: set(text),
    flow_tables: map(integer, row),
    flood_vlans: set(integer),
    stp_enable: flag,
    rstp_enable: flag,
    mcast_snooping_enable: flag,
    netflow: optional(row),
    sflow: optional(row),
    ipfix: optional(row),
    other_config: texts,
    external_ids: texts,
    status: texts,
  },
  Port: {
    name: text,
    interfaces: set(row),
    tag: optional(integer),
    trunks: set(integer),
    cvlans: set(integer),
    vlan_mode: optional(text),
    mac: optional(text),
    bond_mode: optional(text),
    bond_active_slave: optional(text),
    lacp: optional(text),
    bond_updelay: integer,
    bond_downdelay: integer,
    qos: optional(row),
    protected: flag,
    fake_bridge: flag,
    other_config: texts,
    external_ids: texts,
  },
  Interface: {
    name: text,
    type: text,
    options: texts,
    ofport_request: optional(integer),
    mtu_request: optional(integer),
    mac: optional(text),
    external_ids: texts,
    other_config: texts,
    ofport: optional(integer),
    error: optional(text),
    ifindex: optional(integer),
    mac_in_use: optional(text),
    mtu: optional(integer),
    admin_state: optional(text),
    link_state: optional(text),
    link_speed: optional(counter),
    link_resets: optional(integer),
    duplex: optional(text),
    status: texts,
    statistics: map(text, counter),
    bfd: texts,
    bfd_status: texts,
    cfm_mpid: optional(integer),
    lldp: texts,
    ingress_policing_rate: integer,
  },
  Mirror: {
    name: text,
    select_all: flag,
    select_src_port: set(row),
    select_dst_port: set(row),
    select_vlan: set(integer),
    output_port: optional(row),
    output_vlan: optional(integer),
    snaplen: optional(integer),
    statistics: map(text, counter),
  },
  Controller: {
    target: text,
    type: optional(text),
    max_backoff: optional(integer),
    inactivity_probe: optional(integer),
    connection_mode: optional(text),
    controller_rate_limit: optional(integer),
    controller_burst_limit: optional(integer),
    enable_async_messages: optional(flag),
    other_config: texts,
    is_connected: flag,
    role: optional(text),
    status: texts,
  },
  Datapath: {
    datapath_version: text,
    capabilities: texts,
    ct_zones: map(integer, row),
  },
  Flow_Table: {
    name: optional(text),
    flow_limit: optional(integer),
    overflow_policy: optional(text),
    groups: set(text),
    prefixes: set(text),
  },
  Manager: { target: text, is_connected: flag, status: texts },
} as const satisfies Readonly<Record<string, Readonly<Record<string, object>>>>;

/** The tables. */
export type Tables = typeof tables;
/** Their names. */
export type TableName = keyof Tables;
/** The columns of a table. */
export type ColumnName<T extends TableName> = keyof Tables[T] & string;
/** What a column's values are. */
export type ValueOf<C> = C extends Column<infer V> ? V : never;
/** A row, with its number. */
export type Row<T extends TableName> =
  & { readonly uuid: string }
  & { readonly [C in ColumnName<T>]: ValueOf<Tables[T][C]> };
/** Values of some columns of a row. */
export type Values<T extends TableName> = {
  readonly [C in ColumnName<T>]?: ValueOf<Tables[T][C]>;
};

/** A column's kind, whatever its values are. */
export function columnOf(table: TableName, name: string): Column<unknown> | undefined {
  const columns = tables[table] as unknown as Readonly<Record<string, Column<unknown>>>;
  return Object.hasOwn(columns, name) ? columns[name] : undefined;
}

/** Names of a table's columns. */
export function columnNames<T extends TableName>(table: T): ColumnName<T>[] {
  return Object.keys(tables[table]) as ColumnName<T>[];
}
