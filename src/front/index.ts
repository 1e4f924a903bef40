/**
 * What the process shows of itself: the first page, the stylesheet, the probes and the metrics; and the settings that
 * change while it runs, the only data it owns. What else it shows is handed over in app.ts.
 */
export { clientLine, type HomeView, mcpUrl } from "./home.ts";
export { type CallMetric, Metrics } from "./metrics.ts";
export { type FrontParts, frontRoutes } from "./routes.ts";
export { RunningSettings } from "./running-settings.ts";
export { clientSettings, limitSetting } from "./setting-list.ts";
export { settingRoutes } from "./setting-routes.ts";
