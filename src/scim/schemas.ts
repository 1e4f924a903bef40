import Scim from "scimmy";

/** One attribute of a schema (RFC 7643 §7), as far as this gateway acts on it. */
export interface Attribute {
  name: string;
  type: string;
  isMany: boolean;
  /** `caseExact`: upper and lower case differ. */
  isExact: boolean;
  isReadOnly: boolean;
  isRequired: boolean;
  /** By their names in lower case: names of attributes have no case (RFC 7643 §2.1). */
  parts: ReadonlyMap<string, Attribute>;
}

/** What a resource is made of: its own attributes, and those of its extensions by their URN in lower case. */
export interface ResourceSchema {
  id: string;
  attributes: ReadonlyMap<string, Attribute>;
  extensions: ReadonlyMap<string, { id: string; attributes: ReadonlyMap<string, Attribute> }>;
}

/** A schema as `/Schemas` shows it (RFC 7643 §7). */
export interface Described {
  id: string;
  name: string;
  attributes: DescribedAttribute[];
  [member: string]: unknown;
}

interface DescribedAttribute {
  name: string;
  type: string;
  multiValued?: boolean;
  caseExact?: boolean;
  mutability?: string;
  required?: boolean;
  subAttributes?: DescribedAttribute[];
}

export const ENTERPRISE = "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User";
export const USER = "urn:ietf:params:scim:schemas:core:2.0:User";
export const GROUP = "urn:ietf:params:scim:schemas:core:2.0:Group";

/** What is never kept: people do not sign in with a password that somebody else set. */
const notKept = new Set(["password"]);

const [user, enterprise, group] = [Scim.Schemas.User, Scim.Schemas.EnterpriseUser, Scim.Schemas.Group].map(
  ({ definition }) => {
    const plain = JSON.parse(JSON.stringify(definition.describe())) as Described;
    return { ...plain, attributes: plain.attributes.filter(({ name }) => !notKept.has(name)) };
  },
) as [Described, Described, Described];

export const described: readonly Described[] = [user, group, enterprise];

/** Attributes that every resource has (RFC 7643 §3.1); `/Schemas` does not repeat them. */
const common: readonly DescribedAttribute[] = [
  { name: "schemas", type: "reference", multiValued: true, mutability: "readOnly" },
  { name: "id", type: "string", caseExact: true, mutability: "readOnly" },
  { name: "externalId", type: "string", caseExact: true },
  {
    name: "meta",
    type: "complex",
    mutability: "readOnly",
    subAttributes: ["resourceType", "created", "lastModified", "location", "version"].map((name) => ({
      name,
      type: name === "created" || name === "lastModified" ? "dateTime" : "string",
      caseExact: true,
      mutability: "readOnly",
    })),
  },
];

export const userSchema: ResourceSchema = {
  id: USER,
  attributes: byName([...common, ...user.attributes]),
  extensions: new Map([
    [ENTERPRISE.toLowerCase(), { id: ENTERPRISE, attributes: byName(enterprise.attributes) }],
  ]),
};

export const groupSchema: ResourceSchema = {
  id: GROUP,
  attributes: byName([...common, ...group.attributes]),
  extensions: new Map(),
};

function byName(list: readonly DescribedAttribute[]): Map<string, Attribute> {
  return new Map(list.map((one) => [one.name.toLowerCase(), attributeOf(one)]));
}

function attributeOf(one: DescribedAttribute): Attribute {
  return {
    name: one.name,
    type: one.type,
    isMany: one.multiValued === true,
    isExact: one.caseExact === true,
    isReadOnly: one.mutability === "readOnly",
    isRequired: one.required === true,
    parts: byName(one.subAttributes ?? []),
  };
}

/** What a path leads to. `extension`: the URN it stands under; without `attribute` the extension as a whole. */
export interface Target {
  extension?: string;
  attribute?: Attribute;
  part?: Attribute;
}

/** Where a notation like `name.familyName` or `urn:…:User:manager.value` leads (RFC 7644 §3.10); undefined: nowhere. */
export function resolve(schema: ResourceSchema, notation: string): Target | undefined {
  const text = notation.toLowerCase();
  const whole = schema.extensions.get(text);
  if (whole) return { extension: whole.id };
  if (!text.startsWith("urn:")) return within(schema.attributes, text);
  const split = text.lastIndexOf(":");
  const urn = text.slice(0, split);
  const rest = text.slice(split + 1);
  if (urn === schema.id.toLowerCase()) return within(schema.attributes, rest);
  const extension = schema.extensions.get(urn);
  const target = extension && within(extension.attributes, rest);
  return target && { ...target, extension: extension.id };
}

function within(attributes: ReadonlyMap<string, Attribute>, text: string): Target | undefined {
  const dot = text.indexOf(".");
  const attribute = attributes.get(dot < 0 ? text : text.slice(0, dot));
  if (!attribute || dot < 0) return attribute && { attribute };
  const part = attribute.parts.get(text.slice(dot + 1));
  return part && { attribute, part };
}

/** Whether a name is one that is taken and dropped. */
export function isNotKept(notation: string): boolean {
  const text = notation.toLowerCase();
  return notKept.has(text.slice(text.lastIndexOf(":") + 1));
}
