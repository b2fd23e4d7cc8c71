// SPDX-License-Identifier: Apache-2.0
/**
 * The same metrics by Deno's own OpenTelemetry, when OTEL_DENO turns it on.
 *
 * @module
 */
import type { Datapath } from "../providers/datapath.ts";
import { DatapathError } from "../providers/errors.ts";
import { type Family, metricFamilies } from "../control/metrics.ts";
import { version } from "../control/version.ts";

/** What is used of OpenTelemetry's API, which Deno leaves untyped. */
interface Observable {
  addCallback(callback: (result: Observation) => void): void;
  removeCallback(callback: (result: Observation) => void): void;
}
interface Observation {
  observe(value: number, labels: Readonly<Record<string, string | number>>): void;
}
interface Meter {
  createObservableCounter(name: string, options: { description: string }): Observable;
  createObservableGauge(name: string, options: { description: string }): Observable;
}

/** Whether this program was started with OpenTelemetry. */
function isOn(): boolean {
  return ["1", "true"].includes(Deno.env.get("OTEL_DENO") ?? "");
}

/** Samples of a metric; none when the datapath has gone. */
function samplesOf(dp: Datapath, name: string): Family["samples"] {
  if (dp.closed) return [];
  try {
    return metricFamilies([dp]).find((family) => family.name === name)?.samples ?? [];
  } catch (error) {
    if (error instanceof DatapathError) return [];
    throw error;
  }
}

/** Exports the metrics of a datapath until it is disposed of; does nothing without OTEL_DENO. */
export function exportMetrics(dp: Datapath): Disposable {
  const registered: (() => void)[] = [];
  if (isOn()) {
    const meter = Deno.telemetry.meterProvider.getMeter("upcall", version) as Meter;
    for (const { name, type, help } of metricFamilies([dp])) {
      const observable = type === "counter"
        ? meter.createObservableCounter(name, { description: help })
        : meter.createObservableGauge(name, { description: help });
      const callback = (result: Observation): void => {
        for (const { labels, value } of samplesOf(dp, name)) {
          result.observe(Number(value), labels);
        }
      };
      observable.addCallback(callback);
      registered.push(() => observable.removeCallback(callback));
    }
  }
  return {
    [Symbol.dispose]: () => registered.splice(0).forEach((unregister) => unregister()),
  };
}
