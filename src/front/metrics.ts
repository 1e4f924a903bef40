import { PrometheusExporter, PrometheusSerializer } from "@opentelemetry/exporter-prometheus";
import { MeterProvider } from "@opentelemetry/sdk-metrics";

/** One finished tool call, as mcp/ tells it. No names of people, keys or upstreams: the metrics are readable by anybody. */
export interface CallMetric {
  outcome: string;
  durationMs: number;
}

/** Counters and durations in the OpenTelemetry API, shown in the Prometheus text format. */
export class Metrics {
  readonly #exporter = new PrometheusExporter({ preventServerStart: true });
  readonly #serializer = new PrometheusSerializer("postern", false, undefined, true);
  readonly #provider: MeterProvider;
  readonly #calls = new Map<string, number>();
  readonly #duration;

  /** `heldTools`: how many definitions of tools wait for an administrator. */
  constructor(read: { heldTools?(): number } = {}) {
    this.#provider = new MeterProvider({ readers: [this.#exporter] });
    const meter = this.#provider.getMeter("postern");
    // Counted here and read when somebody asks: attributes cost more than the sum of a call's own steps.
    meter
      .createObservableCounter("tool_calls", { description: "Tool calls by outcome" })
      .addCallback((observed) => {
        for (const [outcome, calls] of this.#calls) observed.observe(calls, { outcome });
      });
    meter
      .createObservableGauge("held_tool_definitions", {
        description: "Definitions of tools that differ from what was approved and wait for an administrator",
      })
      .addCallback((observed) => observed.observe(read.heldTools?.() ?? 0));
    this.#duration = meter.createHistogram("tool_call_duration", {
      description: "Time of a tool call through the gateway",
      unit: "ms",
      advice: {
        explicitBucketBoundaries: [1, 2, 5, 10, 25, 50, 100, 250, 500, 1000, 2500, 5000, 10_000, 30_000],
      },
    });
  }

  recordCall({ outcome, durationMs }: CallMetric): void {
    this.#calls.set(outcome, (this.#calls.get(outcome) ?? 0) + 1);
    this.#duration.record(durationMs);
  }

  /** The Prometheus text format. */
  async text(): Promise<string> {
    const { resourceMetrics } = await this.#exporter.collect();
    return this.#serializer.serialize(resourceMetrics);
  }

  async close(): Promise<void> {
    await this.#provider.shutdown();
  }
}
