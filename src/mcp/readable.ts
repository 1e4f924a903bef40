import { z } from "zod";
import type { FeatureDefinition, ToolDefinition } from "../upstreams/index.ts";
import { isObject } from "./body.ts";

/**
 * What the official clients can read of a definition. They refuse a whole list when a single member in it has another
 * type, so that one careless upstream would take the tools of all others with it.
 */
const text = z.string().optional();
const flag = z.boolean().optional();
const meta = z.record(z.string(), z.unknown()).optional();
const icons = z
  .array(
    z.looseObject({
      src: z.string(),
      mimeType: text,
      sizes: z.array(z.string()).optional(),
      theme: z.enum(["light", "dark"]).optional(),
    }),
  )
  .optional();
const named = { name: z.string(), title: text, description: text, icons, _meta: meta };
const annotations = z
  .looseObject({
    audience: z.array(z.enum(["user", "assistant"])).optional(),
    priority: z.number().min(0).max(1).optional(),
    lastModified: z.iso.datetime({ offset: true }).optional(),
  })
  .optional();

const tool = z.looseObject({
  ...named,
  inputSchema: z.looseObject({
    type: z.literal("object"),
    properties: z.record(z.string(), z.looseObject({})).optional(),
    required: z.array(z.string()).optional(),
  }),
  outputSchema: z.looseObject({ $schema: text }).optional(),
  annotations: z
    .looseObject({
      title: text,
      readOnlyHint: flag,
      destructiveHint: flag,
      idempotentHint: flag,
      openWorldHint: flag,
    })
    .optional(),
  execution: z
    .looseObject({ taskSupport: z.enum(["required", "optional", "forbidden"]).optional() })
    .optional(),
});
const resource = { ...named, mimeType: text, annotations };
const kinds = {
  tool,
  prompt: z.looseObject({
    ...named,
    arguments: z.array(z.looseObject({ name: z.string(), description: text, required: flag })).optional(),
  }),
  resource: z.looseObject({ ...resource, uri: z.string(), size: z.number().optional() }),
  template: z.looseObject({ ...resource, uriTemplate: z.string() }),
};
type Kind = keyof typeof kinds;
type Definition = ToolDefinition | FeatureDefinition;

/** Without them there is nothing to show; any other member that cannot be read is left out alone. */
const needed = new Set<PropertyKey>(["name", "uri", "uriTemplate", "inputSchema", "arguments"]);

/** Definitions stay the same objects until their upstream is read again. */
const known = new WeakMap<Definition, Definition | undefined>();

/** A definition as every client can read it; the same object where it is so already. Undefined: it cannot be made so. */
export function readable<D extends Definition>(kind: Kind, definition: D): D | undefined {
  if (!known.has(definition)) known.set(definition, read(kind, definition));
  return known.get(definition) as D | undefined;
}

/** Those of a list that can be read, as they can be. */
export function readableIn(kind: Kind, definitions: readonly FeatureDefinition[] = []): FeatureDefinition[] {
  return definitions.map((one) => readable(kind, one)).filter((one) => one !== undefined);
}

function read<D extends Definition>(kind: Kind, definition: D): D | undefined {
  const made =
    kind === "tool" ? withSchema(definition) : kind === "prompt" ? definition : withName(definition);
  const { error } = kinds[kind].safeParse(made);
  if (!error) return made;
  const unreadable = new Set(error.issues.map(({ path }) => path[0]!));
  for (const member of unreadable) if (needed.has(member)) return undefined;
  return Object.fromEntries(Object.entries(made).filter(([name]) => !unreadable.has(name))) as D;
}

/** A tool that says nothing of its arguments takes an object of any; `true` and `false` are schemas that not all clients know. */
function withSchema<D extends Definition>(definition: D): D {
  const schema = definition.inputSchema;
  if (schema === undefined) return { ...definition, inputSchema: { type: "object" } };
  if (!isObject(schema)) return definition;
  const { properties } = schema;
  const brief =
    isObject(properties) && Object.values(properties).some((property) => typeof property === "boolean");
  if ("type" in schema && !brief) return definition;
  const inputSchema: Record<string, unknown> = { type: "object", ...schema };
  if (brief) inputSchema.properties = Object.fromEntries(Object.entries(properties).map(spelledOut));
  return { ...definition, inputSchema };
}

function spelledOut([name, property]: [string, unknown]): [string, unknown] {
  return [name, property === true ? {} : property === false ? { not: {} } : property];
}

/** What has no name is known by its address. */
function withName<D extends Definition>(definition: D): D {
  if (definition.name !== undefined) return definition;
  return { ...definition, name: definition.uri ?? definition.uriTemplate };
}
