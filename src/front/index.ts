/**
 * What the process shows of itself: the first page, the stylesheet, the probes and the metrics. It owns no data; what it
 * shows is handed over in app.ts.
 */
export { clientLine, type HomeView, mcpUrl } from "./home.ts";
export { type CallMetric, Metrics } from "./metrics.ts";
export { type FrontParts, frontRoutes } from "./routes.ts";
