// SPDX-License-Identifier: Apache-2.0
/**
 * Bonds of a datapath of this process, over `dp_bond_*`.
 *
 * @module
 */
import { constants, dpBond } from "../../ffi/layout.ts";
import type { BondFacet } from "../contract/devices.ts";
import { Errno } from "../errno.ts";
import { DatapathError } from "../errors.ts";
import type { PortNo } from "../ids.ts";
import type { Context } from "./context.ts";
import { check } from "./library.ts";

const { DP_BOND_BUCKETS } = constants;

/** Bonds of one datapath. */
export class NetdevBonds implements BondFacet {
  readonly #context: Context;

  constructor(context: Context) {
    this.#context = context;
  }

  add(id: number, members: readonly PortNo[]): void {
    const { symbols, dp, subject } = this.#context;
    const what = subject("add bond", `${id}`);
    if (members.length !== DP_BOND_BUCKETS) {
      const detail = `a bond has ${DP_BOND_BUCKETS} buckets, not ${members.length}`;
      throw new DatapathError({ ...what, code: "EINVAL", detail });
    }
    const bond = new Uint8Array(dpBond.structSize);
    const view = new DataView(bond.buffer);
    members.forEach((port, i) => view.setUint32(dpBond.ports + 4 * i, port, true));
    check(symbols, symbols.dp_bond_add(dp, id, bond), what);
  }

  delete(id: number): void {
    const { symbols, dp, subject } = this.#context;
    check(symbols, symbols.dp_bond_delete(dp, id), subject("delete bond", `${id}`));
  }

  stats(id: number): bigint[] {
    const view = this.#read(id, "read bond");
    return buckets((i) => view.getBigUint64(dpBond.bytes + 8 * i, true));
  }

  list(): { readonly id: number; readonly members: readonly PortNo[] }[] {
    const { symbols, dp, subject } = this.#context;
    const next = new Uint32Array(1);
    const bonds: ReturnType<NetdevBonds["list"]> = [];
    for (let from = 0; from <= 0xffffffff; from++) {
      const errno = symbols.dp_bond_next(dp, from, new Uint8Array(next.buffer));
      if (errno === Errno.ENOENT) break;
      check(symbols, errno, subject("list bonds"));
      from = next[0] ?? 0;
      const view = this.#read(from, "list bonds");
      const members = buckets((i) => view.getUint32(dpBond.ports + 4 * i, true));
      bonds.push({ id: from, members });
    }
    return bonds;
  }

  #read(id: number, operation: string): DataView {
    const { symbols, dp, subject } = this.#context;
    const bond = new Uint8Array(dpBond.structSize);
    check(symbols, symbols.dp_bond_get(dp, id, bond), subject(operation, `${id}`));
    return new DataView(bond.buffer);
  }
}

function buckets<T>(read: (bucket: number) => T): T[] {
  return Array.from({ length: DP_BOND_BUCKETS }, (_, bucket) => read(bucket));
}
