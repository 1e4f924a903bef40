import { z } from "zod";
import { Problem } from "../base/index.ts";
import { json, type Route } from "../http/index.ts";
import { route } from "../identity/index.ts";
import { LIST, MAX_PAGE } from "./listing.ts";
import { type ScimParts, scimBase } from "./parts.ts";
import { type Described, described, ENTERPRISE, GROUP, USER } from "./schemas.ts";

/** Nothing of it is anybody's, and a client is to find it before it has a token (RFC 7643 §5). */
const common = {
  method: "GET",
  tag: "SCIM",
  access: "public",
  csrf: "none",
  rate: "api",
  errors: "scim",
} as const;
const query = z.object({ filter: z.string().max(4096).optional() });
const found = z.looseObject({ schemas: z.array(z.string()) });
const list = z.looseObject({ totalResults: z.int(), Resources: z.array(found) });
const id = z.object({ id: z.string().max(256) });

/** What this gateway does of SCIM (RFC 7644 §4). */
export function discoveryRoutes(parts: Pick<ScimParts, "settings">): Route[] {
  const base = scimBase(parts);
  return [
    route({
      ...common,
      path: "/scim/v2/ServiceProviderConfig",
      operationId: "scimServiceProviderConfig",
      summary: "What is offered of SCIM, and how clients prove themselves",
      query,
      refuses: [403],
      answers: { 200: { description: "The configuration", schema: found } },
      handle: ({ query: { filter } }) => unfiltered(filter, serviceProviderConfig(base)),
    }),
    ...collection("ResourceTypes", "What kinds of resources there are", resourceTypes(base)),
    ...collection(
      "Schemas",
      "The attributes of the resources",
      described.map((schema) => located(schema, base)),
    ),
  ];
}

function collection(
  name: string,
  summary: string,
  all: readonly { id: string; schemas: string[] }[],
): Route[] {
  const path = `/scim/v2/${name}`;
  return [
    route({
      ...common,
      path,
      operationId: `scim${name}`,
      summary,
      query,
      refuses: [403],
      answers: { 200: { description: "All of them", schema: list } },
      handle: ({ query: { filter } }) =>
        unfiltered(filter, {
          schemas: [LIST],
          totalResults: all.length,
          startIndex: 1,
          itemsPerPage: all.length,
          Resources: all,
        }),
    }),
    route({
      ...common,
      path: `${path}/{id}`,
      operationId: `scim${name}One`,
      summary: `${summary}: one of them`,
      params: id,
      refuses: [],
      answers: { 200: { description: "It", schema: found } },
      handle: ({ params }) => {
        const one = all.find((each) => each.id.toLowerCase() === params.id.toLowerCase());
        if (one) return answer(one);
        throw new Problem(
          "not_found",
          "not_found",
          `There is nothing of this name. Look at /scim/v2/${name}.`,
        );
      },
    }),
  ];
}

/** RFC 7644 §4: a filter here is refused with 403. */
function unfiltered(filter: string | undefined, value: unknown): Response {
  if (filter === undefined) return answer(value);
  throw new Problem("forbidden", "filter_not_allowed", "This is answered whole. Leave the filter out.", {
    param: "filter",
  });
}

function answer(value: unknown): Response {
  return json(value, 200, { "content-type": "application/scim+json" });
}

function serviceProviderConfig(base: string) {
  return {
    schemas: ["urn:ietf:params:scim:schemas:core:2.0:ServiceProviderConfig"],
    patch: { supported: true },
    bulk: { supported: false, maxOperations: 0, maxPayloadSize: 0 },
    filter: { supported: true, maxResults: MAX_PAGE },
    changePassword: { supported: false },
    sort: { supported: true },
    etag: { supported: true },
    authenticationSchemes: [
      {
        type: "oauthbearertoken",
        name: "API token",
        description: "An administrator's API token with the scope write:scim, as a bearer token",
        specUri: "https://www.rfc-editor.org/info/rfc6750",
        primary: true,
      },
    ],
    meta: { resourceType: "ServiceProviderConfig", location: `${base}/ServiceProviderConfig` },
  };
}

function resourceTypes(base: string) {
  const type = (name: string, schema: string, schemaExtensions: object[]) => ({
    schemas: ["urn:ietf:params:scim:schemas:core:2.0:ResourceType"],
    id: name,
    name,
    description: name,
    endpoint: `/${name}s`,
    schema,
    schemaExtensions,
    meta: { resourceType: "ResourceType", location: `${base}/ResourceTypes/${name}` },
  });
  return [type("User", USER, [{ schema: ENTERPRISE, required: false }]), type("Group", GROUP, [])];
}

function located(schema: Described, base: string) {
  return {
    ...schema,
    schemas: schema.schemas as string[],
    meta: { resourceType: "Schema", location: `${base}/Schemas/${schema.id}` },
  };
}
