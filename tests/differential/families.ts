// SPDX-License-Identifier: Apache-2.0
/**
 * Cases at random: a frame, and flows that make of it what their actions say. Headers come and go
 * in front of it (Ethernet, service headers, labels, tags), lists branch, and packets are looked up
 * again by the key that they have then.
 *
 * The same seed gives the same cases. What is known to differ from Open vSwitch, or to end it, is
 * not among them: `actions_test.ts`, `edges.ts` and `families_test.ts` have it one by one.
 *
 * @module
 */
import { tagged, udpFrame } from "../support/frames.ts";
import { type Random, random, randomBytes } from "../support/random.ts";
import {
  ARP,
  copyOf,
  frames,
  hex,
  IPV4,
  IPV6,
  keyText,
  mac,
  MPLS,
  NSH,
  type State,
  stateOf,
} from "./family_state.ts";

/** A flow but for its recirculation id, which is another for each case. */
export interface CaseFlow {
  readonly round: number;
  readonly key: string;
  /** `recirc(<2>)` stands for the id of round 2. */
  readonly actions: string;
}

/** One packet, and all flows that it meets. */
export interface FamilyCase {
  readonly seed: number;
  readonly frame: Uint8Array;
  readonly flows: readonly CaseFlow[];
}

/** An action that fits, and what the packet is then. */
type Step = (next: Random, state: State) => string | undefined;

const setEthernet: Step = (next, { header, blind }) =>
  header === "none" || blind
    ? undefined
    : next(2) === 0
    ? `set(eth(src=${mac(next)},dst=${mac(next)}))`
    : "set(eth(dst=02:00:00:00:00:00/ff:00:ff:00:ff:00))";

const setNetwork: Step = (next, { type, sure, placed, labels }) => {
  if (!sure || !placed) return undefined;
  switch (type) {
    case IPV4:
      return next(2) === 0
        ? `set(ipv4(src=1.2.3.${next(256)},dst=9.8.7.6,tos=${hex(next(64) * 4, 2)},ttl=${
          next(256)
        }))`
        : `set(ipv4(src=1.2.0.0/255.255.0.0,tos=0x4/0x4))`;
    case IPV6:
      return next(2) === 0
        ? `set(ipv6(src=::${next(9) + 1},dst=fe80::5,label=0x54321,tclass=0x7c,hlimit=${
          next(256)
        }))`
        : "set(ipv6(src=fe00::/ff00::,tclass=0x3/0x3))";
    case ARP:
      return `set(arp(sip=1.1.1.1,tip=2.2.2.${next(256)},op=${1 + next(2)},sha=${
        mac(next)
      },tha=${mac(next)}))`;
    case MPLS:
      return `set(mpls(label=${next(1 << 20)},tc=${next(8)},ttl=${next(256)},bos=${
        labels[0] ? 1 : 0
      }))`;
    default:
      return undefined;
  }
};

const setService: Step = (next, { type, sure, placed, blind }) => {
  if (type !== NSH || !sure || !placed || blind) return undefined;
  // Where one of the two attributes is missing, Open vSwitch sets what lies on its stack.
  switch (next(3)) {
    case 0:
      return `set(nsh(ttl=${next(64)},spi=${hex(next(1 << 24), 1)},si=${
        next(256)
      },c1=0x1/0x1))`;
    case 1:
      return `set(nsh(flags=${next(2)}/0x1,ttl=${next(16) << 2}/0x3c,c2=${
        hex(next(0x7fffffff), 1)
      }))`;
    default:
      return `set(nsh(si=${next(256)},c1=${hex(next(0x7fffffff), 1)},c4=${
        hex(next(256), 1)
      }/0xff))`;
  }
};

const setTransport: Step = (next, { proto, sure, placed, nd }) => {
  if (!sure || !placed) return undefined;
  if (proto === 6 || proto === 17) {
    const name = proto === 6 ? "tcp" : "udp";
    return next(2) === 0
      ? `set(${name}(src=${next(65536)},dst=${next(65536)}))`
      : `set(${name}(src=${next(256)}/0xff))`;
  }
  if (proto === 1) return `set(icmp(type=${next(256)},code=${next(256)}))`;
  return nd && next(2) === 0 ? `set(nd(target=fe80::${next(99) + 1}))` : undefined;
};

const setMetadata: Step = (next, state) => {
  const value = hex(1 + next(1 << 30), 1);
  if (next(2) === 0) {
    state.mark = value;
    return `set(skb_mark(${value}))`;
  }
  state.priority = value;
  return `set(skb_priority(${value}))`;
};

