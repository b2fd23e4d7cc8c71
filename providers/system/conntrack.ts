// SPDX-License-Identifier: Apache-2.0
/**
 * Connection tracking of the kernel, over ctnetlink.
 *
 * Connections belong to the network namespace, whichever datapath tracks them.
 *
 * @module
 */
import { kernelRelease } from "../../ffi/system_file.ts";
import type {
  Connection,
  ConnFilter,
  ConntrackEvent,
  ConntrackEventOptions,
  ConntrackFacet,
  ConnTuple,
  Expectation,
} from "../contract/conntrack.ts";
import { WatchStream } from "../contract/watch_stream.ts";
import type { CtZone } from "../ids.ts";
import { systemLimits } from "./ct_limits.ts";
import {
  addressBytes,
  beginNf,
  NfCommand,
  parseConnection,
  parseExpectation,
  Subsystem,
  writeDelete,
  writeDeleteOf,
  zoneOf,
} from "./ctnetlink.ts";
import {
  Conversation,
  type Message,
  type MessageWriter,
  NetlinkError,
  NetlinkSocket,
  Protocol,
  type Transport,
} from "../netlink/mod.ts";
import { inContext } from "../netlink/errors.ts";
import { SystemConntrackWatch } from "./events.ts";
import type { Kernel } from "./ovs.ts";
import { SystemTimeoutPolicies } from "./timeout_policies.ts";

/** Source NAT to the all-zero address is taken to mean "only avoid clashes". */
const CONNTRACK_F_ZERO_SNAT = 1;

/**
 * Whether this release lets source NAT choose a port and keep the address (Linux 5.17).
 *
 * By release and not by trying: a trial would have to let a connection into the table of the
 * namespace.
 */
function hasZeroSnat(release: string): boolean {
  const [major = 0, minor = 0] = release.split(".").map(Number);
  return major > 5 || (major === 5 && minor >= 17);
}

function askForAll(writer: MessageWriter): void {
  beginNf(writer, { subsystem: Subsystem.conntrack, command: NfCommand.get });
  writer.end();
}

/** Whether the parts that are said are those of a tuple. */
function hasParts(tuple: ConnTuple, parts: Partial<ConnTuple> = {}): boolean {
  const { src, dst, ...numbers } = parts;
  const same = (a: string, b: string) =>
    addressBytes(a).toHex() === addressBytes(b).toHex();
  return (src === undefined || same(src, tuple.src)) &&
    (dst === undefined || same(dst, tuple.dst)) &&
    (Object.keys(numbers) as (keyof typeof numbers)[]).every((name) =>
      numbers[name] === undefined || numbers[name] === tuple[name]
    );
}

/** Whether a flush forgets a connection. */
function fits(
  connection: Connection,
  { orig, reply, mark, labels }: ConnFilter,
): boolean {
  return hasParts(connection.orig, orig) && hasParts(connection.reply, reply) &&
    (mark === undefined ||
      ((connection.mark ^ mark.value) & (mark.mask ?? 0xffffffff)) === 0) &&
    (labels === undefined ||
      ((connection.labels ^ labels.value) & (labels.mask ?? (1n << 128n) - 1n)) === 0n);
}

/** Connection tracking of the network namespace of a datapath. */
export class SystemConntrack implements ConntrackFacet {
  readonly #conversation: Conversation;
  readonly #datapath: string;
  readonly #watches = new Set<SystemConntrackWatch>();
  readonly limits?: NonNullable<ConntrackFacet["limits"]>;
  readonly timeoutPolicies: NonNullable<ConntrackFacet["timeoutPolicies"]>;

