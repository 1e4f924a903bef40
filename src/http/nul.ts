/**
 * Where a value has a NUL, as a path of names; undefined when nowhere. Postgres refuses it in a text, and nothing of ours
 * has one. `except`: outermost names whose values are not looked at.
 */
export function findNul(value: unknown, except: readonly string[] = []): readonly string[] | undefined {
  return find(value, [], except);
}

function find(
  value: unknown,
  path: readonly string[],
  except: readonly string[],
): readonly string[] | undefined {
  if (typeof value === "string") return value.includes("\0") ? path : undefined;
  if (typeof value !== "object" || value === null) return undefined;
  for (const [name, inner] of Object.entries(value)) {
    if (except.includes(name)) continue;
    const found = name.includes("\0") ? path : find(inner, [...path, name], []);
    if (found) return found;
  }
  return undefined;
}
