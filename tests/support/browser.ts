// SPDX-License-Identifier: Apache-2.0
/**
 * Chromium for tests of pages, driven over the DevTools protocol: opened, asked, photographed.
 *
 * @module
 */
import { Unsupported } from "./skip.ts";
import { findProgram } from "./skip.ts";
import { patienceMs, until } from "./wait.ts";

interface Answer {
  readonly id?: number;
  readonly sessionId?: string;
  readonly method?: string;
  readonly params?: Readonly<Record<string, unknown>>;
  readonly result?: Readonly<Record<string, unknown>>;
  readonly error?: { readonly message: string };
}

/** A browser with a profile of its own. Disposing of it ends it. */
export class Browser implements AsyncDisposable {
  readonly #child: Deno.ChildProcess;
  readonly #profile: string;
  readonly #socket: WebSocket;
  readonly #waiting = new Map<number, (answer: Answer) => void>();
  readonly #listeners = new Set<(answer: Answer) => void>();
  #calls = 0;

  private constructor(child: Deno.ChildProcess, profile: string, socket: WebSocket) {
    this.#child = child;
    this.#profile = profile;
    this.#socket = socket;
    socket.addEventListener("message", ({ data }) => {
      const answer = JSON.parse(data as string) as Answer;
      if (answer.id === undefined) {
        this.#listeners.forEach((listener) => listener(answer));
        return;
      }
      this.#waiting.get(answer.id)?.(answer);
      this.#waiting.delete(answer.id);
    });
  }

  /** Starts it, or throws `Unsupported`. */
  static async start(): Promise<Browser> {
    const program = findProgram("chromium") ?? findProgram("chromium-browser") ??
      findProgram("google-chrome");
    if (program === undefined) {
      throw new Unsupported("program chromium", { requirement: "peer" });
    }
    const profile = await Deno.makeTempDir({ prefix: "upcall-browser-" });
    const child = new Deno.Command(program, {
      args: [
        "--headless=new",
        "--no-sandbox", // Tests may run as root.
        "--remote-debugging-port=0",
        `--user-data-dir=${profile}`,
        "--disable-gpu",
        "--disable-dev-shm-usage",
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-extensions",
        "--disable-sync",
        "--no-first-run",
        "--no-proxy-server",
        "--hide-scrollbars",
        "--force-color-profile=srgb",
        "about:blank",
      ],
      env: { HOME: profile },
      stdin: "null",
      stdout: "null",
      stderr: "null",
    }).spawn();
    try {
      const address = await until("the browser to listen", async () => {
        const text = await Deno.readTextFile(`${profile}/DevToolsActivePort`)
          .catch(() => "");
        const [port, path] = text.split("\n");
        return path ? `ws://127.0.0.1:${port}${path}` : undefined;
      }, { limitMs: 2 * patienceMs });
      const socket = new WebSocket(address);
      await new Promise((resolve, reject) => {
        socket.addEventListener("open", resolve, { once: true });
        socket.addEventListener("error", reject, { once: true });
      });
      return new Browser(child, profile, socket);
    } catch (error) {
      child.kill("SIGKILL");
      await child.status;
      throw error;
    }
  }

  /** Calls a method of the protocol. */
  async call(
    method: string,
    params: Readonly<Record<string, unknown>> = {},
    sessionId?: string,
  ): Promise<Readonly<Record<string, unknown>>> {
    const id = ++this.#calls;
    const { promise, resolve } = Promise.withResolvers<Answer>();
    this.#waiting.set(id, resolve);
    this.#socket.send(JSON.stringify({ id, method, params, sessionId }));
    const { result, error } = await promise;
    if (error !== undefined) throw new Error(`${method}: ${error.message}`);
    return result ?? {};
  }

  /** Hears what the protocol tells by itself. */
  listen(listener: (answer: Answer) => void): void {
    this.#listeners.add(listener);
  }

  /** A page of its own, at an address. */
  async open(
    url: string,
    { width = 1280, height = 900, dark = false } = {},
  ): Promise<BrowserPage> {
    const { targetId } = await this.call("Target.createTarget", { url: "about:blank" });
    const { sessionId } = await this.call("Target.attachToTarget", {
      targetId,
      flatten: true,
    });
    const page = new BrowserPage(this, sessionId as string, targetId as string);
    await page.begin({ width, height, dark });
    await page.go(url);
    return page;
  }

