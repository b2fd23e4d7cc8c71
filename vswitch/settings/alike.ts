// SPDX-License-Identifier: Apache-2.0
/**
 * Whether ports and bundles are what they are to be, and what flows say of tunnels.
 *
 * @module
 */
import { tunnelOf, type TunnelPort } from "../../openflow/translate/tunnel_port.ts";
import type { Bundle } from "../../openflow/translate/pipeline.ts";
import type {
  Port as DatapathPort,
  PortRequest,
} from "../../providers/contract/ports.ts";
import type { FaceConfig } from "../config.ts";
import { isTunnel } from "../face.ts";

/** What flows say of a tunnel's packets; undefined where its port says all of it, or is none. */
export function sayByFlows({ type, options }: FaceConfig): TunnelPort | undefined {
  const byFlow = ["remote_ip", "key", "out_key"].some((name) =>
    options.get(name) === "flow"
  );
  if (!isTunnel(type) || !byFlow) return undefined;
  const own = Object.fromEntries(options);
  const cut = options.get("df_default");
  return tunnelOf({ type, options: { ...own, ...(cut !== undefined && { df: cut }) } });
}

/** Whether a port is what is asked for, as far as the datapath tells. */
export function isSuch(
  { type, options = {} }: DatapathPort,
  request: PortRequest,
): boolean {
  return type === (request.type ?? "system") &&
    Object.entries(request.options ?? {}).every(([name, value]) =>
      options[name] === `${value}`
    );
}

export function textOf(bundle: Bundle): string {
  return JSON.stringify({
    ...bundle,
    bond: bundle.bond !== undefined,
    trunks: [...bundle.trunks ?? []],
    customers: [...bundle.customers ?? []],
  });
}