const pushVlan: Step = (next, state) => {
  if (state.header === "none" || state.tags.length > 1 || state.type === 0) {
    return undefined;
  }
  const tag = { tpid: next(2) === 0 ? 0x8100 : 0x88a8, vid: next(4096), pcp: next(8) };
  state.tags.unshift(tag);
  return `push_vlan(tpid=${hex(tag.tpid)},vid=${tag.vid},pcp=${tag.pcp})`;
};

const popVlan: Step = (_, state) => {
  if (state.header === "none" || state.blind) return undefined;
  state.tags.shift();
  return "pop_vlan";
};

const pushMpls: Step = (next, state) => {
  const { header, type, labels, placed } = state;
  if (header === "none" || !placed || type === NSH || labels.length > 2) return undefined;
  if (type !== MPLS) state.inner.push(copyOf(state));
  state.labels.unshift(type !== MPLS);
  state.type = MPLS;
  state.proto = undefined;
  state.nd = false;
  const bos = state.labels[0] ? 1 : 0;
  return `push_mpls(label=${next(1 << 20)},tc=${next(8)},ttl=${
    next(256)
  },bos=${bos},eth_type=0x8847)`;
};

const popMpls: Step = (_, state) => {
  const { type, labels, sure } = state;
  if (type !== MPLS || !sure || !state.placed) return undefined;
  if (!labels[0]) {
    if (labels.length < 2) return undefined;
    labels.shift();
    return "pop_mpls(eth_type=0x8847)";
  }
  const below = state.inner.pop();
  labels.shift();
  // Below a frame's own label there is anything.
  if (below === undefined) {
    Object.assign(state, {
      type: 0x88b5,
      proto: undefined,
      nd: false,
      sure: false,
      placed: false,
    });
    return "pop_mpls(eth_type=0x88b5)";
  }
  const { header, tags, mark, priority } = state;
  const now = { mark, priority, sure: false, placed: false };
  if (below.whole && below.header === "ethernet") {
    if (header === "none") Object.assign(state, copyOf(below), now);
    else Object.assign(state, { type: 0x6558, proto: undefined, nd: false, ...now });
    return "pop_mpls(eth_type=0x6558)";
  }
  Object.assign(state, copyOf(below), now, { header, tags });
  return `pop_mpls(eth_type=${hex(below.type)})`;
};

const popEth: Step = (_, state) => {
  if (state.header === "none" || state.type === 0 || !state.placed || !state.sure) {
    return undefined;
  }
  state.header = "none";
  state.tags = [];
  return "pop_eth";
};

const pushEth: Step = (next, state) => {
  if (state.header !== "none") return undefined;
  state.header = "ethernet";
  state.tags = [];
  return `push_eth(src=${mac(next)},dst=${mac(next)})`;
};

const addMpls: Step = (next, state) => {
  if (state.type === NSH || state.labels.length > 0) return undefined;
  // What is behind it is a frame, or a packet of that type.
  state.inner.push({ ...copyOf(state), whole: true });
  Object.assign(state, {
    header: "none",
    tags: [],
    type: MPLS,
    proto: undefined,
    nd: false,
  });
  Object.assign(state, { labels: [true], sure: true, placed: false });
  return `add_mpls(label=${next(1 << 20)},tc=${next(8)},ttl=${
    next(256)
  },bos=1,eth_type=0x8847)`;
};

const pushNsh: Step = (next, state) => {
  const { header, type } = state;
  if (header === "none" && ![IPV4, IPV6, NSH].includes(type)) return undefined;
  if (state.inner.length > 3) return undefined;
  state.inner.push(copyOf(state));
  Object.assign(state, {
    header: "none",
    tags: [],
    type: NSH,
    proto: undefined,
    nd: false,
  });
  Object.assign(state, { labels: [], sure: true, placed: true, blind: false });
  const base = `flags=${next(4)},ttl=${next(64)},spi=${hex(next(1 << 24), 1)},si=${
    next(256)
  }`;
  if (next(2) === 0) {
    const contexts = [1, 2, 3, 4].map((n) => `c${n}=${hex(next(0x7fffffff), 1)}`);
    return `push_nsh(${base},mdtype=1,np=${next(9)},${contexts.join()})`;
  }
  const md2 = randomBytes(next, 4 * (1 + next(60))).toHex();
  return `push_nsh(${base},mdtype=2,np=${next(9)},md2=0x${md2})`;
};

