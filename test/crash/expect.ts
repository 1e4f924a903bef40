/** Throws when it is not what it must be, as JSON says it. The proof in bench/ runs without Vitest. */
export function expect(what: string, is: unknown, mustBe: unknown): void {
  const [found, wanted] = [JSON.stringify(is), JSON.stringify(mustBe)];
  if (found !== wanted) throw new Error(`${what}: ${wanted} expected, not ${found}`);
}