  /** `datapath` is the full name, for errors. */
  constructor(
    kernel: Kernel,
    datapath: string,
    connect: () => Transport = () => new NetlinkSocket(Protocol.netfilter),
  ) {
    this.#conversation = new Conversation(connect);
    this.#datapath = datapath;
    this.timeoutPolicies = new SystemTimeoutPolicies(this.#conversation, datapath);
    const limits = systemLimits(kernel, datapath);
    if (limits) this.limits = limits;
  }

  dump(options: { readonly zone?: CtZone } = {}): Connection[] {
    return inContext(
      { operation: "list connections", datapath: this.#datapath },
      () => this.#messages(options.zone).map(parseConnection),
    );
  }

  #messages(zone: CtZone | undefined): Message[] {
    const messages = this.#conversation.dump(askForAll);
    // The kernel filters by zone from 6.8 on, and lists all zones before: so filter here.
    return messages.filter((message) => zone === undefined || zoneOf(message) === zone);
  }

  async *connections(
    options: { readonly zone?: CtZone } = {},
  ): AsyncIterable<Connection> {
    const context = { operation: "list connections", datapath: this.#datapath };
    const { zone } = options;
    const dump = inContext(context, () => this.#conversation.startDump(askForAll));
    try {
      for (;;) {
        const part = inContext(context, () => dump.next());
        if (part === undefined) return;
        // As dump() has them.
        const wanted = part.filter((message) =>
          zone === undefined || zoneOf(message) === zone
        );
        yield* wanted.map(parseConnection);
        await new Promise((resolve) => setTimeout(resolve)); // Others have their turn.
      }
    } finally {
      dump.close();
    }
  }

  expectations(options: { readonly zone?: CtZone } = {}): Expectation[] {
    const { zone } = options;
    return inContext(
      { operation: "list expected connections", datapath: this.#datapath },
      () =>
        this.#conversation.dump((writer) => {
          beginNf(writer, { subsystem: Subsystem.expectations, command: NfCommand.get });
          writer.end();
        }).map(parseExpectation).filter((expected) =>
          zone === undefined || expected.zone === zone
        ),
    );
  }

  events(options: ConntrackEventOptions = {}): WatchStream<ConntrackEvent> {
    const { signal } = options;
    const context = { operation: "watch connections", datapath: this.#datapath };
    const open = () =>
      inContext(context, () => {
        const watch: SystemConntrackWatch = new SystemConntrackWatch(
          options,
          this.#datapath,
          () => this.#watches.delete(watch),
        );
        this.#watches.add(watch);
        return watch;
      });
    return new WatchStream(open, { ...(signal !== undefined && { signal }), now: true });
  }

  flush(options: ConnFilter = {}): void {
    const { zone, tuple, orig, reply, mark, labels } = options;
    inContext({ operation: "flush connections", datapath: this.#datapath }, () => {
      if (tuple) {
        this.#conversation.request((writer) => writeDelete(writer, tuple, zone ?? 0));
      } else if (orig ?? reply ?? mark ?? labels) this.#flushSome(options);
      else if (zone !== undefined) this.#flushSome({ zone });
      else this.#flushAll();
    });
  }

  #flushAll(): void {
    this.#conversation.request((writer) => {
      beginNf(writer, { subsystem: Subsystem.conntrack, command: NfCommand.delete });
      writer.end();
    });
  }

  /**
   * One by one: before Linux 6.8 a request to delete a zone is taken as one to delete everything,
   * and nothing but the version tells such a kernel; and none knows labels or parts of tuples.
   */
  #flushSome(filter: ConnFilter): void {
    for (const message of this.#messages(filter.zone)) {
      if (!fits(parseConnection(message), filter)) continue;
      try {
        this.#conversation.request((writer) => writeDeleteOf(writer, message));
      } catch (error) {
        // It ended meanwhile.
        if (!(error instanceof NetlinkError) || error.code !== "ENOENT") throw error;
      }
    }
  }

  features(): number {
    return hasZeroSnat(kernelRelease()) ? CONNTRACK_F_ZERO_SNAT : 0;
  }

  /** Ends every stream of events. */
  async quiet(): Promise<void> {
    await Promise.all([...this.#watches].map((watch) => watch.close()));
  }

  /** Closes the sockets, when no stream is open any more. Idempotent. */
  close(): void {
    this.#conversation.close();
  }
}