const popNsh: Step = (_, state) => {
  if (state.type !== NSH || state.header !== "none" || state.blind) return undefined;
  const below = state.inner.pop();
  if (below === undefined) return undefined;
  const { mark, priority } = state;
  Object.assign(state, copyOf(below), {
    mark,
    priority,
    sure: false,
    placed: false,
    blind: true,
  });
  return "pop_nsh()";
};

const output: Step = (next) => `${2 + next(2)}`;

const cut: Step = (next) => `trunc(${14 + next(90)}),${2 + next(2)}`;

/** A list of its own, of which nothing is left outside. */
const branch: Step = (next, state) => {
  const inside = () => list(next, copyOf(state), 1 + next(3), 1).join() || "2";
  switch (next(4)) {
    case 0:
      return `clone(${inside()},${2 + next(2)})`;
    case 1:
      return `sample(sample=100%,actions(${inside()},3))`;
    case 2:
      return `sample(sample=0%,actions(${inside()},3))`;
    default:
      return `check_pkt_len(size=${20 + next(120)},gt(${inside()},2),le(${inside()},3))`;
  }
};

const changes: readonly Step[] = [
  output,
  output,
  cut,
  setEthernet,
  setNetwork,
  setNetwork,
  setTransport,
  setService,
  setService,
  setMetadata,
  pushVlan,
  popVlan,
  pushMpls,
  popMpls,
  popEth,
  popEth,
  pushEth,
  pushEth,
  addMpls,
  pushNsh,
  popNsh,
  popNsh,
  branch,
];

function list(next: Random, state: State, length: number, depth: number): string[] {
  const actions: string[] = [];
  for (let tries = 0; actions.length < length && tries < 60; tries++) {
    const step = changes[next(changes.length)] as Step;
    if (step === branch && depth > 2) continue;
    const text = step(next, state);
    if (text !== undefined) actions.push(text);
  }
  return actions;
}

/** Case number `seed`; frames are told apart by their destination. */
export function familyCase(seed: number): FamilyCase {
  const next = random(Math.imul(seed + 1, 0x9e3779b1));
  for (let i = 0; i < 8; i++) next(2); // A small seed has few bits to begin with.
  const frame = (frames[next(frames.length)] as Uint8Array).slice();
  const state = stateOf(frame);
  const flows: CaseFlow[] = [];
  let key = keyText(state) as string;
  for (let round = 0; round < 4; round++) {
    const actions = list(next, state, 1 + next(5), 0);
    const again = next(3) > 0 && round < 3 ? keyText(state) : undefined;
    if (again !== undefined) actions.push(`recirc(<${round + 1}>)`);
    else if (state.header === "none" && next(4) > 0) {
      actions.push(pushEth(next, state) as string, "2");
    } else actions.push("2");
    flows.push({ round, key, actions: actions.join() });
    // Without a flow for it the packet goes up.
    if (again === undefined || next(8) === 0) break;
    key = again;
    Object.assign(state, { sure: true, placed: true, blind: false });
  }
  return { seed, frame, flows };
}

/** A case that comes out otherwise here, and why. */
export interface FamilyDifference {
  readonly reason: string;
  readonly frame: Uint8Array;
  readonly actions: string;
  /** Frames that leave here, by port 2. */
  readonly ours: readonly string[];
}

const plain = udpFrame();
const tagFrame = tagged(plain, 0x2064);
const header = "push_nsh(mdtype=1,np=3)";
const again =
  "a packet is what it is, looked up again or not; Open vSwitch sees no header behind pop_nsh";
const readdressed = `020000000009${plain.toHex().slice(12)}`;

/** What is not among the cases at random, because it is known. */
export const familyDifferences: readonly FamilyDifference[] = [
  {
    reason: again,
    frame: plain,
    actions: `${header},pop_nsh(),set(eth(dst=02:00:00:00:00:09/ff:ff:ff:ff:ff:ff)),2`,
    ours: [readdressed],
  },
  {
    reason: again,
    frame: tagFrame,
    actions: `${header},pop_nsh(),pop_vlan,2`,
    ours: [plain.toHex()],
  },
  {
    reason: again,
    frame: plain,
    actions: `${header},${header},pop_nsh(),pop_nsh(),2`,
    ours: [plain.toHex()],
  },
  {
    reason:
      "a label before a packet without Ethernet header makes it one of MPLS, as in the kernel; Open vSwitch leaves its type",
    frame: plain,
    actions:
      "pop_eth,push_mpls(label=5,tc=0,ttl=9,bos=1,eth_type=0x8847),push_eth(src=02:00:00:00:00:01,dst=02:00:00:00:00:02),2",
    ours: [`0200000000020200000000018847${"00005109"}${plain.subarray(14).toHex()}`],
  },
];
