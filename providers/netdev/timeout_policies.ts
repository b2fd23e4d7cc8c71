// SPDX-License-Identifier: Apache-2.0
/**
 * Timeout policies of a datapath of this process, over `dp_ct_policy_*`.
 *
 * @module
 */
import { constants, dpCtPolicy } from "../../ffi/layout.ts";
import type {
  ConntrackFacet,
  TimeoutName,
  TimeoutPolicy,
} from "../contract/conntrack.ts";
import { Errno } from "../errno.ts";
import type { Context } from "./context.ts";
import { check } from "./library.ts";

type Facet = NonNullable<ConntrackFacet["timeoutPolicies"]>;

/** In the order of `CT_DPIF_TP_ATTR_*`. */
const names: readonly TimeoutName[] = [
  "tcpSynSent",
  "tcpSynRecv",
  "tcpEstablished",
  "tcpFinWait",
  "tcpCloseWait",
  "tcpLastAck",
  "tcpTimeWait",
  "tcpClose",
  "tcpSynSent2",
  "tcpRetransmit",
  "tcpUnack",
  "udpFirst",
  "udpSingle",
  "udpMultiple",
  "icmpFirst",
  "icmpReply",
];

/** Policies by number. Connections of one that was deleted have the defaults. */
export class NetdevTimeoutPolicies implements Facet {
  readonly #context: Context;

  constructor(context: Context) {
    this.#context = context;
  }

  set({ id, timeouts }: TimeoutPolicy): void {
    const { symbols, dp, subject } = this.#context;
    const policy = this.#read(0, "set timeout policy"); // The defaults.
    const view = new DataView(policy.buffer);
    view.setUint32(dpCtPolicy.id, numberOf(id), true);
    for (const [name, seconds] of Object.entries(timeouts)) {
      const at = names.indexOf(name as TimeoutName);
      if (at < 0) throw new TypeError(`There is no timeout ${name}`);
      if (seconds === undefined) continue;
      if (!Number.isInteger(seconds) || seconds < 0 || seconds > 0xffffffff) {
        throw new RangeError(
          `${name} must be whole seconds from 0 to 4294967295: ${seconds}`,
        );
      }
      view.setUint32(dpCtPolicy.seconds + 4 * at, seconds, true);
    }
    const errno = symbols.dp_ct_policy_set(dp, policy);
    check(symbols, errno, subject("set timeout policy", `${id}`));
  }

  get(id: number): TimeoutPolicy {
    const view = new DataView(this.#read(numberOf(id), "read timeout policy").buffer);
    const timeouts: { [Name in TimeoutName]?: number } = {};
    for (let at = 0; at < constants.DP_CT_TIMEOUTS; at++) {
      const name = names[at];
      const seconds = view.getUint32(dpCtPolicy.seconds + 4 * at, true);
      // 0: one that nothing here uses, and that was not set.
      if (name !== undefined && seconds !== 0) timeouts[name] = seconds;
    }
    return { id, timeouts };
  }

  delete(id: number): void {
    const { symbols, dp, subject } = this.#context;
    const errno = symbols.dp_ct_policy_delete(dp, numberOf(id));
    check(symbols, errno, subject("delete timeout policy", `${id}`));
  }

  *dump(): Iterable<TimeoutPolicy> {
    const { symbols, dp, subject } = this.#context;
    const next = new Uint32Array(1);
    for (let id = 0;;) {
      const errno = symbols.dp_ct_policy_next(dp, id, new Uint8Array(next.buffer));
      if (errno === Errno.ENOENT) return;
      check(symbols, errno, subject("list timeout policies"));
      id = next[0] ?? 0;
      yield this.get(id);
    }
  }

  /** One name for all protocols: the number. */
  name(id: number): { readonly name: string; readonly generic: boolean } {
    return { name: `${id}`, generic: true };
  }

  #read(id: number, operation: string): Uint8Array<ArrayBuffer> {
    const { symbols, dp, subject } = this.#context;
    const policy = new Uint8Array(dpCtPolicy.structSize);
    const errno = symbols.dp_ct_policy_get(dp, id, policy);
    check(symbols, errno, subject(operation, `${id}`));
    return policy;
  }
}

function numberOf(id: number): number {
  if (!Number.isInteger(id) || id < 0 || id > 0xffffffff) {
    throw new RangeError(
      `number of a timeout policy must be from 0 to 4294967295: ${id}`,
    );
  }
  return id;
}
