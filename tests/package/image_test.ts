// SPDX-License-Identifier: Apache-2.0
/** The image that `deno task image` made starts, and forwards between two hosts. */
import assert from "node:assert/strict";
import { run, tryRun } from "../support/command.ts";
import { figure } from "../support/figure.ts";
import {
  findProgram,
  needProgram,
  needRoot,
  skippable,
  Unsupported,
} from "../support/skip.ts";

const image = Deno.env.get("UPCALL_IMAGE") ?? "localhost/upcall";

/**
 * How the image is run in the network of the caller: by podman, or as a tree of files where the
 * machine is too odd for its runtime.
 */
async function runner(): Promise<{ readonly words: string[]; end(): Promise<void> }> {
  const caps = ["--cap-add", "CAP_NET_ADMIN", "--cap-add", "CAP_NET_RAW"];
  if (findProgram("podman") !== undefined) {
    const words = ["podman", "run", "--rm", "--network", "host", ...caps, image];
    if ((await tryRun(...words, "--version")).code === 0) {
      return { words, end: () => Promise.resolve() };
    }
  }
  if (findProgram("buildah") !== undefined) {
    const { code, stdout } = await tryRun("buildah", "from", "--pull-never", image);
    const name = stdout.trim();
    if (code === 0) {
      const entry = JSON.parse(await run("buildah", "inspect", "--type", "image", image));
      const [program = ""] = entry.OCIv1.config.Entrypoint as string[];
      const words = [
        "buildah",
        "run",
        "--isolation",
        "chroot",
        ...caps,
        name,
        "--",
        program,
      ];
      return { words, end: async () => void await run("buildah", "rm", name) };
    }
  }
  throw new Unsupported(`image ${image} that an engine here starts (deno task image)`, {
    requirement: "tool",
  });
}

/** Two hosts in namespaces, and the image between them: in a network and mounts of its own. */
const script = String.raw`
mount -t tmpfs tmpfs /run/netns 2> /dev/null || { mkdir -p /run/netns; mount -t tmpfs tmpfs /run/netns; }
ip link set lo up
for host in 1 2; do
  ip netns add "h$host"
  ip link add "p$host" type veth peer name eth0 netns "h$host"
  ip link set "p$host" up
  ip -n "h$host" addr add "10.9.0.$host/24" dev eth0
  ip -n "h$host" link set eth0 up
done
log=$1; shift
"$@" serve netdev@br0 p1 p2 --miss learn > "$log" 2>&1 &
server=$!
trap 'kill "$server" 2> /dev/null || true; wait "$server" || true; cat "$log"' EXIT
until grep -q '|serving ' "$log"; do kill -0 "$server"; sleep 0.1; done
until ip netns exec h1 ping -q -c 1 -W 1 10.9.0.2 > /dev/null; do kill -0 "$server"; done
ip netns exec h1 ping -c 3 -W 5 10.9.0.2
`;

Deno.test(
  "the image starts, and forwards between two hosts",
  skippable(async () => {
    needRoot("netdev");
    needProgram("ping", { requirement: "peer" });
    const { words, end } = await runner();
    const log = await Deno.makeTempFile({ prefix: "upcall-image-" });
    try {
      const started = performance.now();
      const inside = [
        "unshare",
        "--net",
        "--mount",
        "timeout",
        "120",
        "sh",
        "-euc",
        script,
      ];
      const { code, stdout, stderr } = await tryRun(...inside, "sh", log, ...words);
      assert.equal(code, 0, stdout + stderr);
      assert.match(stdout, /3 received, 0% packet loss/);
      assert.match(stdout, /serving netdev@br0/);
      const seconds = ((performance.now() - started) / 1000).toFixed(1);
      figure(`image: started and three pings forwarded in ${seconds} s by ${words[0]}`);
    } finally {
      await end();
      await Deno.remove(log);
    }
  }),
);
