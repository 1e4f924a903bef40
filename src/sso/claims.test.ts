import { expect, it } from "vitest";
import { assertionOf, ssoConfig } from "./index.ts";

const [provider] = ssoConfig.parse({
  providers: [
    { id: "corp", type: "oidc", name: "Corp", issuer: "https://id.example.com", client_id: "gateway" },
  ],
}).providers;

it("takes over no address with characters that nobody sees or that turn text around", () => {
  const addressOf = (email: string) => {
    const read = (name: string) => (name === "email" ? email : undefined);
    return assertionOf(provider!, { subject: "s", read, signed: read, withheld: () => false }).email;
  };
  expect(addressOf("ada@example.com")).toBe("ada@example.com");
  for (const character of ["\u202e", "\u2066", "\u0007", "\u0085"])
    expect(addressOf(`ada${character}@example.com`)).toBeUndefined();
});
