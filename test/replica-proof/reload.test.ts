import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { Chance } from "../days/chance.ts";
import { SimulatedService } from "../days/service.ts";
import { addUpstream } from "../days/upstream.ts";
import { Management } from "../journeys/steps/management.ts";
import { Administrator } from "../journeys/steps/person.ts";
import { adminToken, type RunningGateway, startGateway } from "../support/gateway.ts";
import { BeginAgain, consent, renew } from "./consent.ts";
import { CuttingProxy } from "./cutting-proxy.ts";
import { Visitor } from "./visitor.ts";

let proxy: CuttingProxy;
let service: SimulatedService;
let gateway: RunningGateway;
let someone: () => Promise<string>;

beforeAll(async () => {
  proxy = await CuttingProxy.open();
  const weather = { lost: 0, failing: 0, early: 0 };
  const shape = { name: "docs", rotation: "tolerates", life: 3600 } as const;
  service = await SimulatedService.start(shape, () => Date.now(), new Chance(1), weather);
  gateway = await startGateway({
    outboundAllow: [service.host],
    configure: ({ settings, limits }) => {
      settings.baseUrl = new URL(proxy.origin);
      // One address makes all of this.
      for (const limit of Object.values(limits)) limit.requests = 10_000;
    },
  });
  proxy.point(gateway.url);
  const admin = new Management(proxy.origin, adminToken);
  const operator = new Administrator();
  await operator.setUp((await gateway.gateway.setupLink())!);
  const id = await addUpstream(admin, operator, service);
  await operator.close();
  let people = 0;
  // Somebody who has connected nothing yet.
  someone = async () => (await admin.createKey(`someone-${++people}`, [id])).value;
});

afterAll(async () => {
  await gateway.stop();
  await service.close();
  await proxy.close();
});

describe("a consent in which one answer is lost, and the person loads the page again", () => {
  const steps = [
    "POST /api/oauth/per-user/register",
    "GET /api/oauth/per-user/authorize",
    "GET /oauth/consent",
    "POST /api/oauth/per-user/consent/vk",
    "GET /oauth/consent/mcps",
    "GET /api/oauth/per-user/upstream/authorize",
    "GET callback",
  ];

  it.each(steps)("goes on after %s", async (step) => {
    const visitor = new Visitor();
    service.account = "someone";
    proxy.passed.length = 0;
    if (step === "GET callback") {
      await consent(proxy.origin, await someone(), visitor);
      const callback = proxy.passed.find((one) => one.startsWith("GET /api/oauth/callback"))!;
      proxy.cutNext(callback);
    } else proxy.cutNext(step);
    const tokens = await consent(proxy.origin, await someone(), visitor);
    expect(proxy.isDone).toBe(true);
    expect(tokens.access).toMatch(/^pst_/);
    await visitor.close();
  });

  it.each(["POST /api/oauth/per-user/consent/submit", "POST /api/oauth/per-user/token"])(
    "begins again when the one answer of %s is lost, and then is as good as ever",
    async (step) => {
      const visitor = new Visitor();
      const key = await someone();
      proxy.cutNext(step);
      await expect(consent(proxy.origin, key, visitor)).rejects.toThrow(BeginAgain);
      const signIns = service.tally.signIns;
      const tokens = await consent(proxy.origin, key, visitor);
      expect(tokens.access).toMatch(/^pst_/);
      // What was connected before was kept.
      expect(service.tally.signIns).toBe(signIns);
      proxy.cutNext("POST /api/oauth/per-user/token");
      expect((await renew(proxy.origin, tokens)).access).toMatch(/^pst_/);
      expect(proxy.isDone).toBe(true);
      await visitor.close();
    },
  );
});
