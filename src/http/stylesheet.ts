import { sha256 } from "../base/index.ts";

/** One small stylesheet for all pages, served from our own origin so that the CSP needs no exception. */
export const stylesheet = `
:root { color-scheme: light dark; --ink: #1b1f24; --soft: #57606a; --line: #d5dae0; --paper: #ffffff; --ground: #f5f6f8;
  --accent: #1f5fbf; --accent-ink: #ffffff; --good: #1a7f37; --warn: #8a5300; --warn-paper: #fff6e3; --bad: #b42318; }
@media (prefers-color-scheme: dark) { :root { --ink: #e8eaed; --soft: #a3abb5; --line: #3a414a; --paper: #1c2026; --ground: #121519;
  --accent: #7fb0ff; --accent-ink: #0b1a30; --good: #57c271; --warn: #f0c060; --warn-paper: #33291a; --bad: #ff8a80; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--ground); color: var(--ink); font: 16px/1.5 system-ui, sans-serif; overflow-wrap: anywhere; }
main { max-width: 34rem; margin: 0 auto; padding: 1.25rem; min-height: 100vh; background: var(--paper); }
@media (min-width: 38rem) { main { min-height: 0; margin: 3rem auto; padding: 2rem; border: 1px solid var(--line); border-radius: 12px; } }
.brand { margin: 0 0 1.25rem; color: var(--soft); font-size: .8rem; letter-spacing: .08em; text-transform: uppercase; }
h1 { font-size: 1.4rem; line-height: 1.25; margin: 0 0 .75rem; }
h2 { font-size: 1rem; margin: 1.5rem 0 .5rem; }
p, ul, ol, dl { margin: 0 0 1rem; }
a { color: var(--accent); }
.fine, .hint { color: var(--soft); font-size: .875rem; }
.facts { display: grid; grid-template-columns: auto 1fr; gap: .25rem 1rem; padding: .75rem 1rem; border: 1px solid var(--line); border-radius: 8px; }
.facts dt { color: var(--soft); } .facts dd { margin: 0; font-weight: 600; }
.notice { padding: .75rem 1rem; border-radius: 8px; background: var(--warn-paper); color: var(--warn); }
.error { padding: .75rem 1rem; border-radius: 8px; border: 1px solid var(--bad); color: var(--bad); }
.services { list-style: none; padding: 0; border: 1px solid var(--line); border-radius: 8px; }
.services li { display: flex; gap: 1rem; align-items: center; justify-content: space-between; padding: .75rem 1rem; }
.services li + li { border-top: 1px solid var(--line); }
.services .state { color: var(--soft); font-size: .875rem; } .services .connected { color: var(--good); }
label { display: block; font-weight: 600; margin: 0 0 .25rem; }
input { width: 100%; font: inherit; padding: .6rem .75rem; border: 1px solid var(--line); border-radius: 8px; background: var(--paper); color: inherit; margin-bottom: 1rem; }
button, .button { display: inline-block; font: inherit; font-weight: 600; padding: .65rem 1.1rem; border-radius: 8px; border: 1px solid var(--accent);
  background: var(--accent); color: var(--accent-ink); text-decoration: none; cursor: pointer; }
button.quiet, .button.quiet { background: transparent; color: var(--accent); border-color: var(--line); }
:focus-visible { outline: 3px solid var(--accent); outline-offset: 2px; }
.actions { display: flex; flex-wrap: wrap; gap: .75rem; align-items: center; margin-top: 1.25rem; } .actions form { margin: 0; }
code, pre { font: .875rem/1.5 ui-monospace, monospace; } pre { padding: .75rem 1rem; border: 1px solid var(--line); border-radius: 8px; overflow-x: auto; white-space: pre-wrap; }
`;

export const stylesheetPath = `/assets/page-${sha256(stylesheet).slice(0, 12)}.css`;
