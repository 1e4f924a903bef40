/** Writes the tables of docs/guide/providers.md from the provider profiles: `node scripts/provider-guide.ts`. */
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { type Profile, shippedProfiles } from "../src/upstreams/index.ts";

const BEGIN = "<!-- from src/upstreams/profiles, by scripts/provider-guide.ts -->";
const END = "<!-- end -->";
export const GUIDE = join(import.meta.dirname, "../docs/guide/providers.md");

type Server = Profile["servers"][number];

const REGISTRATION = { by_hand: "by hand", dynamic: "by itself (RFC 7591)" };

/** The guide with what the profiles say now in place of what it said before. */
export function withProfiles(guide: string, profiles: readonly Profile[]): string {
  const [before, rest] = [guide.slice(0, guide.indexOf(BEGIN)), guide.slice(guide.indexOf(END))];
  return `${before}${BEGIN}\n\n${profiles.map(section).join("\n\n")}\n\n${rest}`;
}

function section(profile: Profile): string {
  const { administrator, sources } = profile;
  const lines = [
    ...(administrator.register_at ? [`Register at: <${administrator.register_at}>`] : []),
    ...(administrator.redirect_uri ? [`Redirect URI: ${administrator.redirect_uri}`] : []),
    ...(administrator.notes ?? []),
    `Sources: ${sources.map((source) => `<${source}>`).join(", ")}`,
  ];
  return [
    `### ${profile.name}`,
    `\`${profile.provider}\`, version ${profile.version}, ${profile.date}.`,
    profile.servers.map(table).join("\n\n"),
    lines.map((line) => `- ${line}`).join("\n"),
  ].join("\n\n");
}

function table(server: Server): string {
  const rows = Object.entries(facts(server)).flatMap(([name, value]) =>
    value ? [`| ${name} | ${value.replaceAll("|", "\\|")} |`] : [],
  );
  return [`| ${server.about} | |`, "|---|---|", ...rows].join("\n");
}

function facts(server: Server): Record<string, string | undefined> {
  const { endpoints = {}, scope, authorize, client, token, lifetime } = server;
  const request = [
    ...Object.entries(authorize ?? {}).map(([name, value]) => `\`${name}=${value}\``),
    ...(scope?.add ? [`scopes ${codes(scope.add)} where the upstream names scopes`] : []),
    ...(scope?.parameter ? [`scopes go into \`${scope.parameter}\``] : []),
    ...(scope?.separator ? ["scopes are separated by commas"] : []),
    ...(server.resource === "omit" ? ["`resource` is left out"] : []),
  ];
  const answer = [
    ...(token?.at ? [`the token stands in \`${token.at}\``] : []),
    ...(token?.success ? [`a success has \`${token.success.member}: ${token.success.is}\``] : []),
    ...(token?.error_member ? [`the error stands in \`${token.error_member}\``] : []),
    ...(token?.errors ? ["own error words"] : []),
    ...(token?.scope_separator ? ["scopes are separated by commas"] : []),
  ];
  return {
    Issuer: codes(server.issuers),
    Registration: client?.registration && REGISTRATION[client.registration],
    "Client proves itself by": client?.authentication && `\`${client.authentication}\``,
    Endpoints: Object.entries(endpoints)
      .map(([name, address]) => `\`${name}\`: \`${address}\``)
      .join("<br>"),
    PKCE: server.pkce && "S256, even where the metadata does not say so",
    "In the request": request.join("; "),
    "In the answer": answer.join("; "),
    "Access token": lifetime?.access,
    "Refresh token": lifetime?.refresh,
    Revocation: revocation(server.revocation),
  };
}

function revocation(rule: Server["revocation"]): string | undefined {
  if (rule?.kind === "rfc7009") return "RFC 7009";
  if (rule?.kind === "none") return `none. ${rule.instead ?? ""}`.trim();
  return rule && `\`${rule.method} ${rule.url}\``;
}

function codes(values: readonly string[]): string {
  return values.map((value) => `\`${value}\``).join(", ");
}

if (process.argv[1] === import.meta.filename) {
  writeFileSync(GUIDE, withProfiles(readFileSync(GUIDE, "utf8"), shippedProfiles().all));
}
