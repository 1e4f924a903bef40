import type { IncomingMessage, ServerResponse } from "node:http";
import { text } from "node:stream/consumers";
import { afterEach, describe, expect, test } from "vitest";
import { Browser, form, link, textOf } from "./browser.ts";
import { type LoopbackServer, startLoopbackServer } from "./loopback-server.ts";

interface Seen {
  path: string;
  headers: IncomingMessage["headers"];
  body: string;
}

const open: { close(): Promise<void> }[] = [];
afterEach(async () => {
  for (const one of open.splice(0).reverse()) await one.close();
});

type Route = (res: ServerResponse) => void;

/** A site that records what it is asked. */
async function site(routes: Record<string, Route> = {}): Promise<LoopbackServer & { seen: Seen[] }> {
  const seen: Seen[] = [];
  const server = await startLoopbackServer(async (req, res) => {
    seen.push({ path: req.url ?? "", headers: req.headers, body: await text(req) });
    const route = routes[req.url?.split("?")[0] ?? ""];
    if (route) route(res);
    else res.end("<p>hello</p>");
  });
  open.push(server);
  return { ...server, seen };
}

function browser(options?: ConstructorParameters<typeof Browser>[0]): Browser {
  const made = new Browser(options);
  open.push(made);
  return made;
}

const html =
  (body: string, headers: Record<string, string> = {}): Route =>
  (res) =>
    void res.writeHead(200, { "content-type": "text/html", ...headers }).end(body);
const redirect =
  (to: string, status = 302): Route =>
  (res) =>
    void res.writeHead(status, { location: to }).end();

