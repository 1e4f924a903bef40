import { expect, test } from "vitest";
import { mainJob } from "./steps/main-job.ts";
import { startPeers } from "./steps/peers.ts";
import { journeys } from "./steps/stage.ts";

journeys("the main job", (stage) => {
  test("runs from an empty gateway to a revoked session, each step verified", async () => {
    const peers = stage.keep(await startPeers());
    const gateway = await stage.gateway(peers.allow);
    const sentences: string[] = [];
    for await (const sentence of mainJob(gateway, peers)) sentences.push(sentence);
    expect(sentences).toHaveLength(14);
  });
});
