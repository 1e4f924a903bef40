import type { People } from "./provider-options.ts";

/** Somebody, as a company's directory knows them. */
export interface DirectoryPerson {
  name: string;
  email: string;
  groups: string[];
  roles: string[];
}

/** A directory: whoever signs in is one of these, by the provider's own id for them. */
export type Directory = Map<string, DirectoryPerson>;

/** The same people as four kinds of provider say them in their ID tokens. */
export const claimShapes: Record<"keycloak" | "entra" | "okta" | "google", (directory: Directory) => People> =
  {
    keycloak: (directory) =>
      people(["preferred_username", "email", "email_verified", "name", "groups", "realm_access"], (id) => {
        const { name, email, groups, roles } = directory.get(id)!;
        return {
          preferred_username: email.split("@")[0],
          email,
          email_verified: true,
          name,
          groups: groups.map((group) => `/company/${group.toLowerCase()}`),
          realm_access: { roles: ["offline_access", "uma_authorization", ...roles] },
        };
      }),
    // The address is in `preferred_username`, nothing is called verified, groups are ids.
    entra: (directory) =>
      people(["oid", "tid", "preferred_username", "name", "groups", "roles"], (id) => {
        const { name, email, groups, roles } = directory.get(id)!;
        return {
          oid: `00000000-0000-4000-8000-${id.padStart(12, "0")}`,
          tid: "9b2e6a1c-0000-4000-8000-000000000001",
          preferred_username: email,
          name,
          ...(groups.length > 0 && { groups: groups.map(entraGroup) }),
          ...(roles.length > 0 && { roles }),
        };
      }),
    okta: (directory) =>
      people(["preferred_username", "email", "email_verified", "name", "groups"], (id) => {
        const { name, email, groups, roles } = directory.get(id)!;
        return {
          preferred_username: email,
          email,
          email_verified: true,
          name,
          groups: ["Everyone", ...groups, ...roles],
        };
      }),
    google: (directory) =>
      people(["email", "email_verified", "hd", "name", "picture", "given_name"], (id) => {
        const { name, email } = directory.get(id)!;
        const [, hd] = email.split("@");
        return {
          email,
          email_verified: true,
          hd,
          name,
          given_name: name,
          picture: "https://images.example/a",
        };
      }),
  };

/** The id that Entra sends in place of a group's name. */
export function entraGroup(name: string): string {
  return `aaaaaaaa-0000-4000-8000-${Buffer.from(name).toString("hex").padStart(12, "0").slice(-12)}`;
}

function people(names: readonly string[], claims: (id: string) => Record<string, unknown>): People {
  return { names, claims };
}
