import { type Column, callers, columns } from "./callers.ts";
import { exceptions, knowsSession, pages } from "./exceptions.ts";
import { expected, type RouteLine, scopesFor, type Verdict } from "./expectation.ts";

const headings: Readonly<Record<Column, string>> = {
  nobody: "nobody",
  member: "member",
  administrator: "administrator",
  automation: "`POSTERN_ADMIN_TOKEN`",
  admin_api: "API token (administrator)",
  member_api: "API token (member)",
  key: "virtual key",
  jwt_person: "JWT (person)",
  jwt_admin: "JWT (administrator)",
  client: "client's token",
};

const opening = `# Who may call what

Every route with every kind of caller. This page is written from the routes' own declarations by \`node scripts/permissions.ts\`; a
test sends each request of it, on SQLite and Postgres (\`test/principals/\`).

| column | who |
|---|---|
| ${headings.nobody} | no credential, an unknown or expired one, one whose owner is switched off. An anonymous session value counts on \`/mcp\` where the gateway allows it, and nowhere else |
| ${headings.member}, ${headings.administrator} | a person who is signed in, by the role that counts now, a [group's](groups.md) included. What changes something must come from a page of ours |
| ${headings.automation} | the token for automation |
| ${headings.admin_api}, ${headings.member_api} | a management API token (\`pst_…\`) that has the scope of the last column; without it 403 |
| ${headings.key} | a virtual key, nobody's, a person's or a service account's; a JWT that names one is the same |
| ${headings.jwt_person}, ${headings.jwt_admin} | a [JWT](jwt.md) for a person, or with an administrator's role |
| ${headings.client} | an access token that our authorization server gave a client |

\`yes\`: what becomes of the request has nothing to do with who asks, but each sees what is theirs, and what is another's is 404, the
same as what there is not. 401: nobody we know. 403: somebody we know, who may not. Two credentials at once are 400 wherever
credentials count. *open*: credentials do not count; a cookie of its own or a secret in the request may.
`;

/** docs/guide/permissions.md. Throws where callers of one column may not do the same. */
export function permissionsPage(routes: readonly RouteLine[]): string {
  const tags = [...Map.groupBy(routes, ({ tag }) => tag)].toSorted(([a], [b]) =>
    a.toLowerCase() < b.toLowerCase() ? -1 : 1,
  );
  return `${[opening, ...tags.map(([tag, some]) => section(tag, some))].join("\n")}\n${reasons()}`;
}

function section(tag: string, routes: readonly RouteLine[]): string {
  const isOpen = (route: RouteLine) => columns.every((column) => cell(route, column) === "*open*");
  const lines = routes.toSorted(byPath);
  const open = lines.filter(isOpen).map((route) => `\`${name(route)}\``);
  const closed = lines.filter((route) => !isOpen(route)).map(line);
  const head = ["", ...columns.map((column) => headings[column]), "scope"].join(" | ");
  const table = [`|${head} |`, `|${"---|".repeat(columns.length + 2)}`, ...closed].join("\n");
  const said = open.length === 0 ? [] : [`Open: ${open.join(", ")}.`];
  return [
    `## ${tag}`,
    "",
    ...(closed.length === 0 ? [] : [table]),
    ...(closed.length && open.length ? [""] : []),
    ...said,
    "",
  ].join("\n");
}

function byPath(a: RouteLine, b: RouteLine): number {
  return name(a).replace(/^\w+ /, "") < name(b).replace(/^\w+ /, "") ? -1 : 1;
}

const name = ({ method, path }: RouteLine) => `${method} ${path}`;

function line(route: RouteLine): string {
  const isManaged = !["public", "browser", "mcp"].includes(route.access);
  const scope = isManaged && route.access !== "signed_in" ? `\`${scopesFor(route)[1]}\`` : "";
  const mark = route.operationId in exceptions || knowsSession(route) ? " ¹" : "";
  return `| \`${name(route)}\`${mark} | ${columns.map((column) => cell(route, column)).join(" | ")} | ${scope} |`;
}

/** What every caller of the column gets, tokens without the scope aside. */
function cell(route: RouteLine, column: Column): string {
  const some = callers.filter((caller) => caller.column === column && caller.proof !== "two");
  const found = new Set(
    some
      .filter(({ scopes }) => !scopes || scopes.includes("write"))
      .map((caller) =>
        caller.proof === "session" && knowsSession(route) ? "yes" : shown(expected(route, caller)),
      ),
  );
  const [one, ...others] = found;
  if (one === undefined || others.length > 0)
    throw new Error(`${name(route)}: those of the column ${column} get ${[...found].join(" and ")}`);
  return one;
}

function shown(verdict: Verdict | undefined): string {
  return verdict === undefined ? "*open*" : String(verdict);
}

function reasons(): string {
  const whys = [...Object.values(exceptions).flat(), ...Object.values(pages).map((why) => ({ why }))];
  const lines = [...new Set(whys.map(({ why }) => why))].map((why) => `- ${why}`);
  return `## ¹ Where the route itself says who may\n\n${lines.join("\n")}\n`;
}
