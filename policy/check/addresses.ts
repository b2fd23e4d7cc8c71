// SPDX-License-Identifier: Apache-2.0
/**
 * Addresses at random, half of them near those that a policy treats in a special way.
 *
 * @module
 */
import {
  formatIpv4,
  formatIpv6,
  formatMac,
  parseIpv4,
  parseIpv6,
  parseMac,
} from "../../providers/codec/address.ts";
import type { Random } from "./random.ts";

type Parse = (text: string, from: number, to: Uint8Array, at: number) => number;

function bytesOf(texts: readonly string[], size: number, parse: Parse): Uint8Array[] {
  return texts.map((text) => {
    const bytes = new Uint8Array(size);
    if (parse(text, 0, bytes, 0) === text.length) return bytes;
    throw new SyntaxError(`"${text}" is no address of ${size} bytes`);
  });
}

/** Makes addresses, as keys have them. */
export class Addresses {
  readonly #random: Random;
  readonly #ethernet: readonly Uint8Array[];
  readonly #ipv4: readonly Uint8Array[];
  readonly #ipv6: readonly Uint8Array[];
  readonly #room = new Uint8Array(16);

  /** Draws from `random`, near these. Throws `SyntaxError`. */
  constructor(
    random: Random,
    near: {
      readonly ethernet?: readonly string[];
      readonly ipv4?: readonly string[];
      readonly ipv6?: readonly string[];
    },
  ) {
    const { ethernet = [], ipv4 = [], ipv6 = ["fd00::1"] } = near;
    this.#random = random;
    this.#ethernet = bytesOf(ethernet, 6, parseMac);
    this.#ipv4 = bytesOf(ipv4, 4, parseIpv4);
    this.#ipv6 = bytesOf(ipv6, 16, parseIpv6);
  }

  #draw(near: readonly Uint8Array[], size: number): Uint8Array {
    const [random, bytes] = [this.#random, this.#room];
    if (near.length === 0 || random(4) === 0) {
      for (let i = 0; i < size; i++) bytes[i] = random(256);
    } else bytes.set(near[random(near.length)] as Uint8Array);
    if (random(2) === 0) {
      const at = random(8 * size);
      bytes[at >> 3] = (bytes[at >> 3] as number) ^ 1 << (at & 7);
    }
    return bytes;
  }

  ethernet(): string {
    return formatMac(this.#draw(this.#ethernet, 6), 0);
  }

  ipv4(): string {
    return formatIpv4(this.#draw(this.#ipv4, 4), 0);
  }

  ipv6(): string {
    return formatIpv6(this.#draw(this.#ipv6, 16), 0);
  }
}
