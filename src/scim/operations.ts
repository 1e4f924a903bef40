import { z } from "zod";
import { Problem } from "../base/index.ts";

export const PATCH = "urn:ietf:params:scim:api:messages:2.0:PatchOp";
const MAX_OPERATIONS = 1000;

/** One operation of a PATCH (RFC 7644 §3.5.2). */
export interface Operation {
  op: "add" | "remove" | "replace";
  path?: string;
  value?: unknown;
}

/** Names in a message have no case either: Entra ID and others differ in it, and Entra ID writes `Add` for `add`. */
export const patchBody = z
  .looseObject({})
  .transform((body) => new Map(Object.entries(body).map(([name, value]) => [name.toLowerCase(), value])))
  .pipe(
    z.map(z.string(), z.unknown()).transform((body, context) => {
      const read = operations.safeParse(body.get("operations"));
      if (read.success) return read.data;
      context.addIssue({
        code: "custom",
        path: ["Operations"],
        message: "is a list of one operation or more",
      });
      return z.NEVER;
    }),
  );

const operations = z
  .array(
    z.looseObject({
      op: z
        .string()
        .transform((op) => op.toLowerCase())
        .pipe(z.enum(["add", "remove", "replace"])),
      path: z.string().max(4096).optional(),
      value: z.unknown().optional(),
    }),
  )
  .min(1)
  .max(MAX_OPERATIONS) satisfies z.ZodType<Operation[]>;

/** RFC 7644 §3.5.2.2: without a path there is nothing to remove. */
export function noTarget(path: string | undefined): Problem {
  return new Problem(
    "invalid",
    "no_target",
    `The path ${path ?? "of a remove operation"} leads to no value of this resource. Read the resource and name one that it has.`,
    { param: "path" },
  );
}

export function invalidPath(path: string): Problem {
  return new Problem(
    "invalid",
    "invalid_path",
    `The path ${path.slice(0, 200)} leads to nothing that this resource could have. Look at /scim/v2/Schemas.`,
    { param: "path" },
  );
}

export function immutable(name: string): Problem {
  return new Problem(
    "invalid",
    "immutable_attribute",
    `The attribute ${name} cannot be changed or taken away. Leave it out.`,
    { param: name },
  );
}
