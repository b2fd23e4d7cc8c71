// SPDX-License-Identifier: Apache-2.0
/**
 * Every member of Open vSwitch's `struct dpif_class`, from version 2.5 to now, and what stands for
 * it here; where a provider has none, the null pointer of the original, the reason.
 * `members_test.ts` holds the contract and both providers to it.
 *
 * @module
 */

/** One member. */
export interface Member {
  /** Its name; `a | b`: several that are one thing here. */
  readonly member: string;
  /** Where it is on a `Provider` (`provider.open`) or a `ProviderDatapath` (`meters.set`). */
  readonly at: string;
  /** Why `netdev` has none. */
  readonly netdev?: string;
  /** Why `system` has none. */
  readonly system?: string;
}

const noThreads = "The kernel has no poll threads.";
const kernelFragments = "The kernel reassembles with limits of its own, by sysctl.";
const kernelTable =
  "The kernel's table is the machine's, not a datapath's: sysctl net.netfilter has it.";
const noOffload = "No hardware offload is implemented: there is nothing to count.";
const noCache =
  "There is no cache of a size in front of the table: the lookup chooses its masks from the table itself.";

export const members: readonly Member[] = [
  { member: "type", at: "provider.type" },
  { member: "cleanup_required", at: "provider.cleanupRequired" },
  {
    member: "init",
    at: "provider.init",
    netdev:
      "The library and EAL are opened with the first datapath, not when a program imports.",
    system: "Families are looked up with the first datapath.",
  },
  { member: "enumerate", at: "provider.enumerate" },
  {
    member: "port_open_type",
    at: "provider.portOpenType",
    system: "The kernel opens devices itself: a type is that of the vport.",
  },
  { member: "open", at: "provider.open" },
  { member: "close", at: "close" },
  { member: "destroy", at: "destroy" },
  {
    member: "run",
    at: "run",
    netdev: "Threads of the library do all periodic work.",
  },
  {
    member: "wait",
    at: "wait",
    netdev: "There is no `run` to wait for.",
    system:
      "Changes of ports, which give `run` its work, have a watch of their own. Null in Open vSwitch too.",
  },
  { member: "get_stats", at: "stats" },
  {
    member: "set_features | get_features",
    at: "features.set",
    netdev:
      "Feature bits are the kernel's; in userspace nothing is optional. Null in Open vSwitch too.",
  },
  { member: "port_add", at: "ports.add" },
  { member: "port_del", at: "ports.delete" },
  {
    member: "port_set_config",
    at: "ports.setConfig",
    system: "Options of a port of the kernel are fixed when it is made.",
  },
  { member: "port_query_by_number | port_query_by_name", at: "ports.get" },
  {
    member: "port_get_pid",
    at: "ports.upcallPortId",
    netdev:
      "Upcalls go to rings, not to sockets: 0 stands in actions. Null in Open vSwitch too.",
  },
  { member: "port_dump_start | port_dump_next | port_dump_done", at: "ports.dump" },
  { member: "port_poll | port_poll_wait", at: "ports.watch" },
  { member: "flow_flush", at: "flows.flush" },
  {
    member:
      "flow_dump_create | flow_dump_destroy | flow_dump_thread_create | flow_dump_thread_destroy | flow_dump_next",
    at: "flows.dump",
  },
  { member: "operate", at: "operate" },
  {
    member: "offload_stats_get",
    at: "offload.stats",
    netdev: noOffload,
    system: noOffload,
  },
  { member: "recv_set", at: "upcalls.setReceive" },
  { member: "handlers_set", at: "upcalls.setHandlers" },
  {
    member: "number_handlers_required",
    at: "upcalls.required",
    netdev: "Any number of handlers will do.",
  },
  { member: "poll_threads_set", at: "pollThreads.set", system: noThreads },
  {
    member: "set_config",
    at: "setConfig",
    system: "The kernel's datapath has no settings.",
  },
  { member: "queue_to_priority", at: "queues.toPriority" },
  { member: "recv | recv_wait", at: "upcalls.handler" },
  { member: "recv_purge", at: "upcalls.purge" },
  {
    member: "register_dp_purge_cb",
    at: "callbacks.onPurge",
    system: "Flows of the kernel belong to no thread that could go.",
  },
  {
    member: "register_upcall_cb",
    at: "callbacks.onUpcall",
    system: "The kernel calls no program: upcalls come by sockets.",
  },
  {
    member: "enable_upcall | disable_upcall",
    at: "upcallControl.enable",
    system: "Whether the kernel sends upcalls is recv_set.",
  },
  { member: "get_datapath_version", at: "version" },
  { member: "ct_dump_start | ct_dump_next | ct_dump_done", at: "conntrack.dump" },
  {
    member: "ct_exp_dump_start | ct_exp_dump_next | ct_exp_dump_done",
    at: "conntrack.expectations",
  },
  { member: "ct_flush", at: "conntrack.flush" },
  {
    member: "ct_set_maxconns | ct_get_maxconns",
    at: "conntrack.maxConnections",
    system: kernelTable,
  },
  { member: "ct_get_nconns", at: "conntrack.count", system: kernelTable },
  {
    member: "ct_set_tcp_seq_chk | ct_get_tcp_seq_chk",
    at: "conntrack.tcpSequenceCheck",
    system: kernelTable,
  },
  {
    member: "ct_set_sweep_interval | ct_get_sweep_interval",
    at: "conntrack.sweepInterval",
    system: kernelTable,
  },
  { member: "ct_set_limits | ct_get_limits | ct_del_limits", at: "conntrack.limits" },
  {
    member: "ct_set_timeout_policy | ct_get_timeout_policy | ct_del_timeout_policy",
    at: "conntrack.timeoutPolicies.set",
  },
  {
    member:
      "ct_timeout_policy_dump_start | ct_timeout_policy_dump_next | ct_timeout_policy_dump_done",
    at: "conntrack.timeoutPolicies.dump",
  },
  { member: "ct_get_timeout_policy_name", at: "conntrack.timeoutPolicies.name" },
  { member: "ct_get_features", at: "conntrack.features" },
  { member: "ipf_set_enabled", at: "fragments.setEnabled", system: kernelFragments },
  { member: "ipf_set_min_frag", at: "fragments.setMinSize", system: kernelFragments },
  {
    member: "ipf_set_max_nfrags",
    at: "fragments.setMaxFragments",
    system: kernelFragments,
  },
  { member: "ipf_get_status", at: "fragments.status", system: kernelFragments },
  {
    member: "ipf_dump_start | ipf_dump_next | ipf_dump_done",
    at: "fragments.dump",
    system: kernelFragments,
  },
  { member: "meter_get_features", at: "meters.features" },
  { member: "meter_set", at: "meters.set" },
  { member: "meter_get", at: "meters.get" },
  { member: "meter_del", at: "meters.delete" },
  ...["add", "del", "stats_get"].map((name): Member => ({
    member: `bond_${name}`,
    at: `bonds.${name === "add" ? "add" : name === "del" ? "delete" : "stats"}`,
    system:
      "The kernel's datapath has no bonds and no lb_output. Null in Open vSwitch too.",
  })),
  {
    member: "cache_get_supported_levels | cache_get_name",
    at: "caches.names",
    netdev: noCache,
  },
  { member: "cache_get_size", at: "caches.size", netdev: noCache },
  { member: "cache_set_size", at: "caches.setSize", netdev: noCache },
];
