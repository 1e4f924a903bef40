import { describe, expect, it } from "vitest";
import { textOf } from "../../test/peers/browser.ts";
import { type ConnectionsPage, connectionsPage } from "./page.ts";
import type { Account, Service } from "./services.ts";

const NOW = Date.parse("2026-11-23T12:00:00Z");
const DAY = 24 * 60 * 60 * 1000;

const account = (changes: Partial<Account> = {}): Account => ({
  id: "cred_1",
  label: "",
  isDefault: false,
  standing: "works",
  since: NOW - 3 * DAY,
  ...changes,
});

const service = (changes: Partial<Service> = {}): Service => ({
  id: "up_1",
  name: "notion",
  host: "mcp.notion.com",
  way: "oauth",
  isOff: false,
  accounts: [],
  group: "open",
  ...changes,
});

async function shown(changes: Partial<ConnectionsPage>): Promise<{ html: string; text: string }> {
  const response = await connectionsPage({
    person: { name: "Bob", email: "bob@example.com" },
    services: [],
    apps: [],
    keys: [],
    q: "",
    about: "The service",
    now: NOW,
    ...changes,
  });
  const html = await response.text();
  return { html, text: textOf(html) };
}

describe("the page of one's own connections", () => {
  it("says what an account is called there, since when, and why it needs its person", async () => {
    const services = [
      service({ group: "connected", accounts: [account({ name: "bob@corp.example", isDefault: true })] }),
      service({
        name: "linear",
        group: "attention",
        accounts: [account({ standing: "again", reason: "expired" })],
      }),
      service({
        name: "jira",
        group: "attention",
        accounts: [account({ standing: "again", reason: "restored_from_backup_of_2026-11-20", name: "bob" })],
      }),
      service({
        name: "sentry",
        group: "attention",
        accounts: [account({ standing: "again", reason: "odd_word" })],
      }),
      service({ name: "github", group: "connected", accounts: [account({ reason: "client_refused" })] }),
    ];
    const { text } = await shown({ services });
    expect(text).toContain(
      "Connected as bob@corp.example Since 3 days ago, used unless an app names another",
    );
    expect(text).toContain("Needs signing in again: it ran out");
    expect(text).toContain("Needs signing in again: it comes from a backup (bob)");
    expect(text).toContain("Needs signing in again Since");
    expect(text).not.toContain("odd_word");
    expect(text).toContain("Connected; the service refuses this gateway for now");
    expect(text.indexOf("Needs you")).toBeLessThan(text.indexOf("Connected 2"));
  });

  it("shows two hundred services a few at a time, whole groups when asked, and finds by name", async () => {
    const services = Array.from({ length: 200 }, (_, at) =>
      service({ id: `up_${at}`, name: `service_${String(at).padStart(3, "0")}` }),
    );
    const { text, html } = await shown({ services });
    expect(text).toContain("Not connected 200");
    expect(text).toContain("service_011");
    expect(text).not.toContain("service_012");
    expect(html).toContain('href="/connections?show=open#open"');
    expect((await shown({ services, show: "open" })).text).toContain("service_199");
    expect((await shown({ services, q: "E_01" })).text).toContain("Not connected 10");
    expect((await shown({ services, q: "nothing" })).text).toContain(
      "No service of yours is called like that",
    );
    expect((await shown({ services: services.slice(0, 5) })).text).not.toContain("Find a service");
  });

  it("writes what others chose as text, and says something when there is nothing", async () => {
    const apps = [
      {
        id: "grant_1",
        clientName: "<script>alert(1)</script>",
        redirectUri: "https://client.example.com/cb",
        slug: "team",
        keyName: "ci",
        createdAt: NOW - 40 * DAY,
        lastUsedAt: NOW - 3_600_000,
      },
    ];
    const { html, text } = await shown({ apps, keys: [{ name: "ci", isActive: true, expiresAt: NOW - 1 }] });
    expect(html).not.toContain("<script>");
    expect(text).toContain("client.example.com May use what the bundle team has, within your key ci");
    expect(text).toContain("Allowed on 2026-10-14, last used an hour ago");
    expect(text).toContain("ci Expired");
    const placed = async (redirectUri: string) =>
      (await shown({ apps: [{ ...apps[0]!, clientName: "X", redirectUri }] })).text;
    expect(await placed("urn:ietf:params:oauth:grant-type:device_code")).toContain("X Another device");
    const assertion = "urn:ietf:params:oauth:grant-profile:id-jag#https://id.example.com";
    expect(await placed(assertion)).toContain("X By your company's sign-in");
    expect(await placed("http://127.0.0.1:1/cb")).toContain("X An app on a computer");
    const empty = await shown({});
    expect(empty.text).toContain("No service is open to you yet. Ask an administrator.");
    expect(empty.text).toContain("None yet.");
    expect((await shown({ done: "connected", about: "notion" })).text).toContain("notion is connected.");
    expect((await shown({ done: "<b>", error: "<b>" })).text).toContain("That did not work. Try again.");
  });
});
