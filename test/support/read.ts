// biome-ignore lint/suspicious/noExplicitAny: a test says what it expects of the shape by asserting it
export type AnyJson = any;

/** The JSON body of an answer. */
export async function readJson(response: { json(): Promise<unknown> }): Promise<AnyJson> {
  return response.json();
}