  /** Ends it. */
  async [Symbol.asyncDispose](): Promise<void> {
    const closed = new Promise((resolve) =>
      this.#socket.addEventListener("close", resolve, { once: true })
    );
    await this.call("Browser.close").catch(() => {});
    const late = setTimeout(() => this.#child.kill("SIGKILL"), 5000);
    await this.#child.status;
    clearTimeout(late);
    this.#socket.close();
    await closed;
    // Helpers of the browser may write a moment longer.
    await until(
      "the profile to go",
      () => Deno.remove(this.#profile, { recursive: true }).then(() => true, () => false),
    );
  }
}

/** A page of a browser. */
export class BrowserPage {
  readonly #browser: Browser;
  readonly #session: string;
  readonly #target: string;
  /** What the page complained of: errors of scripts, refusals by its policy, failed requests. */
  readonly complaints: string[] = [];
  /** Addresses that it asked for. */
  readonly requests: string[] = [];

  /** Made by `Browser.open`. */
  constructor(browser: Browser, session: string, target: string) {
    this.#browser = browser;
    this.#session = session;
    this.#target = target;
    browser.listen(({ sessionId, method, params = {} }) => {
      if (sessionId === session) this.#hear(method ?? "", params);
    });
  }

  #hear(method: string, params: Readonly<Record<string, unknown>>): void {
    if (method === "Runtime.exceptionThrown") {
      const { exceptionDetails } = params as {
        exceptionDetails: { text: string; exception?: { description?: string } };
      };
      const { text, exception } = exceptionDetails;
      this.complaints.push(`${text} ${exception?.description ?? ""}`);
    } else if (method === "Log.entryAdded") {
      const { entry } = params as {
        entry: { level: string; text: string; url?: string };
      };
      if (entry.level === "error") {
        this.complaints.push(`${entry.text} ${entry.url ?? ""}`);
      }
    } else if (method === "Network.requestWillBeSent") {
      this.requests.push((params as { request: { url: string } }).request.url);
    }
  }

  /** Calls a method of the protocol for this page. */
  call(
    method: string,
    params: Readonly<Record<string, unknown>> = {},
  ): Promise<Readonly<Record<string, unknown>>> {
    return this.#browser.call(method, params, this.#session);
  }

  /** Called by `Browser.open`. */
  async begin(
    options: { width: number; height: number; dark: boolean },
  ): Promise<void> {
    for (const domain of ["Page", "Runtime", "Log", "Network"]) {
      await this.call(`${domain}.enable`);
    }
    await this.show(options);
  }

  /** Gives it a size and a colour scheme. */
  async show(
    { width, height, dark }: { width: number; height: number; dark: boolean },
  ): Promise<void> {
    // As of a window that is in front: without that, nothing shows that it has the focus.
    await this.call("Emulation.setFocusEmulationEnabled", { enabled: true });
    await this.call("Emulation.setDeviceMetricsOverride", {
      width,
      height,
      deviceScaleFactor: 1,
      mobile: false,
    });
    await this.call("Emulation.setEmulatedMedia", {
      features: [
        { name: "prefers-color-scheme", value: dark ? "dark" : "light" },
        { name: "prefers-reduced-motion", value: "reduce" },
      ],
    });
  }

  /**
   * Goes to an address and waits until the document is there; again, where other tests made or
   * removed devices meanwhile, for that ends what Chromium fetches.
   */
  async go(url: string): Promise<void> {
    const isOfOthers = (complaint: string): boolean =>
      complaint.includes("ERR_NETWORK_CHANGED");
    for (let tries = 1;; tries++) {
      const before = this.complaints.length;
      const { errorText } = await this.call("Page.navigate", { url });
      if (errorText !== undefined && !isOfOthers(`${errorText}`)) {
        throw new Error(`${url}: ${errorText}`);
      }
      await until(
        `${url} to load`,
        () => this.run<boolean>("document.readyState === 'complete'"),
      );
      const fresh = this.complaints.splice(before);
      this.complaints.push(...fresh.filter((one) => !isOfOthers(one)));
      if (errorText === undefined && !fresh.some(isOfOthers)) return;
      if (tries === 10) throw new Error(`${url}: devices come and go all the time`);
    }
  }

  /** The value of an expression in the page; promises are awaited. */
  async run<T>(expression: string): Promise<T> {
    const { result, exceptionDetails } = await this.call("Runtime.evaluate", {
      expression,
      awaitPromise: true,
      returnByValue: true,
    }) as {
      result: { value: T };
      exceptionDetails?: { text: string; exception?: { description?: string } };
    };
    if (exceptionDetails !== undefined) {
      const { text, exception } = exceptionDetails;
      throw new Error(`${expression}: ${text} ${exception?.description ?? ""}`);
    }
    return result.value;
  }

  /** Waits until an expression is true, or gives something. */
  until<T>(
    what: string,
    expression: string,
    options: { limitMs?: number } = {},
  ): Promise<T> {
    return until(what, () => this.run<T>(expression), {
      ...options,
      state: () => this.complaints.join("; "),
    }) as Promise<T>;
  }

  /** Presses and lets go of a key. */
  async press(key: string, { text = "", code = 0 } = {}): Promise<void> {
    const common = { key, windowsVirtualKeyCode: code, ...(text !== "" && { text }) };
    await this.call("Input.dispatchKeyEvent", { type: "keyDown", ...common });
    await this.call("Input.dispatchKeyEvent", { type: "keyUp", ...common });
  }

  /** A picture, PNG. */
  async photograph(): Promise<Uint8Array<ArrayBuffer>> {
    const { data } = await this.call("Page.captureScreenshot", { format: "png" });
    return Uint8Array.fromBase64(data as string);
  }

  /** Closes it. */
  async close(): Promise<void> {
    await this.#browser.call("Target.closeTarget", { targetId: this.#target });
  }
}
