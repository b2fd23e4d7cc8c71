// SPDX-License-Identifier: Apache-2.0
/** Examples that track connections, on the userspace datapath. */
import {
  firewall,
  loadBalancer,
  natGateway,
  type Place,
} from "../conformance/scenarios/gateways.ts";
import { NetdevBench } from "../support/netdev.ts";
import { needRoot, skippable } from "../support/skip.ts";

const place: Place = {
  provider: "netdev",
  prefix: "gn",
  remove: () => Promise.resolve(),
};
const bodies = {
  "firewall.ts lets connections begin inside only": firewall,
  "nat_gateway.ts gives hosts one address, for FTP too": natGateway,
  "load_balancer.ts leaves connections where they are": loadBalancer,
};

for (const [name, body] of Object.entries(bodies)) {
  Deno.test(
    `netdev: ${name}`,
    skippable(async () => {
      needRoot("netdev");
      {
        await using _ = await NetdevBench.open(); // Compiles the library, or skips.
      }
      await body(place);
    }),
  );
}
