// SPDX-License-Identifier: Apache-2.0
/** Examples that track connections, on the kernel's datapath. */
import { openDatapath } from "../../mod.ts";
import {
  firewall,
  loadBalancer,
  natGateway,
  type Place,
} from "../conformance/scenarios/gateways.ts";
import { systemTest } from "./system.ts";

const place: Place = {
  provider: "system",
  prefix: "gs",
  async remove(name) {
    const dp = await openDatapath(name);
    await dp.destroy();
    await dp.close();
  },
};

systemTest("firewall.ts lets connections begin inside only", () => firewall(place));
systemTest(
  "nat_gateway.ts gives hosts one address, for FTP too",
  () => natGateway(place),
);
systemTest(
  "load_balancer.ts leaves connections where they are",
  () => loadBalancer(place),
);
