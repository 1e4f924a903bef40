import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { type Profile, type ProfileServer, type ProviderFacts, profileSchema } from "./profile.ts";

/** What is known of an authorization server when a profile is looked for. */
export interface ServerSigns {
  issuer: string;
  authorization_endpoint?: string;
  token_endpoint?: string;
}

interface Candidate {
  profile: Profile;
  server: ProfileServer;
  patterns: RegExp[];
}

/** The provider profiles of one folder. */
export class Profiles {
  readonly all: readonly Profile[];
  readonly #candidates: readonly Candidate[];

  constructor(profiles: readonly Profile[]) {
    this.all = profiles;
    this.#candidates = profiles.flatMap((profile) =>
      profile.servers.map((server) => ({ profile, server, patterns: server.issuers.map(patternOf) })),
    );
  }

  /** Reads every `*.json` of `folder`. Throws when one is not a profile, or two are of the same provider. */
  static load(folder: string): Profiles {
    const files = readdirSync(folder)
      .filter((file) => file.endsWith(".json"))
      .toSorted();
    const profiles = files.map((file) => {
      const profile = profileSchema.parse(JSON.parse(readFileSync(join(folder, file), "utf8")));
      if (file !== `${profile.provider}.json`)
        throw new Error(`${file} is of the provider ${profile.provider}`);
      return profile;
    });
    return new Profiles(profiles);
  }

  has(provider: string): boolean {
    return this.all.some((profile) => profile.provider === provider);
  }

  /**
   * What is particular about this authorization server: of the profile `named` by the administrator, else of the one
   * that knows it by its issuer or its endpoints. `undefined`: nothing known.
   */
  factsOf(signs: ServerSigns, named?: string): ProviderFacts | undefined {
    const considered =
      named === undefined
        ? this.#candidates
        : this.#candidates.filter(({ profile }) => profile.provider === named);
    const ranked = considered
      .map((candidate) => ({ candidate, rank: rankOf(candidate, signs) }))
      .toSorted((a, b) => b.rank - a.rank);
    const best = ranked[0];
    if (!best || (best.rank === 0 && named === undefined)) return undefined;
    return factsFor(best.candidate, signs.issuer, best.rank > 0);
  }

  /** The issuer of a profile that an administrator named, for an upstream that names none itself. */
  issuerOf(named: string | undefined): string | undefined {
    const profile = this.all.find(({ provider }) => provider === named);
    return profile?.servers.flatMap(({ issuers }) => issuers).find((issuer) => !issuer.includes("*"));
  }
}

/** The profiles that come with the gateway, read once. */
export function shippedProfiles(): Profiles {
  shipped ??= Profiles.load(join(import.meta.dirname, "profiles"));
  return shipped;
}
let shipped: Profiles | undefined;

/** How many of the signs fit; the issuer counts most. 0: another server altogether. */
function rankOf({ server, patterns }: Candidate, signs: ServerSigns): number {
  const issuer = trimmed(signs.issuer);
  const fitting = (name: "authorization_endpoint" | "token_endpoint") =>
    signs[name] !== undefined && server.endpoints?.[name] === signs[name] ? 1 : 0;
  const byIssuer = patterns.some((pattern) => pattern.test(issuer)) ? 2 : 0;
  const byEndpoint = fitting("token_endpoint");
  // An authorization endpoint alone proves nothing of where codes and secrets go.
  return byIssuer + byEndpoint === 0 ? 0 : byIssuer + byEndpoint + fitting("authorization_endpoint");
}

/** An absolute address counts only for a server that the profile knows; elsewhere only addresses of the issuer's own origin do. */
function factsFor({ profile, server }: Candidate, issuer: string, isKnown: boolean): ProviderFacts {
  const { issuers: _, endpoints, revocation, ...facts } = server;
  const { provider, name, administrator } = profile;
  const whole = (address: string) => {
    if (address.startsWith("https:")) return isKnown ? address : undefined;
    return address.replace("{issuer}", trimmed(issuer)).replace("{origin}", new URL(issuer).origin);
  };
  const found = Object.entries(endpoints ?? {}).flatMap(([member, address]) => {
    const url = whole(address);
    return url === undefined ? [] : [[member, url]];
  });
  return {
    ...facts,
    provider,
    name,
    administrator,
    endpoints: Object.fromEntries(found),
    revocation: wholeRevocation(revocation, whole),
  };
}

function wholeRevocation(
  rule: ProviderFacts["revocation"],
  whole: (address: string) => string | undefined,
): ProviderFacts["revocation"] {
  if (rule?.kind !== "request") return rule;
  const url = whole(rule.url);
  return url === undefined ? undefined : { ...rule, url };
}

function patternOf(issuer: string): RegExp {
  const [, host = "", path = ""] = /^https:\/\/([^/]+)(.*)$/.exec(trimmed(issuer)) ?? [];
  const escaped = (text: string) => text.replace(/[.~+?^${}()|[\]\\]/g, "\\$&");
  const hosts = escaped(host).replace(/^\*/, "[a-z0-9-]+(?:\\.[a-z0-9-]+)*");
  return new RegExp(`^https://${hosts}${escaped(path).replaceAll("*", "[\\w.~-]+")}$`);
}

function trimmed(issuer: string): string {
  return issuer.replace(/\/$/, "");
}
