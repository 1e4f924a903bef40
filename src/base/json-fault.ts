const messages = {
  too_large: "The JSON body is too large; send a smaller one.",
  not_utf8: "The JSON body is not valid UTF-8; encode it as UTF-8.",
  syntax: "The body is not valid JSON; send one JSON value without a byte order mark.",
  depth: "The JSON body is nested too deeply; send a flatter one.",
  duplicate_key: "The JSON body names a member twice in one object; send every member once.",
  forbidden_key: 'The JSON body has a member named "__proto__"; leave it out.',
  too_many_keys: "An object in the JSON body has too many members; send fewer.",
} as const;

export type JsonFaultReason = keyof typeof messages;

/** Why a body was refused. `message` is written for the caller and repeats nothing of the body. */
export class JsonFault extends Error {
  readonly reason: JsonFaultReason;

  constructor(reason: JsonFaultReason) {
    super(messages[reason]);
    this.name = "JsonFault";
    this.reason = reason;
  }
}
