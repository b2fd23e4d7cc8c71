// SPDX-License-Identifier: Apache-2.0
/**
 * Who may ask the dashboard: programs and pages of this machine, and others with the token.
 *
 * Three doors. A `Host` that is a name, but not one that was allowed, is refused: a page of another
 * site that rebinds its own name to this address sends that name. A request that a browser makes
 * for another site is refused by `Origin` and `Sec-Fetch-Site`. And where anybody may connect,
 * nothing is answered without the token. A browser that has shown it holds a cookie for a day;
 * cookies know no ports, so other servers under the same host name see this one.
 *
 * @module
 */
import { createHash, randomBytes, timingSafeEqual } from "node:crypto";

/** A browser need not show the token again for so long: a day, seconds. */
const sessionSeconds = 86_400;
/** Fewest characters of a token: it must not be guessed. */
export const minTokenLength = 16;

/** What every answer says to the browser: nothing from elsewhere, no HTML made of text. */
export const securityHeaders: Readonly<Record<string, string>> = {
  "content-security-policy": [
    "default-src 'none'",
    "script-src 'self'",
    "style-src 'self'",
    "img-src 'self'",
    "connect-src 'self'",
    "base-uri 'none'",
    "form-action 'none'",
    "frame-ancestors 'none'",
    "require-trusted-types-for 'script'",
    "trusted-types 'none'",
  ].join("; "),
  "cache-control": "no-store",
  "cross-origin-opener-policy": "same-origin",
  "cross-origin-resource-policy": "same-origin",
  "referrer-policy": "no-referrer",
  "x-content-type-options": "nosniff",
};

/** What decides which requests the guard lets in. */
export interface GuardOptions {
  /** Address that is listened at. */
  readonly hostname: string;
  /** What others must know; needed where the address is not this machine's alone. */
  readonly token?: string | undefined;
  /** Names that the dashboard is reached by, besides addresses and `localhost`. */
  readonly hosts?: readonly string[] | undefined;
}

/** Whether only this machine can connect to an address. */
export function isLoopback(hostname: string): boolean {
  return hostname === "localhost" || hostname === "::1" ||
    /^127(\.\d{1,3}){3}$/.test(hostname);
}

/** The name or address in a `Host` header, without brackets and port; undefined for nonsense. */
function hostOf(header: string): string | undefined {
  const [, bracketed, plain] = /^(?:\[([0-9a-f:.]+)\]|([^:/?#@\s]+))(?::\d{1,5})?$/i
    .exec(header) ?? [];
  return (bracketed ?? plain)?.toLowerCase();
}

function isAddress(host: string): boolean {
  return /^\d{1,3}(\.\d{1,3}){3}$/.test(host) || host.includes(":");
}

/** Lets requests in, or says why not. */
export class Guard {
  readonly #loopback: boolean;
  readonly #token: Uint8Array | undefined;
  readonly #hosts: ReadonlySet<string>;
  /** What the cookie of a browser holds that has shown the token. */
  readonly #session = randomBytes(32).toString("hex");
  /** Name of the cookie: other dashboards of this host have other ports. */
  #cookie = "upcall";

  /** Throws `TypeError` for an address that others can reach, without a token. */
  constructor({ hostname, token, hosts = [] }: GuardOptions) {
    this.#loopback = isLoopback(hostname);
    if (token === undefined && !this.#loopback) {
      throw new TypeError(
        `Cannot serve the dashboard at ${hostname} without a token: ` +
          "others can reach this address (127.0.0.1 is this machine's alone)",
      );
    }
    if (token !== undefined && token.length < minTokenLength) {
      throw new TypeError(
        `Cannot use a token of ${token.length} characters: it needs ${minTokenLength}`,
      );
    }
    this.#token = token === undefined ? undefined : digest(token);
    this.#hosts = new Set(hosts.map((host) => host.toLowerCase()));
  }

  /** Says which port is listened at. */
  bound(port: number): void {
    this.#cookie = `upcall-${port}`;
  }

  /** Undefined if the request may be answered; else what it is answered. */
  refuse(request: Request): Response | undefined {
    const { headers } = request;
    const header = headers.get("host") ?? "";
    const host = hostOf(header);
    if (host === undefined || !this.#isOurs(host)) {
      return refusal(421, "this name is not one that the dashboard is served under");
    }
    const url = new URL(request.url);
    const isPage = url.pathname === "/" && request.method === "GET";
    if (!isSameSite(headers, header, isPage)) {
      return refusal(403, "another site's page asks");
    }
    return this.#token === undefined ? undefined : this.#checkToken(request, url, isPage);
  }

  #isOurs(host: string): boolean {
    if (host === "localhost" || this.#hosts.has(host)) return true;
    return this.#loopback ? isLoopback(host) : isAddress(host);
  }

  #checkToken(request: Request, url: URL, isPage: boolean): Response | undefined {
    const [, bearer] =
      /^Bearer (\S+)$/i.exec(request.headers.get("authorization") ?? "") ??
        [];
    if (bearer !== undefined) {
      return this.#isToken(bearer) ? undefined : refusal(401, "the token is wrong");
    }
    const given = url.searchParams.get("token");
    if (isPage && given !== null) {
      if (!this.#isToken(given)) return refusal(401, "the token is wrong");
      // The token goes out of the address at once: histories and screens show addresses.
      return new Response(null, {
        status: 303,
        headers: {
          ...securityHeaders,
          location: "./",
          "set-cookie":
            `${this.#cookie}=${this.#session}; Max-Age=${sessionSeconds}; HttpOnly; ` +
            "SameSite=Strict; Path=/",
        },
      });
    }
    const cookies = (request.headers.get("cookie") ?? "").split(/;\s*/);
    const shown = cookies.find((one) => one.startsWith(`${this.#cookie}=`))
      ?.slice(this.#cookie.length + 1);
    if (shown !== undefined && same(digest(shown), digest(this.#session))) {
      return undefined;
    }
    return refusal(401, "a token is needed: open /?token=TOKEN");
  }

  #isToken(text: string): boolean {
    return this.#token !== undefined && same(digest(text), this.#token);
  }
}

/**
 * Whether a request comes from the dashboard's own page, or from no page at all. A link of another
 * site may open the page itself: what it opens it cannot read.
 */
function isSameSite(headers: Headers, host: string, isPage: boolean): boolean {
  const origin = headers.get("origin");
  if (origin !== null && origin !== `http://${host}` && origin !== `https://${host}`) {
    return false;
  }
  const site = headers.get("sec-fetch-site") ?? "none";
  if (site === "none" || site === "same-origin") return true;
  return isPage && headers.get("sec-fetch-mode") === "navigate" &&
    headers.get("sec-fetch-dest") === "document";
}

function refusal(status: number, reason: string): Response {
  return new Response(`upcall dashboard: ${reason}\n`, {
    status,
    headers: { ...securityHeaders, "content-type": "text/plain; charset=utf-8" },
  });
}

function digest(text: string): Uint8Array {
  return createHash("sha256").update(text).digest();
}

function same(a: Uint8Array, b: Uint8Array): boolean {
  return timingSafeEqual(a, b);
}
