/** Guessing takes time that grows with the square of the length; what is hard to guess after so many characters stays so. */
const JUDGED = 64;

type Judge = (password: string, words: string[]) => number;

let loading: Promise<Judge> | undefined;

/** How hard a password is to guess, 0 to 4. `words`: what somebody who knows its owner would try first. */
export async function guessability(password: string, words: string[]): Promise<number> {
  loading ??= load();
  return (await loading)(password.slice(0, JUDGED), words);
}

/** The lists take megabytes and a tenth of a second; most processes never see a password being chosen. */
async function load(): Promise<Judge> {
  const [{ ZxcvbnFactory }, { adjacencyGraphs, dictionary }] = await Promise.all([
    import("@zxcvbn-ts/core"),
    import("@zxcvbn-ts/language-common"),
  ]);
  const judge = new ZxcvbnFactory({ dictionary, graphs: adjacencyGraphs });
  return (password, words) => judge.check(password, words).score;
}
