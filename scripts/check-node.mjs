// Runs before start and test, under whatever Node npm found first. Plain JavaScript, so that an old Node can say
// what is wrong instead of failing on syntax.
const [major, minor] = process.versions.node.split(".").map(Number);
if (major < 24 || (major === 24 && minor < 12)) {
  console.error(
    `Postern needs Node 24.12 or later; this is ${process.versions.node}.\n` +
      "It normally brings its own: run `npm ci` in this folder, without --ignore-scripts and without --omit=dev,\n" +
      "or install Node 24.12+ yourself, then run the same command again.",
  );
  process.exit(2);
}
