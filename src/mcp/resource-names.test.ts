import { describe, expect, test } from "vitest";
import type { Upstream } from "../upstreams/index.ts";
import { ResourceNames } from "./resource-names.ts";

function upstream(name: string, uris: string[], templates: string[] = []): Upstream {
  const features = {
    capabilities: { resources: {} },
    resources: uris.map((uri) => ({ name: uri, uri })),
    templates: templates.map((uriTemplate) => ({ name: uriTemplate, uriTemplate })),
    prompts: [],
  };
  return { id: `id_${name}`, name, features } as unknown as Upstream;
}

const listed = (names: ResourceNames) => names.resources.map(({ name }) => name);
const owner = (names: ResourceNames, uri: string) => {
  const found = names.find(uri);
  return found && `${found.upstream.name} ${found.own}`;
};

describe("names of resources (docs/decisions/0015)", () => {
  test("a URI that one upstream has stays as it is", () => {
    const names = new ResourceNames([upstream("a", ["x://2", "x://1"]), upstream("b", ["y://1"])]);
    expect(listed(names)).toEqual(["x://1", "x://2", "y://1"]);
    expect(owner(names, "x://2")).toBe("a x://2");
  });

  test("MC-18 a URI that two have is neither's alone; both are found under their names", () => {
    const names = new ResourceNames([upstream("a", ["x://1"]), upstream("b", ["x://1"])]);
    expect(listed(names)).toEqual(["postern://a/x://1", "postern://b/x://1"]);
    expect(owner(names, "x://1")).toBeUndefined();
    expect(owner(names, "postern://b/x://1")).toBe("b x://1");
  });

  test("an App's page keeps the scheme that hosts look for", () => {
    const names = new ResourceNames([upstream("a", ["ui://view"]), upstream("b", ["ui://view"])]);
    expect(listed(names)).toEqual(["ui://postern/a/ui://view", "ui://postern/b/ui://view"]);
    expect(owner(names, "ui://postern/a/ui://view")).toBe("a ui://view");
  });

  test("MC-18 an upstream cannot take a name of another by calling its own so", () => {
    const evil = upstream("evil", ["postern://a/x://1", "ui://postern/a/ui://v"]);
    const names = new ResourceNames([upstream("a", ["x://1", "ui://v"]), evil]);
    expect(owner(names, "postern://a/x://1")).toBe("a x://1");
    expect(listed(names)).toContain("postern://evil/postern://a/x://1");
    expect(owner(names, "postern://evil/postern://a/x://1")).toBe("evil postern://a/x://1");
    expect(owner(names, "ui://postern/evil/ui://postern/a/ui://v")).toBe("evil ui://postern/a/ui://v");
  });

  test("MC-18 a URI that another upstream's template covers is the template's", () => {
    const names = new ResourceNames([upstream("a", [], ["notes://{id}"]), upstream("b", ["notes://7"])]);
    expect(listed(names)).toEqual(["postern://b/notes://7"]);
    expect(owner(names, "notes://7")).toBe("a notes://7");
    expect(owner(names, "postern://b/notes://7")).toBe("b notes://7");
  });

  test("templates that may meet are told apart, and what they expand to as well", () => {
    const names = new ResourceNames([
      upstream("a", [], ["db://{table}", "a://{x}"]),
      upstream("b", [], ["db://rows/{id}"]),
    ]);
    expect(names.templates.map(({ name }) => name)).toEqual([
      "a://{x}",
      "postern://a/db://{table}",
      "postern://b/db://rows/{id}",
    ]);
    expect(owner(names, "postern://b/db://rows/1")).toBe("b db://rows/1");
    expect(owner(names, "a://1")).toBe("a a://1");
    expect(names.findTemplate("postern://a/db://{table}")?.own).toBe("db://{table}");
  });

  test("a URI nobody listed goes to the only upstream that uses its scheme, else to nobody", () => {
    const names = new ResourceNames([
      upstream("a", ["x://1"]),
      upstream("b", ["y://1", "z://1"]),
      upstream("c", ["z://2"]),
    ]);
    expect(owner(names, "x://other")).toBe("a x://other");
    expect(owner(names, "z://other")).toBeUndefined();
    expect(owner(names, "w://other")).toBeUndefined();
    expect(owner(new ResourceNames([upstream("a", ["x://1"])]), "w://other")).toBe("a w://other");
  });

  test("names lead back: what nameOf says, find finds", () => {
    const [a, b] = [upstream("a", ["x://1", "x://2"]), upstream("b", ["x://1"])] as const;
    const names = new ResourceNames([a, b]);
    for (const [one, uri] of [
      [a, "x://1"],
      [a, "x://2"],
      [b, "x://1"],
      [b, "q://9"],
    ] as const) {
      expect(owner(names, names.nameOf(one, uri))).toBe(`${one.name} ${uri}`);
    }
  });

  test("upstreams without resources have no names at all", () => {
    const none = { id: "id_n", name: "n" } as unknown as Upstream;
    expect(owner(new ResourceNames([none]), "postern://n/x://1")).toBeUndefined();
  });
});
