// SPDX-License-Identifier: Apache-2.0
/**
 * The files of the page: they travel with the module, as text.
 *
 * @module
 */

/** A file of the page. */
export interface Asset {
  readonly type: string;
  readonly load: () => Promise<{ readonly default: string }>;
}

const script = "text/javascript; charset=utf-8";

/** Files by their paths. */
export const assets: ReadonlyMap<string, Asset> = new Map<string, Asset>([
  ["/", {
    type: "text/html; charset=utf-8",
    load: () => import("./page/index.html", { with: { type: "text" } }),
  }],
  ["/style.css", {
    type: "text/css; charset=utf-8",
    load: () => import("./page/style.css", { with: { type: "text" } }),
  }],
  ["/icon.svg", {
    type: "image/svg+xml",
    load: () => import("./page/icon.svg", { with: { type: "text" } }),
  }],
  ["/main.js", {
    type: script,
    load: () => import("./page/main.js", { with: { type: "text" } }),
  }],
  ["/elements.js", {
    type: script,
    load: () => import("./page/elements.js", { with: { type: "text" } }),
  }],
  ["/chart.js", {
    type: script,
    load: () => import("./page/chart.js", { with: { type: "text" } }),
  }],
  ["/counters.js", {
    type: script,
    load: () => import("./page/counters.js", { with: { type: "text" } }),
  }],
  ["/flows.js", {
    type: script,
    load: () => import("./page/flows.js", { with: { type: "text" } }),
  }],
  ["/upcalls.js", {
    type: script,
    load: () => import("./page/upcalls.js", { with: { type: "text" } }),
  }],
  ["/lists.js", {
    type: script,
    load: () => import("./page/lists.js", { with: { type: "text" } }),
  }],
]);
