import { readFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { Contract, type Operation } from "./document.ts";
import { form, type Household, openHousehold } from "./household.ts";
import { bodies, queries, requiredQuery, sample, strangeIds, target, type Variant } from "./inputs.ts";
import { setUp } from "./set-up.ts";
import { Successes } from "./successes.ts";
import type { Answered, Sent } from "./wire.ts";

/** The codes of docs/guide/errors.md. */
const codes = new Set(
  [
    ...readFileSync(join(import.meta.dirname, "../../docs/guide/errors.md"), "utf8").matchAll(
      /^\| `([a-z_]+)`/gm,
    ),
  ].map(([, code]) => code),
);

const FAULTY =
  /node_modules|\.ts:\d|sqlite|postgres(?!ql:)|\bselect .* from\b|stack|\bat [\w.]+ \(|undefined|\[object /i;

const SECURITY = {
  "x-content-type-options": /^nosniff$/,
  "content-security-policy": /default-src 'none'.*frame-ancestors 'none'/,
  "x-frame-options": /^DENY$/,
  "referrer-policy": /^same-origin$/,
  "cache-control": /./,
};

/** Successes that take more than this household has; their own tests hold them. */
const elsewhere = new Set([
  // A provider of type oidc, and an account of it (sso/sso.test.ts, linking.test.ts, sign-out.test.ts, journeys/single-sign-on.test.ts).
  "startSignInElsewhere",
  "signInCallback",
  "signedOutElsewhere",
  "backChannelLogout",
  "linkAccount",
  "unlinkAccountForm",
  // A provider of type saml (journeys/saml-sign-in.test.ts).
  "samlMetadata",
  "samlAcs",
  "samlFinish",
  "samlFinishForm",
  // An account and a grant of a person (journeys/my-connections.test.ts).
  "renewOwnAccount",
  "disconnectPage",
  "disconnectOwnAccount",
  "endAppPage",
  "endApp",
  // Made in a gateway without an administrator, by `setUp`.
  "setupPage",
  "setupForm",
  // An upstream with `redirect: "shared"` (connect/connect.test.ts).
  "oauthCallbackShared",
  // Two ids in their addresses (connect/machine-accounts.test.ts, journeys/groups.test.ts).
  "connectServiceAccount",
  "removeMember",
  // A provider that names another account (connect/swap.test.ts).
  "connectAccountPage",
  "connectAccountAnswer",
  // Streams that stay open, and what needs one (mcp/bridge.test.ts).
  "mcpGet",
  "mcpSlugGet",
  "mcpDelete",
  "mcpSlugDelete",
  "sseGet",
  "sseMessagePost",
]);

describe.each(["sqlite", "postgres"] as const)(
  "every answer is a documented one, on %s",
  { timeout: 120_000 },
  (kind) => {
    let house: Household;
    let contract: Contract;
    const faults: string[] = [];
    const seen = new Map<string, Set<number>>();

    beforeAll(async () => {
      house = await openHousehold(kind);
      const answer = await house.wire.send({ method: "GET", target: "/api/openapi.json" });
      contract = new Contract(JSON.parse(answer.text));
    });
    afterAll(async () => {
      await house?.close();
    });

    /** Rows as they stood after the last write that succeeded. */
    let baseline: Record<string, number> = {};

    /** Asks this of every operation given; what was refused there may have stored nothing. */
    async function each(
      operations: Operation[],
      work: (operation: Operation) => Promise<void>,
    ): Promise<void> {
      baseline = await house.counts();
      for (const operation of operations) {
        await work(operation);
        if (operation.method === "GET") continue;
        const after = await house.counts();
        if (JSON.stringify(after) !== JSON.stringify(baseline))
          faults.push(`${operation.name}: refused, and stored: ${difference(baseline, after)}`);
        baseline = after;
      }
      expect(faults.splice(0)).toEqual([]);
    }

    /** Sends and holds the answer against the document. */
    async function ask(
      operation: Operation,
      what: string,
      sent: Omit<Sent, "method">,
      wanted?: number,
    ): Promise<Answered> {
      const answer = await house.wire.send({ method: operation.method, ...sent });
      const name = `${operation.name}, ${what}`;
      const told = (text: string | undefined) => text !== undefined && faults.push(`${name}: ${text}`);
      told(contract.undocumented(operation, answer));
      told(common(answer));
      if (wanted !== undefined && answer.status !== wanted)
        told(`${answer.status} instead of ${wanted}: ${answer.text.slice(0, 200)}`);
      if (answer.status < 400 && operation.method !== "GET") baseline = await house.counts();
      const statuses = seen.get(operation.operationId) ?? new Set();
      seen.set(operation.operationId, statuses.add(answer.status));
      return answer;
    }

    const isManaged = (operation: Operation) => operation.security.some((one) => "dashboard" in one);
    const isForAdministrators = (operation: Operation) =>
      isManaged(operation) &&
      !operation.security.some((one) => "x-bf-vk" in one) &&
      operation.security.some((one) => "bearer" in one);
    const isMcp = (operation: Operation) => operation.security.some((one) => "x-bf-mcp-session-id" in one);

    /** A request that would be good if only its caller and its ids were. */
    function plainRequest(operation: Operation, id = "nope"): Omit<Sent, "method"> {
      const { body } = operation;
      const value = body && (sample(body.schema, false) as Record<string, string>);
      const at = target(operation, id, String(new URLSearchParams(requiredQuery(operation))));
      if (!body) return { target: at };
      return body.type === "application/json"
        ? { target: at, headers: { "content-type": body.type }, body: JSON.stringify(value) }
        : { target: at, ...form(value!) };
    }

    function withCaller(sent: Omit<Sent, "method">, headers: Record<string, string>): Omit<Sent, "method"> {
      return { ...sent, headers: { ...sent.headers, ...headers } };
    }

    it("whoever calls", async () => {
      await each(contract.operations, async (operation) => {
        const sent = plainRequest(operation);
        const { admin, person, key, none, wrong, foreign, member } = house.callers;
        const managed = isManaged(operation);
        const mcp = isMcp(operation) && operation.method !== "OPTIONS";
        const closed = managed || mcp ? 401 : undefined;
        await ask(operation, "nobody", withCaller(sent, none), closed);
        await ask(operation, "a wrong key", withCaller(sent, wrong), closed);
        await ask(operation, "a wrong token", withCaller(sent, foreign), closed);
        await ask(operation, "a wrong scheme", withCaller(sent, { authorization: "Basic YTpi" }), closed);
        await ask(
          operation,
          "a JWT of nobody",
          withCaller(sent, { authorization: "Bearer YQ.YQ.YQ" }),
          closed,
        );
        await ask(operation, "two credentials", withCaller(sent, { ...admin, ...key }), closed && 400);
        // What ends the session of whoever calls has its turn among the successes.
        if (/logout/.test(operation.path)) return;
        await ask(
          operation,
          "a token and a cookie",
          withCaller(sent, { ...admin, ...person }),
          managed ? 400 : undefined,
        );
        const twice = `${member.cookie}; ${member.cookie}`;
        await ask(
          operation,
          "a cookie twice",
          withCaller(sent, { cookie: twice }),
          managed ? 400 : undefined,
        );
        const denied = isForAdministrators(operation) ? 403 : undefined;
        await ask(operation, "a virtual key", withCaller(sent, key), denied);
        await ask(operation, "a member", withCaller(sent, member), denied);
        const elsewhere = { ...member, "sec-fetch-site": "cross-site", origin: "https://evil.example" };
        await ask(operation, "another site", withCaller(sent, elsewhere), denied);
      });
    });

    it("whatever the ids are", async () => {
      const named = contract.operations.filter(({ path }) => path.includes("{"));
      await each(named, async (operation) => {
        for (const id of strangeIds) {
          const sent = plainRequest(operation, id);
          await ask(operation, `the id ${id.slice(0, 20)}`, withCaller(sent, house.callers.admin));
          await ask(operation, `the id ${id.slice(0, 20)} by a key`, withCaller(sent, house.callers.key));
        }
      });
    });

    it("whatever the query is", async () => {
      await each(contract.operations, async (operation) => {
        for (const { what, query, status } of queries(operation)) {
          const sent = { ...plainRequest(operation), target: target(operation, "nope", query) };
          await ask(
            operation,
            what,
            withCaller(sent, house.callers.admin),
            isMcp(operation) ? undefined : status,
          );
        }
      });
    });

    it("whatever the body is", async () => {
      const bodied = contract.operations.filter(({ body }) => body);
      await each(bodied, async (operation) => {
        const { schema, type } = operation.body!;
        const minimal = sample(schema, false) as Record<string, unknown>;
        for (const variant of bodies(operation, minimal, sample(schema, true) as Record<string, unknown>)) {
          await ask(
            operation,
            variant.what,
            bodyOf(operation, variant),
            variant.status ?? strict(variant, schema, type),
          );
        }
      });
    });

    function bodyOf(operation: Operation, { headers, body, declares }: Variant): Omit<Sent, "method"> {
      const takesBearer = operation.security.some((one) => "bearer" in one);
      const who = takesBearer ? house.callers.admin : house.callers.person;
      const caller = isManaged(operation) ? who : { "sec-fetch-site": "same-origin" };
      return { target: target(operation, "nope"), headers: { ...headers, ...caller }, body, declares };
    }

    /** 400 where the document's own schema says that the body is not right. */
    function strict({ body }: Variant, schema: unknown, type: string): number | undefined {
      if (type !== "application/json" || typeof body !== "string") return undefined;
      return contract.fault(schema, JSON.parse(body)) === undefined ? undefined : 400;
    }

    it("whatever the method, the address and the host are", async () => {
      const plain = new Map(contract.operations.map((operation) => [operation.path, operation]));
      for (const [path, operation] of plain) {
        const at = target(operation, "nope");
        const allowed = contract.methodsOf(path);
        for (const method of ["PATCH", "TRACE", "DELETE", "PUT", "POST", "GET"].filter(
          (one) => !allowed.includes(one),
        )) {
          const answer = await house.wire.send({ method, target: at, headers: house.callers.admin });
          if (method === "TRACE" && answer.status !== 405) continue;
          const fault = contract.anywhere("MethodNotAllowed", answer) ?? common(answer);
          if (answer.status !== 405 || fault) faults.push(`${method} ${path}: ${answer.status} ${fault}`);
          const allow = (answer.headers.allow ?? "").split(", ").toSorted().join();
          if (allow !== allowed.toSorted().join())
            faults.push(`${method} ${path}: Allow: ${answer.headers.allow}`);
        }
        const options = await house.wire.send({ method: "OPTIONS", target: at });
        if (options.status !== 204 || !options.headers.allow)
          faults.push(`OPTIONS ${path}: ${options.status}`);
        const misdirected = await house.wire.send({
          method: operation.method,
          target: at,
          headers: { host: "evil.example" },
        });
        const told = contract.undocumented(operation, misdirected);
        if (misdirected.status !== 421 || told)
          faults.push(`${path} at another host: ${misdirected.status} ${told}`);
        if (!allowed.includes("GET")) continue;
        const get = contract.operations.find((one) => one.path === path && one.method === "GET")!;
        const sent = {
          target: target(get, "nope", String(new URLSearchParams(requiredQuery(get)))),
          headers: house.callers.admin,
        };
        const head = await house.wire.send({ method: "HEAD", ...sent });
        const fault = contract.undocumented(get, head, true) ?? (head.text === "" ? undefined : "a body");
        if (fault) faults.push(`HEAD ${path}: ${fault}`);
      }
      for (const at of [
        "/nope",
        "/api",
        "/api/",
        "/api/mcp/sessions/",
        "//",
        "/mcp/",
        "/api%2Fmcp%2Fclients",
        "/%00",
      ]) {
        const answer = await house.wire.send({ method: "GET", target: at, headers: house.callers.admin });
        const fault = contract.anywhere("NotFound", answer) ?? common(answer);
        if (fault || answer.status !== 404) faults.push(`GET ${at}: ${answer.status} ${fault}`);
      }
      expect(faults.splice(0)).toEqual([]);
    });

    it("when it succeeds, and every success is reached", async () => {
      await new Successes(house, contract, ask).all();
      faults.push(...(await setUp(contract)));
      for (const operation of contract.operations) {
        const documented = Object.keys(operation.responses)
          .map(Number)
          .filter((status) => status < 400 && status !== 204);
        const reached = seen.get(operation.operationId) ?? new Set();
        if (elsewhere.has(operation.operationId)) continue;
        if (documented.length > 0 && !documented.some((status) => reached.has(status)))
          faults.push(`${operation.name}: none of ${documented} was reached, but ${[...reached].toSorted()}`);
      }
      expect(faults.splice(0)).toEqual([]);
    });
  },
);

/** What holds for every answer whatever the operation. */
function common({ status, headers, text }: Answered): string | undefined {
  if (status >= 500 && status !== 502) return `${status}: ${text.slice(0, 300)}`;
  for (const [name, pattern] of Object.entries(SECURITY)) {
    if (!pattern.test(String(headers[name] ?? ""))) return `${name}: ${headers[name]}`;
  }
  if (headers["x-powered-by"] ?? headers.server) return "says what it runs on";
  if (status < 400) return undefined;
  if (FAULTY.test(text)) return `internal text: ${text.slice(0, 300)}`;
  if (!headers["content-type"]?.startsWith("application/json")) return undefined;
  const { error, status_code } = JSON.parse(text);
  if (typeof error !== "object" || error.event_id === undefined) return undefined;
  if (status_code !== status) return `status_code ${status_code} with status ${status}`;
  // One fault is enough for each.
  const known = codes.has(error.code);
  codes.add(error.code);
  return known ? undefined : `the code ${error.code} is not in docs/guide/errors.md`;
}

function difference(before: Record<string, number>, after: Record<string, number>): string {
  const changed = Object.keys(after).filter((name) => after[name] !== before[name]);
  return changed.map((name) => `${name} ${before[name]} → ${after[name]}`).join(", ");
}
