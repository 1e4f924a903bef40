import { defineConfig } from "vitest/config";

export default defineConfig({
  test: {
    include: ["src/**/*.test.ts", "test/**/*.test.ts", "bench/**/*.test.ts"],
    setupFiles: ["test/support/secret-scan.ts"],
    globalSetup: ["test/postgres/global-setup.ts"],
    testTimeout: 30_000,
    hookTimeout: 60_000,
    maxWorkers: 2,
    // Not how long something takes, but that it comes about: a busy machine must not decide.
    expect: { poll: { interval: 20, timeout: 15_000 } },
  },
});
