import { expect, it } from "vitest";
import { testSettings } from "../../test/support/settings.ts";
import { cookie, cookieName, readCookie } from "./index.ts";

const secure = testSettings({ baseUrl: new URL("https://gw.example") });
const name = cookieName("flow", secure, "f1");
const read = (header: string) =>
  readCookie(new Request("https://gw.example/", { headers: { cookie: header } }), name);

it("is host-bound, http-only and Lax; without prefix and Secure only on http loopback (CB-07)", () => {
  expect(name).toBe("__Host-postern-flow-f1");
  expect(cookie(name, "v", 900, secure)[1]).toBe(
    "__Host-postern-flow-f1=v; Path=/; HttpOnly; SameSite=Lax; Max-Age=900; Secure",
  );
  const local = testSettings();
  expect(cookie(cookieName("flow", local, "f1"), "v", 900, local)[1]).toBe(
    "postern-flow-f1=v; Path=/; HttpOnly; SameSite=Lax; Max-Age=900",
  );
});

it("reads exactly its own name (CB-09)", () => {
  expect(read(`${name}=v; other=1`)).toBe("v");
  expect(read(`a=1;\t${name}=v`)).toBe("v");
  for (const odd of [
    `=${name}=evil`,
    `\u00a0${name}=evil`,
    `$Version=1; x${name}=evil`,
    `x="; y=${name}=evil`,
    `${name.replace("_", "%5F")}=evil`,
  ]) {
    expect(read(odd), odd).toBeUndefined();
  }
});

it("refuses the same name twice (CB-09)", () => {
  expect(() => read(`${name}=a; ${name}=b`)).toThrow("twice");
});
