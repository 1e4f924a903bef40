import { readFileSync } from "node:fs";
import { beforeAll, describe, expect, it } from "vitest";
import { FILE, openapiText } from "../../scripts/openapi.ts";
import { Contract } from "./document.ts";

describe("the OpenAPI document", () => {
  let text: string;
  let contract: Contract;
  beforeAll(async () => {
    text = await openapiText();
    contract = new Contract(JSON.parse(text));
  });

  it("is in docs/openapi.json as the routes make it (node scripts/openapi.ts writes it)", () => {
    const isSame = readFileSync(FILE, "utf8") === text;
    expect(isSame, "docs/openapi.json is not what the routes make: run `node scripts/openapi.ts`").toBe(true);
  });

  it("has references that lead somewhere", () => {
    const document = JSON.parse(text);
    const broken = [...text.matchAll(/"\$ref": "#\/([^"]+)"/g)]
      .map(([, path]) => path!)
      .filter((path) => path.split("/").reduce((at, name) => at?.[name], document) === undefined);
    expect(broken).toEqual([]);
  });

  it("has only schemas that are JSON Schema 2020-12", () => {
    for (const { body, parameters, responses } of contract.operations) {
      const contents = Object.values(responses).flatMap(({ content = {} }) => Object.values(content));
      const schemas = [
        body?.schema,
        ...parameters.map(({ schema }) => schema),
        ...contents.map(({ schema }) => schema),
      ];
      for (const schema of schemas) if (schema) contract.fault(schema, null);
    }
  });

  it("says of every operation which answers it gives, and what they look like", () => {
    const silent: string[] = [];
    for (const { name, path, parameters, responses } of contract.operations) {
      const statuses = Object.keys(responses);
      if (!statuses.some((status) => status < "400") && !responses[405]) silent.push(`${name}: no success`);
      for (const status of ["421", "500"])
        if (!statuses.includes(status)) silent.push(`${name}: no ${status}`);
      for (const status of ["200", "201"]) {
        const answer = responses[status];
        // RFC 7009 §2.2, OIDC Back-Channel Logout 1.0 §2.8: these answers have no body.
        const bare = path === "/api/oauth/per-user/revoke" || path.endsWith("/backchannel-logout");
        if (answer && !answer.content && !bare) silent.push(`${name}: ${status} of what shape?`);
      }
      const named = parameters
        .filter((parameter) => parameter.in === "path")
        .map((parameter) => parameter.name);
      const inPath = [...path.matchAll(/\{(\w+)\}/g)].map(([, parameter]) => parameter);
      if (named.join() !== inPath.join()) silent.push(`${name}: parameters ${named}`);
    }
    expect(silent).toEqual([]);
  });
});
