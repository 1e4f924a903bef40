import { expect, it } from "vitest";
import { jwtConfig, meaningOf } from "./index.ts";

it("names of groups that can be no names are passed over: the database takes no text with a NUL in it", () => {
  const entry = {
    issuer: "https://i.example",
    audience: "us",
    jwks_url: "https://i.example/keys",
    allow: ["user"],
    claims: { groups: "groups" },
  };
  const [issuer] = jwtConfig.parse({ issuers: [entry] }).issuers;
  const groups = ["team", "a\u0000b", "", 7, "g".repeat(256)];
  expect(meaningOf(issuer!, { sub: "u", groups })).toMatchObject({ kind: "user", groups: ["team"] });
});
