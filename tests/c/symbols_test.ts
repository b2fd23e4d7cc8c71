// SPDX-License-Identifier: Apache-2.0
/**
 * What the objects of `c/` define and want: that calls go down only, that headers tell the truth
 * about where things are, and that nothing a packet passes through allocates, locks, makes a
 * system call or logs.
 */
import { deepStrictEqual } from "node:assert/strict";
import { cDirectory, filesOf, unitObjects } from "../support/c_build.ts";
import {
  callOffenders,
  declarationOffenders,
  declaredBy,
  type Symbols,
} from "../support/c_layers.ts";
import { run } from "../support/command.ts";
import { needProgram, skippable } from "../support/skip.ts";
import type { SourceFile } from "../support/tree.ts";

/** Wanted by any object: what compilers make of plain C, and what reads a thread's variables. */
const always = /^(mem(cpy|move|set|cmp)|__tls_get_addr|_GLOBAL_OFFSET_TABLE_)$/;

/** Names of DPDK, whose packet functions are made for poll threads. */
const dpdk = /^(__)?rte_|^per_lcore__/;

/**
 * The units that a packet passes through. They may want each other, `always` and `dpdk`, and of
 * everything else only what is listed here, with the reason why it does not cost a packet. Kinds
 * of ports are not here: they open their devices in the same object, and where a device is a
 * socket, receiving is a system call.
 */
