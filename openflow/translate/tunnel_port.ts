// SPDX-License-Identifier: Apache-2.0
/**
 * Ports of tunnels.
 *
 * @module
 */
/** A port of a tunnel. */
export interface TunnelPort {
  /** The other end; undefined where flows say it. */
  readonly remote: string | undefined;
  /** Whether packets may not be cut on their way. */
  readonly dontFragment: boolean;
}

const kinds: ReadonlySet<string> = new Set([
  ...["vxlan", "geneve", "gre", "ip6gre", "erspan", "ip6erspan", "gtpu", "bareudp"],
]);
/** The tunnel that a port of a datapath is; undefined for another port. */
export function tunnelOf(
  { type, options = {} }: {
    readonly type: string;
    readonly options?: Readonly<Record<string, string>>;
  },
): TunnelPort | undefined {
  if (!kinds.has(type)) return undefined;
  const remote = options["remote_ip"];
  return {
    remote: remote === "flow" ? undefined : remote,
    dontFragment: options["df"] !== "false",
  };
}

/** What a tunnel was, where it is the same. */
export function sameTunnel(
  before: TunnelPort | undefined,
  now: TunnelPort | undefined,
): TunnelPort | undefined {
  const isSame = before?.remote === now?.remote &&
    before?.dontFragment === now?.dontFragment;
  return isSame && now !== undefined ? before : now;
}
