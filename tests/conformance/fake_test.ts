// SPDX-License-Identifier: Apache-2.0
import { openDatapath, registerProvider } from "../../providers/registry.ts";
import { fakeProvider } from "../support/fake_provider.ts";
import type { Environment } from "./environment.ts";
import { conformance } from "./suite.ts";

registerProvider(fakeProvider());

const environment: Environment = {
  type: "fake",
  differences: new Set(["prerequisites", "lostIsMissedToo", "outputOnly"]),
  create: (name) => openDatapath(`fake@${name}`, { create: "exclusive" }),
  addPort: async (dp, name) => (await dp.ports.add({ name, type: "dummy" })).no,
  inject: (dp, port, frame) => dp.ports.inject?.(port, frame),
  // deno-lint-ignore require-await -- others have to wait
  collect: async (dp, port) => {
    const frames: Uint8Array[] = [];
    for (;;) {
      const frame = dp.ports.collect?.(port);
      if (frame === undefined) return frames;
      frames.push(frame);
    }
  },
  settle: () => Promise.resolve(),
};

conformance("fake", () => environment);
