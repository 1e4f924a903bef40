import { sql } from "kysely";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { openapiText } from "../../scripts/openapi.ts";
import type { Database } from "../../src/db/index.ts";
import type { Route } from "../../src/http/index.ts";
import { Contract } from "../contract/document.ts";
import { requiredQuery, sample } from "../contract/inputs.ts";
import { type Answered, type Caller, callers, type House } from "./callers.ts";
import { exceptions, knowsSession, pages } from "./exceptions.ts";
import { exceptionFor, expected, type Verdict } from "./expectation.ts";
import { openHouse } from "./house.ts";
import { harmless, isDeed } from "./requests.ts";

const AT_ONCE = 16;
const noCaller = callers[0]!;

describe.each(["sqlite", "postgres"] as const)(
  "every route × every kind of caller, on %s",
  { timeout: 120_000 },
  (kind) => {
    let house: House;
    let contract: Contract;
    beforeAll(async () => {
      house = await openHouse(kind);
      contract = new Contract(JSON.parse(await openapiText()));
    }, 60_000);
    afterAll(() => house?.close());

    const ask = (route: Route, caller: Caller, headers = house.headers[caller.name]): Promise<Answered> => {
      const sent = harmless(route, exceptionFor(route, caller)?.body);
      return house.send(sent.method, sent.target, { ...sent.headers, ...headers }, sent.body);
    };

    /** Those of all pairs whose verdict is wanted, and what is wrong with the answers. */
    async function every(
      routes: readonly Route[],
      isDue: (verdict: Verdict | undefined) => boolean,
    ): Promise<string[]> {
      const due = routes.flatMap((route) =>
        callers
          .map((caller) => ({ route, caller, verdict: expected(route, caller) }))
          .filter(({ verdict }) => isDue(verdict)),
      );
      const faults: string[] = [];
      await inTurns(due, async ({ route, caller, verdict }) => {
        const answer = await ask(route, caller);
        if (verdictOf(answer) !== verdict) faults.push(told(route, caller, answer, `instead of ${verdict}`));
      });
      return faults;
    }

    it("ID-05 ID-09 who may not is refused as the declaration says, and nothing is changed", async () => {
      const before = await rows(house.database);
      expect(await every(house.routes, (verdict) => verdict !== undefined && verdict !== "yes")).toEqual([]);
      expect(await rows(house.database)).toEqual(before);
    });

    it("who may gets further, whatever the request lacks", async () => {
      const plain = house.routes.filter((route) => !isDeed(route));
      expect(await every(plain, (verdict) => verdict === "yes")).toEqual([]);
    });

    it("R13 where credentials do not count, whoever asks gets what nobody gets", async () => {
      const open = house.routes.filter((route) => expected(route, noCaller) === undefined && !isDeed(route));
      const faults: string[] = [];
      const compare = async (route: Route, some: readonly Caller[], body?: unknown) => {
        const send = async (headers: Record<string, string>) => {
          const sent = harmless(route, body);
          return house.send(sent.method, sent.target, { ...sent.headers, ...headers }, sent.body);
        };
        const nobody = await send({});
        for (const caller of some) {
          if (knows(route, caller)) continue;
          const answer = await send(body ? house.again(caller.name) : house.headers[caller.name]!);
          if (answer.status !== nobody.status || answer.location !== nobody.location)
            faults.push(told(route, caller, answer, `and nobody ${nobody.status} ${nobody.location}`));
        }
      };
      const people = callers.filter(({ proof }) => proof === "session");
      await inTurns(open, async (route) => {
        await compare(route, callers);
        // Who is signed in may get further with what could be a form, and should not by this route.
        const { body } = contract.operations.find(({ operationId }) => operationId === route.operationId)!;
        if (body) await compare(route, people, sample(body.schema, true));
      });
      expect(faults).toEqual([]);
    });

    it("ID-02 ID-04 what another person has is answered as what there is not, whatever kind of id it is", async () => {
      const before = await rows(house.database);
      const own = callers.filter(({ name }) => /^a member/.test(name) || name === "a virtual key");
      const named = house.routes.filter(
        (route) =>
          route.path.includes("{") &&
          own.some((caller) => expected(route, caller) === "yes" || knows(route, caller)),
      );
      const faults: string[] = [];
      await inTurns(named, async (route) => {
        const operation = contract.operations.find(({ operationId }) => operationId === route.operationId)!;
        const body = operation.body && sample(operation.body.schema, false);
        const query = String(new URLSearchParams(requiredQuery(operation)));
        const send = async (caller: Caller, id: string) => {
          const sent = harmless(route, body, id);
          const at = query === "" ? sent.target : `${sent.target}?${query}`;
          const answer = await house.send(
            sent.method,
            at,
            { ...sent.headers, ...house.headers[caller.name] },
            sent.body,
          );
          return { ...answer, text: answer.text.replaceAll(id, "…").replaceAll(/req_[\w-]+/g, "") };
        };
        for (const caller of own) {
          if (expected(route, caller) !== "yes" && !knows(route, caller)) continue;
          const unknown = await send(caller, "nothing_here");
          for (const [what, id] of Object.entries(house.foreign)) {
            const answer = await send(caller, id);
            if (answer.status !== unknown.status || answer.text !== unknown.text)
              faults.push(
                told(
                  route,
                  caller,
                  answer,
                  `for ${what}; unknown: ${unknown.status} ${unknown.text.slice(0, 200)}`,
                ),
              );
          }
        }
      });
      expect(faults).toEqual([]);
      expect(await rows(house.database)).toEqual(before);
    });

    it("so do those that need nothing to be done, who may and who may not", async () => {
      const faults: string[] = [];
      for (const route of house.routes.filter(isDeed)) {
        for (const caller of callers) {
          const verdict = expected(route, caller);
          const headers = caller.proof === "session" ? await house.signedIn(caller.name) : undefined;
          const answer = await ask(route, caller, headers);
          if (verdict !== undefined && verdictOf(answer) !== verdict)
            faults.push(told(route, caller, answer, `instead of ${verdict}`));
        }
      }
      expect(faults).toEqual([]);
    });

    it("every exception is of a route that there is", () => {
      const known = new Set(house.routes.map(({ operationId }) => operationId));
      expect(Object.keys(exceptions).filter((one) => !known.has(one))).toEqual([]);
      const paths = house.routes.map(({ path }) => path);
      expect(Object.keys(pages).filter((page) => !paths.includes(page))).toEqual([]);
    });
  },
);