const hot: Readonly<Record<string, Readonly<Record<string, string>>>> = {
  "act/act_ct.c": {},
  "act/act_frame.c": {},
  "act/act_header.c": {},
  "act/act_output.c": {},
  "act/act_run.c": {},
  "act/act_set.c": {},
  "act/act_hash.c": {},
  "bond/bond_find.c": {},
  "base/histogram.c": { pthread_once: "histogram_prepare()" },
  "record/record.c": {
    aligned_alloc: "records_create()",
    free: "records_destroy()",
  },
  "base/bell.c": { syscall: "rung for rare events only: a futex" },
  "cls/cls_hot.c": { cls_prune_map: "of a build without vectors; reads bitmaps" },
  "cls/cls_isa.c": {
    __cpu_indicator_init: "at the first lookup",
    __cpu_model: "what the processor can: a variable",
    cls_part_gone: "an address to compare with",
  },
  "cls/cls_next.c": { cls_part_gone: "an address to compare with" },
  "ct/ct_alg.c": {},
  "ct/ct_begin.c": {},
  "ct/ct_event.c": {
    __errno_location: "ct_listen()",
    close: "ct_events_destroy()",
    eventfd: "ct_listen()",
    eventfd_read: "ct_take_events(), of the control side",
    eventfd_write: "once for a program that waits",
    mmap: "ct_listen()",
    munmap: "ct_events_destroy()",
    pthread_mutex_destroy: "ct_events_destroy()",
    pthread_mutex_init: "ct_listen()",
    pthread_mutex_lock: "of the log, by programs",
    pthread_mutex_unlock: "see pthread_mutex_lock",
  },
  "ct/ct_expect.c": {},
  "ct/ct_ftp.c": {
    inet_ntop: "bytes to text, of a command that announces a connection",
    inet_pton: "text to bytes",
    strchr: "reads text of 128 bytes",
    strlen: "see strchr",
    strncasecmp: "see strchr",
  },
  "ct/ct_hot.c": {},
  "ct/ct_key.c": {},
  "ct/ct_limit.c": {
    pthread_mutex_lock: "ct_enter(): settings",
    pthread_mutex_unlock: "ct_leave(): settings",
  },
  "ct/ct_nat.c": {},
  "ct/ct_other.c": {},
  "ct/ct_run.c": {},
  "ct/ct_table.c": {},
  "ct/ct_tcp.c": {},
  "ct/ct_timeout.c": {
    malloc: "a policy that is set",
  },
  "meter/meter_run.c": {},
  "pmd/perf.c": {
    aligned_alloc: "perf_create()",
    free: "perf_destroy()",
    histogram_prepare: "perf_create()",
  },
  "ipf/ipf.c": {
    hash_seed: "ipf_create()",
    mem_map: "ipf_create()",
    mem_unmap: "ipf_destroy()",
  },
  "ipf/ipf_chain.c": {},
  "ipf/ipf_read.c": {},
  "packet/csum.c": {},
  "packet/eal_hold.c": { eal_pool: "returns a pointer" },
  "packet/extract.c": {},
  "packet/userdata.c": {
    free: "with the last reference, of what a userspace action sent along",
  },
  "packet/worker.c": {
    calloc: "worker_init()",
    clock_gettime: "no system call (vDSO), once in a millisecond",
    free: "worker_fini()",
  },
  "tnl/tnl_bundle.c": {},
  "tnl/tnl_event.c": {
    __errno_location: "see fcntl",
    close: "tnl_events_fini(), tnl_event_unwatch()",
    eventfd: "tnl_events_init()",
    fcntl: "tnl_event_watch()",
    read: "tnl_event_take(), of the control side",
    write: "the bell of who manages tunnels, once until it is heard",
  },
  "tnl/tnl_inner.c": {},
  "tnl/tnl_outer.c": {},
  "tnl/tnl_pop.c": {},
  "tnl/tnl_push.c": { tnl_map_gone: "an address to compare with" },
  "tnl/tnl_read.c": {},
  "tnl/tnl_ready.c": {},
  "tnl/tnl_sift.c": { tnl_map_gone: "an address to compare with" },
  "tnl/tnl_snoop.c": { tnl_map_gone: "an address to compare with" },
  "tnl/tnl_too_big.c": {},
  "path/burst.c": {
    act_track: "reads a program, returns a pointer into it",
    cls_entries: "returns a pointer",
  },
  "path/burst_direct.c": {
    act_compile:
      "a native callback's misses pay for its actions: they are compiled, run and freed",
    act_free: "see act_compile",
    aligned_alloc: "burst_puts_create()",
    calloc: "burst_puts_create()",
    free: "see malloc, and burst_puts_destroy()",
    malloc: "the flow that a callback asks for, once a flow",
    odp_key_write: "of the key, for the callback; touches nothing else",
  },
  "path/gather.c": {},
  "path/tx_device.c": {},
  "path/tx.c": {
    port_follow_mtu:
      "asks the device once in a millisecond, if a packet is larger than its MTU was",
  },
  "packet/partial.c": {},
  "segment/segment.c": {},
  "segment/segment_bundle.c": {
    eal_pool: "returns a pointer",
    eal_pool_large: "returns a pointer, but for the first packet of all",
  },
  "segment/segment_fix.c": {},
  "segment/segment_fragment.c": {},
  "segment/segment_merge.c": {},
  "segment/segment_walk.c": {},
  "segment/segment_wrapped.c": {},
  "port/port_vnet.c": {
    eal_pool: "returns a pointer",
    eal_pool_large: "returns a pointer, but for the first packet of all",
    mmap: "once a thread, with its receive buffers",
    munmap: "as a thread ends",
    pthread_key_create: "once a process, with the first thread's receive buffers",
    pthread_once: "see pthread_key_create",
    pthread_setspecific: "once a thread, with its receive buffers",
  },
  "upcall/upcall.c": { write: "the doorbell of a handler that sleeps" },
  "upcall/upcall_admit.c": {},
};

/** Symbols of all objects, builds of one source taken together. */
async function readSymbols(): Promise<Symbols[]> {
  needProgram("nm", { requirement: "netdev" });
  const found = new Map<string, { defines: Set<string>; wants: Set<string> }>();
  for (const { source, object } of await unitObjects()) {
    const entry = found.get(source) ?? { defines: new Set(), wants: new Set() };
    found.set(source, entry);
    const text = await run("nm", "--format=posix", object);
    for (const [, name, type] of text.matchAll(/^(\S+) (\S)/gm)) {
      if (name === undefined || type === undefined) continue;
      if (type === "U") entry.wants.add(name);
      else if (type === type.toUpperCase()) entry.defines.add(name);
    }
  }
  return [...found].map(([path, symbols]) => ({ path, ...symbols }));
}

