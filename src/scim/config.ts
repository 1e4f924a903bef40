import { z } from "zod";

/** The key `scim` of the configuration file. */
export const scimConfig = z.strictObject({
  identity: z
    .strictObject({
      provider: z.string().min(1).max(40),
      attribute: z.enum(["externalId", "userName"]),
    })
    .optional(),
});

export type ScimConfig = z.output<typeof scimConfig>;
