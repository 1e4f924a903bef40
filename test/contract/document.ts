import { Ajv2020, type ValidateFunction } from "ajv/dist/2020.js";
import type { Answered } from "./wire.ts";

// biome-ignore lint/suspicious/noExplicitAny: JSON Schema
export type Schema = any;

export interface Parameter {
  name: string;
  in: "path" | "query";
  required: boolean;
  schema: Schema;
}

export interface Operation {
  /** `GET /api/mcp/sessions`. */
  name: string;
  method: string;
  path: string;
  operationId: string;
  security: Record<string, string[]>[];
  parameters: Parameter[];
  body?: { type: string; schema: Schema; required: boolean };
  responses: Record<string, Response>;
}

interface Response {
  headers?: Record<string, Schema>;
  content?: Record<string, { schema: Schema }>;
}

interface OpenApi {
  paths: Record<string, Record<string, Schema>>;
  components: { headers: Record<string, Schema>; responses: Record<string, Response> };
}

/** An OpenAPI document that answers can be held against. */
export class Contract {
  readonly operations: Operation[];
  readonly #document: OpenApi;
  readonly #ajv = new Ajv2020({
    strict: true,
    allErrors: false,
    validateFormats: false,
    allowUnionTypes: true,
  });
  readonly #compiled = new Map<Schema, ValidateFunction>();
  readonly #bySource = new Map<string, ValidateFunction>();

  constructor(document: Schema) {
    this.#document = document;
    this.#ajv.addSchema({ $id: "openapi", components: { schemas: document.components.schemas } } as never);
    for (const keyword of ["components", "schemas"]) this.#ajv.addKeyword(keyword);
    this.operations = Object.entries(this.#document.paths).flatMap(([path, item]) =>
      Object.entries(item).map(([method, operation]) => this.#toOperation(path, method, operation)),
    );
  }

  /** The methods of a path, as `Allow` names them. */
  methodsOf(path: string): string[] {
    return Object.keys(this.#document.paths[path]!).map((method) => method.toUpperCase());
  }

  /** Whether a value is what a schema says; the first fault in words, or undefined. */
  fault(schema: Schema, value: unknown): string | undefined {
    let check = this.#compiled.get(schema);
    if (!check) {
      const text = JSON.stringify(schema).replaceAll('"#/components/', '"openapi#/components/');
      check = this.#bySource.get(text) ?? this.#ajv.compile(JSON.parse(text));
      this.#bySource.set(text, check);
      this.#compiled.set(schema, check);
    }
    if (check(value)) return undefined;
    return this.#ajv.errorsText(check.errors);
  }

  /** What an answer has that the operation does not say, or lacks of what it says; undefined when it is as documented. */
  undocumented(operation: Pick<Operation, "responses">, answer: Answered, head = false): string | undefined {
    const documented = operation.responses[answer.status];
    if (!documented) return `status ${answer.status} is not documented: ${answer.text.slice(0, 300)}`;
    return this.against(documented, answer, head);
  }

  /** The same for one of the responses that hold everywhere. */
  anywhere(name: "NotFound" | "MethodNotAllowed", answer: Answered): string | undefined {
    return this.against(this.#document.components.responses[name]!, answer, false);
  }

  against(documented: Response, answer: Answered, head: boolean): string | undefined {
    return this.#headers(documented, answer) ?? (head ? undefined : this.#body(documented, answer));
  }

  #headers(documented: Response, answer: Answered): string | undefined {
    for (const [name, at] of Object.entries(documented.headers ?? {})) {
      const header = at.$ref ? this.#document.components.headers[at.$ref.split("/").at(-1)] : at;
      const value = answer.headers[name.toLowerCase()];
      if (value === undefined) {
        if (header.required) return `${answer.status} without ${name}`;
        continue;
      }
      const fault = this.fault(header.schema, String(value));
      if (fault) return `${answer.status} ${name}: ${value}: ${fault}`;
    }
    return undefined;
  }

  #body(documented: Response, { status, headers, text }: Answered): string | undefined {
    const content = documented.content ?? {};
    const [type = ""] = (headers["content-type"] ?? "").split(";");
    if (Object.keys(content).length === 0)
      return text === "" ? undefined : `${status} with a body: ${text.slice(0, 200)}`;
    const said = content[type];
    if (!said) return `${status} of type "${type}": ${text.slice(0, 200)}`;
    if (type === "text/html" && text === "") return `${status} without a page`;
    if (!/^application\/(?:scim\+)?json$/.test(type)) return undefined;
    const fault = this.fault(said.schema, JSON.parse(text));
    return fault && `${status} ${fault}: ${text.slice(0, 400)}`;
  }

  #toOperation(path: string, method: string, operation: Schema): Operation {
    const [content] = Object.entries<Schema>(operation.requestBody?.content ?? {});
    return {
      name: `${method.toUpperCase()} ${path}`,
      method: method.toUpperCase(),
      path,
      operationId: operation.operationId,
      security: operation.security,
      parameters: operation.parameters ?? [],
      responses: Object.fromEntries(
        Object.entries<Schema>(operation.responses).map(([status, response]) => [
          status,
          response.$ref ? this.#document.components.responses[response.$ref.split("/").at(-1)] : response,
        ]),
      ) as Operation["responses"],
      ...(content
        ? { body: { type: content[0], schema: content[1].schema, required: operation.requestBody.required } }
        : {}),
    };
  }
}
