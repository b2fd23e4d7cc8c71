// SPDX-License-Identifier: Apache-2.0
/**
 * The page: listens to the server, pauses, and knows keys.
 */
import { Counters } from "./counters.js";
import { byId, setText } from "./elements.js";
import { Flows } from "./flows.js";
import { Connections, Meters, Policy } from "./lists.js";
import { Upcalls } from "./upcalls.js";

const counters = new Counters();
const upcalls = new Upcalls();
const flows = new Flows();
const lists = [flows, new Connections(), new Meters(), new Policy()];
let events;

function say(state, text) {
  const live = byId("live");
  live.dataset.state = state;
  setText(live, text);
}

function listen() {
  const source = events = new EventSource("api/events");
  const on = (name, take) =>
    source.addEventListener(name, ({ data }) => take(JSON.parse(data)));
  on("status", (status) => {
    counters.update(status);
    say("live", "live");
  });
  on("upcalls", (seen) => upcalls.add(seen));
  on("trouble", ({ reason }) => say("trouble", reason));
  on("gone", ({ reason }) => {
    source.close();
    say("trouble", reason);
  });
  source.onerror = () => {
    if (byId("live").textContent.startsWith("the datapath")) return;
    if (source.readyState === EventSource.CLOSED) {
      say("trouble", "refused: open the page anew");
    } else say("trouble", "no answer; trying again …");
  };
}

const pause = byId("pause");
function setPaused(paused) {
  pause.setAttribute("aria-pressed", `${paused}`);
  setText(pause, paused ? "Go on" : "Pause");
  for (const { looker } of lists) {
    looker.paused = paused;
    if (!paused) looker.now();
  }
  events.close();
  if (paused) say("paused", "paused");
  else {
    say("", "connecting …");
    listen();
  }
}

pause.addEventListener("click", () => {
  setPaused(pause.getAttribute("aria-pressed") !== "true");
});
document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  const { target } = event;
  const isTyping = target instanceof HTMLInputElement;
  if (isTyping && event.key === "Escape") target.blur();
  if (isTyping || byId("explained").open) return;
  if (event.key === "p") pause.click();
  else if (event.key === "/") {
    event.preventDefault();
    flows.focus();
  }
});
listen();
