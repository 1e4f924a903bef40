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
  readonly #calls;
  readonly #duration;

  constructor() {
    this.#provider = new MeterProvider({ readers: [this.#exporter] });
    const meter = this.#provider.getMeter("postern");
    this.#calls = meter.createCounter("tool_calls", { description: "Tool calls by outcome" });
    this.#duration = meter.createHistogram("tool_call_duration", {
      description: "Time of a tool call through the gateway",
      unit: "ms",
      advice: {
        explicitBucketBoundaries: [1, 2, 5, 10, 25, 50, 100, 250, 500, 1000, 2500, 5000, 10_000, 30_000],
      },
    });
  }

  recordCall({ outcome, durationMs }: CallMetric): void {
    this.#calls.add(1, { outcome });
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
