import { expect, it } from "vitest";
import { onBothDatabases } from "../../test/support/databases.ts";
import { Clock, openLog } from "../base/index.ts";
import { followClock } from "./index.ts";

onBothDatabases("the clock of the database", (open, kind) => {
  it("AV-11 is what replicas go by, and a system clock that differs is named in the log", async () => {
    const { database } = await open();
    const lines: string[] = [];
    const log = openLog("warn", { write: (line) => void lines.push(line) });
    const clock = new Clock();
    await followClock(database, clock, { log, system: () => Date.now() + 3600_000 });
    if (kind === "sqlite") {
      expect(clock.now()).toBeUndefined();
      expect(lines).toEqual([]);
      return;
    }
    expect(Math.abs(clock.now()!.getTime() - Date.now())).toBeLessThan(60_000);
    expect(JSON.parse(lines[0]!)).toMatchObject({ msg: "clock.differs" });
    expect(lines.length).toBe(1);
    await followClock(database, clock, { log, system: () => clock.now()!.getTime() });
    expect(lines.length).toBe(1);
  });
});
