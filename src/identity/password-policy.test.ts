import { createHash } from "node:crypto";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { expect, it } from "vitest";
import { testWorld } from "../../test/support/world.ts";
import { Hidden, openOutbound } from "../base/index.ts";
import { PasswordPolicy } from "./password-policy.ts";

const ada = { email: "ada.lovelace@example.com", name: "Ada Lovelace" };

async function verdict(policy: PasswordPolicy, password: string): Promise<string> {
  try {
    await policy.check(new Hidden(password), ada, "new_password");
    return "accepted";
  } catch (error) {
    const { code, param } = error as { code: string; param: string };
    return `${code} ${param}`;
  }
}

it("refuses what is short, common or made of its owner, and asks for nothing else", async () => {
  const policy = new PasswordPolicy({ world: testWorld() });
  for (const [password, expected] of [
    ["elevenchars", "invalid_password new_password"],
    ["x".repeat(257), "invalid_password new_password"],
    ["passwordpassword", "common_password new_password"],
    ["Password1234!", "common_password new_password"],
    ["qwertyuiop[]", "common_password new_password"],
    ["123456789012", "common_password new_password"],
    ["ada.lovelace@example.com", "common_password new_password"],
    ["lovelaceada1", "common_password new_password"],
    ["aaaaaaaaaaaa".repeat(20), "common_password new_password"],
    ["only lower case words", "accepted"],
    ["пароль из четырёх слов", "accepted"],
    [`lovelace ${"four unrelated words ".repeat(11)}`, "accepted"],
  ] as const)
    expect(await verdict(policy, password), password).toBe(expected);
});

it("asks a list of breached passwords by five digits of the hash, and goes on when it does not answer", async () => {
  const breached = "staple battery horse correct";
  const digest = createHash("sha1").update(breached).digest("hex").toUpperCase();
  const asked: (string | undefined)[] = [];
  const server = createServer((request, response) => {
    asked.push(request.url);
    response.statusCode = asked.length > 2 ? 503 : 200;
    response.end(`${digest.slice(5)}:${asked.length === 1 ? 17 : 0}\r\n${"0".repeat(35)}:2`);
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const host = `127.0.0.1:${(server.address() as AddressInfo).port}`;
  const world = testWorld(openOutbound({ allow: { admin: [host], stranger: [] } }));
  const settings = { breachedPasswordsUrl: `http://${host}/range/` };
  const policy = new PasswordPolicy({ world, settings });
  expect(await verdict(policy, breached)).toBe("breached_password new_password");
  // A count of 0 is padding.
  expect(await verdict(policy, breached)).toBe("accepted");
  expect(await verdict(policy, breached)).toBe("accepted");
  expect(asked).toEqual(Array(3).fill(`/range/${digest.slice(0, 5)}`));
  server.closeAllConnections();
  await new Promise((resolve) => server.close(resolve));
  expect(await verdict(policy, breached)).toBe("accepted");
  await world.outbound.close();
});