/** What hot objects want beside what they may. */
function hotOffenders(objects: readonly Symbols[]): string[] {
  const ofHot = new Set(
    objects.filter(({ path }) => path in hot).flatMap(({ defines }) => [...defines]),
  );
  return objects.flatMap(({ path, wants }) => {
    const allowed = hot[path];
    if (allowed === undefined) return [];
    const fits = (name: string): boolean =>
      always.test(name) || dpdk.test(name) || ofHot.has(name) || name in allowed;
    const superfluous = Object.keys(allowed).filter((name) => !wants.has(name));
    return [
      ...[...wants].filter((name) => !fits(name)).map((name) => `${path} wants ${name}`),
      ...superfluous.map((name) => `${path} does not want ${name}, and may`),
    ];
  });
}

let read: Promise<Symbols[]> | undefined;
const symbols = (): Promise<Symbols[]> => read ??= readSymbols();

async function headers(): Promise<SourceFile[]> {
  const names = (await filesOf(".h")).filter((name) => name !== "abi_fields.h");
  return await Promise.all(
    names.map(async (path) => ({
      path,
      text: await Deno.readTextFile(cDirectory + path),
    })),
  );
}

/** The objects, one of which wants or defines one more name. */
function changed(
  objects: readonly Symbols[],
  path: string,
  { wants = [], defines = [] }: { wants?: string[]; defines?: string[] },
): Symbols[] {
  return objects.map((object) =>
    object.path !== path ? object : {
      path,
      wants: new Set([...object.wants, ...wants]),
      defines: new Set([...object.defines, ...defines]),
    }
  );
}

Deno.test(
  "c: objects want what lower floors define, without a circle",
  skippable(async () => {
    const objects = await symbols();
    deepStrictEqual(callOffenders(objects), []);
    const up = callOffenders(changed(objects, "base/bell.c", { wants: ["cls_find"] }));
    deepStrictEqual(up, [
      "base/bell.c wants cls_find of cls/cls.c, which is on no lower floor",
    ]);
    const back = changed(objects, "cls/cls_table.c", { wants: ["cls_find"] });
    deepStrictEqual(callOffenders(back).map((line) => line.slice(0, 8)), ["circle: "]);
  }),
);

Deno.test(
  "c: a header declares what its own source or unit defines, and dp_*.c what dp.h has",
  skippable(async () => {
    const objects = await symbols();
    const all = await headers();
    deepStrictEqual(declarationOffenders(all, objects), []);
    deepStrictEqual(
      declaredBy(
        all.find(({ path }) => path === "base/handle.h") ?? { path: "", text: "" },
      ),
      [
        "handle_open",
        "handle_get",
        "handle_close",
        "handle_put",
        "handle_close_all",
        "handle_closer",
      ],
    );
    const moved = changed(
      objects.map((object) => ({
        ...object,
        defines: new Set([...object.defines].filter((name) => name !== "dp_rxq_get")),
      })),
      "pmd/pmd_ctl.c",
      { defines: ["dp_rxq_get"] },
    );
    deepStrictEqual(declarationOffenders(all, moved), [
      "dp.h declares dp_rxq_get, defined by pmd/pmd_ctl.c",
      "pmd/pmd_ctl.c defines dp_rxq_get of dp.h",
    ]);
    const alien = {
      path: "base/bell.h",
      text: "int slab_count(void);\nvoid mem_map(void);\n",
    };
    deepStrictEqual(declarationOffenders([alien], objects), [
      "base/bell.h declares slab_count, defined by undefined",
      "base/bell.h declares mem_map, defined by base/mem.c",
    ]);
  }),
);

Deno.test(
  "c: what a packet passes through neither allocates, nor locks, nor calls the system",
  skippable(async () => {
    const objects = await symbols();
    const missing = Object.keys(hot).filter((name) =>
      !objects.some(({ path }) => path === name)
    );
    deepStrictEqual(missing, []);
    deepStrictEqual(hotOffenders(objects), []);
    const worse = changed(objects, "path/burst.c", { wants: ["malloc", "error_set"] });
    deepStrictEqual(hotOffenders(worse), [
      "path/burst.c wants malloc",
      "path/burst.c wants error_set",
    ]);
  }),
);
