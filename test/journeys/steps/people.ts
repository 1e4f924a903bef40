import { expect } from "vitest";
import { Dashboard } from "./dashboard.ts";
import { Management } from "./management.ts";
import type { Stage } from "./stage.ts";

export const password = "correct horse battery";
export const ada = { email: "ada@example.com", name: "Ada", role: "admin", password };
export const bob = { email: "bob@example.com", name: "Bob" };

/** A gateway with its administrator, and ways to make people and sign them in. */
export async function openOffice(stage: Stage) {
  const gateway = await stage.gateway([]);
  const admin = new Management(gateway.baseUrl, gateway.adminToken);
  const browser = () => new Dashboard(gateway.baseUrl);
  const signedIn = async (email: string, secret = password) => {
    const dashboard = browser();
    expect((await dashboard.signIn(email, secret)).status).toBe(200);
    return dashboard;
  };
  const make = async (body: object) => (await admin.expect(200, "POST", "/api/users", body)).user;
  return { gateway, admin, browser, signedIn, make };
}

/** What a refusal says: status, code, field. */
export const codeOf = ({
  status,
  body,
}: {
  status: number;
  body: { error: { code: string; param?: string } };
}) => [status, body.error.code, body.error.param];