describe("browser", () => {
  test("a form goes with its fields, the button, Origin, Referer and Fetch Metadata", async () => {
    const home = await site({
      "/form":
        html(`<form method="post" action="/send?a=1&amp;b=2"><input type=hidden name="csrf" value="x&quot;y">
        <input type="checkbox" name="tool" value="one" checked><input type="checkbox" name="tool" value="two">
        <select name="s"><option value="1">a<option value="2" selected>b</select><textarea name="t">T</textarea>
        <button name="go" value="yes">Go <b>on</b></button></form>`),
      "/send": redirect("/done", 303),
    });
    const person = browser();
    await person.get(`${home.origin}/form`);
    const page = await person.submitForm("/send", { t: "changed" }, { button: "Go on" });
    expect(page.hops.map((u) => u.pathname)).toEqual(["/send", "/done"]);
    const [first, sent, done] = home.seen;
    expect(first?.headers["sec-fetch-site"]).toBe("none");
    expect(sent?.path).toBe("/send?a=1&b=2");
    expect(sent?.body).toBe("csrf=x%22y&tool=one&t=changed&s=2&go=yes");
    expect(sent?.headers).toMatchObject({
      origin: home.origin,
      referer: `${home.origin}/form`,
      "sec-fetch-site": "same-origin",
    });
    expect(done?.headers).not.toHaveProperty("origin");
  });

  test("a page that sends no referrer sends Origin: null with its forms, as browsers do", async () => {
    const home = await site({
      "/form": html('<form method="post" action=""></form>', { "referrer-policy": "no-referrer" }),
    });
    const person = browser();
    await person.get(`${home.origin}/form`);
    await person.submitForm(() => true);
    expect(home.seen[1]?.headers.origin).toBe("null");
    expect(home.seen[1]?.headers).not.toHaveProperty("referer");
  });

  test("redirects through another origin come back cross-site: Lax cookies yes, Strict ones no", async () => {
    const cookies = ["lax=1; Path=/; HttpOnly", "strict=1; Path=/; SameSite=Strict", "deep=1; Path=/deep"];
    const routes: Record<string, Route> = {
      "/start": (res) => void res.writeHead(200, { "set-cookie": cookies }).end("ok"),
    };
    const home = await site(routes);
    const other = await site({ "/": redirect(`${home.origin}/back`) });
    routes["/away"] = redirect(other.origin);
    const person = browser();
    await person.get(`${home.origin}/start`);
    const page = await person.get(`${home.origin}/away`, { from: `${home.origin}/start` });
    expect(page.url.href).toBe(`${home.origin}/back`);
    expect(home.seen.map((s) => [s.headers["sec-fetch-site"], s.headers.cookie])).toEqual([
      ["none", undefined],
      ["same-origin", "lax=1; strict=1"],
      ["cross-site", "lax=1"],
    ]);
    expect(other.seen[0]?.headers.cookie).toBeUndefined();
  });

  test("on hosts as sites, ports share cookies and are the same site", async () => {
    const home = await site({ "/": (res) => void res.writeHead(200, { "set-cookie": "a=1" }).end() });
    const other = await site();
    const person = browser({ sites: "hosts" });
    await person.get(home.origin);
    await person.get(other.origin, { from: home.origin });
    expect(other.seen[0]?.headers).toMatchObject({ cookie: "a=1", "sec-fetch-site": "same-site" });
  });

  test("__Host- cookies work on loopback when well-formed and are dropped when not; they can be deleted", async () => {
    const good = "__Host-a=1; Path=/; Secure; HttpOnly";
    const home = await site({
      "/": (res) => void res.writeHead(200, { "set-cookie": [good, "__Host-b=1; Path=/"] }).end(),
      "/out": (res) =>
        void res.writeHead(200, { "set-cookie": "__Host-a=; Path=/; Secure; Max-Age=0" }).end(),
    });
    const person = browser();
    for (const path of ["/", "/out", "/end"]) await person.get(home.origin + path);
    expect(home.seen.map((s) => s.headers.cookie)).toEqual([undefined, "__Host-a=1", undefined]);
    expect(person.cookies.dropped.map((d) => d.reason)).toEqual([
      "__Host- needs Secure, Path=/ and no Domain",
    ]);
  });

  test("stops at a prefix and at what is no web address, and gives up on a circle", async () => {
    const home = await site({
      "/a": redirect("http://127.0.0.1:1/callback?code=1"),
      "/b": redirect("cursor://open?code=2"),
      "/c": redirect("/c"),
    });
    const person = browser();
    const stopped = await person.get(`${home.origin}/a`, { stopAt: "http://127.0.0.1:1/callback" });
    expect(stopped.stoppedAt?.searchParams.get("code")).toBe("1");
    expect((await person.get(`${home.origin}/b`)).stoppedAt?.href).toBe("cursor://open?code=2");
    await expect(person.get(`${home.origin}/c`)).rejects.toThrow("Too many redirects");
    expect((await person.get(`${home.origin}/c`, { followRedirects: false })).status).toBe(302);
  });

  test("form-action holds for the redirect after a form", async () => {
    const routes: Record<string, Route> = { "/send": redirect("http://127.0.0.1:1/callback?code=1") };
    const home = await site(routes);
    const body = '<form method="post" action="/send"></form>';
    const person = browser();
    const send = () => person.submitForm("/send", {}, { stopAt: "http://127.0.0.1:1/" });
    routes["/form"] = html(body, { "content-security-policy": "default-src 'none'; form-action 'self'" });
    await person.get(`${home.origin}/form`);
    await expect(send()).rejects.toThrow("form-action");
    routes["/form"] = html(body, { "content-security-policy": "form-action 'self' http://127.0.0.1:1" });
    await person.get(`${home.origin}/form`);
    expect((await send()).stoppedAt).toBeDefined();
  });

  test("what is not there is said plainly", () => {
    expect(() => form("<p>Sorry</p>")).toThrow("no form at all. Sorry");
    expect(link('<a href="/x?a=1&amp;b=2">Go &amp; see</a>', /see/)).toEqual({
      href: "/x?a=1&b=2",
      text: "Go & see",
    });
    expect(textOf("<style>p{}</style><p>a &lt; b</p>")).toBe("a < b");
  });
});