function knows(route: Route, { proof }: Caller): boolean {
  return proof === "session" && knowsSession(route) !== undefined;
}

async function inTurns<T>(all: readonly T[], work: (one: T) => Promise<void>): Promise<void> {
  for (let at = 0; at < all.length; at += AT_ONCE) await Promise.all(all.slice(at, at + AT_ONCE).map(work));
}

function told(route: Route, caller: Caller, { status, location, text }: Answered, more: string): string {
  const said = text.startsWith("{") ? text.slice(0, 200) : `a page ${location}`;
  return `${route.method} ${route.path} (${route.operationId}), ${caller.name}: ${status} ${more}: ${said}`;
}

function verdictOf({ status, text }: Answered): Verdict {
  if (status === 401 || status === 403) return status;
  return status === 400 && /conflicting_credentials|exactly one credential/.test(text) ? 400 : "yes";
}

/** What is written whatever the answer: who tried, and what other replicas must read again. */
const UNCOUNTED = ["audit", "changes", "change_counter"];

async function rows({ db, kind }: Database): Promise<Record<string, number>> {
  const { rows: tables } = await sql<{ name: string }>`${sql.raw(
    kind === "postgres"
      ? "select table_name as name from information_schema.tables where table_schema = 'public'"
      : "select name from sqlite_schema where type = 'table'",
  )} order by 1`.execute(db);
  const names = tables.map(({ name }) => name).filter((name) => !UNCOUNTED.includes(name));
  const each = names.map(
    (name) => sql`select ${sql.lit(name)} as name, count(*) as rows from ${sql.id(name)}`,
  );
  const { rows: counted } = await sql<{
    name: string;
    rows: number | string;
  }>`${sql.join(each, sql` union all `)}`.execute(db);
  return Object.fromEntries(counted.map(({ name, rows: count }) => [name, Number(count)]));
}
