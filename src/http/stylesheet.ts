import { sha256 } from "../base/index.ts";

/** One small stylesheet for all pages, served from our own origin so that the CSP needs no exception. */
export const stylesheet = `
:root { color-scheme: light dark; --ink: #1b1f24; --soft: #57606a; --line: #d8dee4; --edge: #858f99; --paper: #ffffff; --ground: #f3f5f7;
  --wash: #f6f8fa; --accent: #1f5fbf; --accent-deep: #174a96; --accent-ink: #ffffff; --good: #146c2e; --good-paper: #e6f4ea;
  --warn: #7a4b00; --warn-paper: #fff6e3; --warn-line: #ecd9ac; --bad: #b42318; --bad-paper: #fef1f0; }
@media (prefers-color-scheme: dark) { :root { --ink: #e8eaed; --soft: #a3abb5; --line: #343b44; --edge: #7d8792; --paper: #1c2026; --ground: #121519;
  --wash: #22272e; --accent: #7fb0ff; --accent-deep: #a3c7ff; --accent-ink: #0b1a30; --good: #63cf7d; --good-paper: #173322;
  --warn: #f0c060; --warn-paper: #33291a; --warn-line: #57441f; --bad: #ff8a80; --bad-paper: #3a1d1b; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--ground); color: var(--ink); font: 16px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, sans-serif; overflow-wrap: anywhere; }
main { max-width: 33rem; margin: 0 auto; padding: 1.25rem 1.25rem 2rem; min-height: 100vh; background: var(--paper); }
@media (min-width: 38rem) { main { min-height: 0; margin: 3.5rem auto; padding: 2.25rem 2.5rem 2.5rem; border: 1px solid var(--line); border-radius: 14px; } }
.brand { display: flex; align-items: center; gap: .5rem; margin: 0 0 1.5rem; color: var(--soft); font-size: .875rem; font-weight: 600; }
.brand svg { width: 1.25rem; height: 1.25rem; fill: none; stroke: var(--accent); stroke-width: 2; stroke-linecap: round; }
h1 { font-size: 1.5rem; line-height: 1.25; letter-spacing: -.01em; text-wrap: balance; margin: 0 0 .5rem; }
h1 + .facts, h1 + .error, h1 + .done, h1 + .notice { margin-top: 1.25rem; }
h2 { font-size: 1rem; margin: 1.75rem 0 .5rem; }
p, ul, ol, dl { margin: 0 0 1rem; }
.lead { color: var(--soft); margin-bottom: 1.25rem; } .lead strong { color: var(--ink); } .lead a { white-space: nowrap; }
a { color: var(--accent); }
.fine, .hint { color: var(--soft); font-size: .875rem; }
.facts { display: grid; grid-template-columns: max-content minmax(0, 1fr); gap: .375rem 1rem; padding: .875rem 1rem; background: var(--wash); border: 1px solid var(--line); border-radius: 10px; font-size: .9375rem; }
.facts dt { color: var(--soft); } .facts dd { margin: 0; font-weight: 600; } .facts dd small { display: block; color: var(--soft); font-size: .875rem; font-weight: 400; }
@media (max-width: 26rem) { .facts { display: block; } .facts dt { font-size: .875rem; } .facts dd { margin-bottom: .5rem; } .facts dd:last-child { margin: 0; } }
.notice, .error, .done { padding: .75rem 1rem; border: 1px solid; border-radius: 10px; font-size: .9375rem; }
.notice { background: var(--warn-paper); border-color: var(--warn-line); color: var(--warn); }
.error { background: var(--bad-paper); border-color: var(--bad); color: var(--bad); }
.done { background: var(--good-paper); border-color: var(--good); color: var(--good); }
.services { list-style: none; padding: 0; border: 1px solid var(--line); border-radius: 10px; }
.services li { display: flex; gap: .75rem; align-items: center; padding: .875rem 1rem; }
.services li + li { border-top: 1px solid var(--line); }
.services .what { flex: 1 1 auto; min-width: 0; display: flex; flex-direction: column; } .services .what .fine { line-height: 1.4; }
.services .state { color: var(--soft); font-size: .875rem; } .services .connected { color: var(--good); font-weight: 600; } .services .broken { color: var(--warn); font-weight: 600; }
.services .connected::before { content: "\\2713\\00a0"; }
.services .button { flex: none; min-width: 6rem; padding: .4375rem .75rem; text-align: center; } .services > li > .state { flex: none; margin-left: auto; }
.letter { flex: none; display: grid; place-items: center; width: 2.25rem; height: 2.25rem; border-radius: 9px; background: var(--wash); border: 1px solid var(--line); color: var(--soft); font-weight: 600; text-transform: uppercase; }
@media (max-width: 26rem) { .letter { display: none; } .services li { gap: .5rem; } .services .button { min-width: 0; padding: .4375rem .625rem; } }
.services .tall { align-items: flex-start; } .account { display: flex; flex-direction: column; } .what > .state, .what > .account { margin-top: .25rem; } .what > .account + .account { margin-top: .75rem; }
.what > details { margin: .25rem 0 0; } .what > details > summary { padding: .25rem 0; } .services > li > form { flex: none; margin: 0; }
.does { display: flex; flex-wrap: wrap; gap: .25rem .5rem; align-items: center; margin: .375rem 0 0; } .does form { margin: 0; }
button.small, .button.small, .services .button.small { min-width: 0; min-height: 2rem; padding: .25rem .75rem; font-size: .875rem; } .services .does > .small.plain, .services .does > form > .small.plain { margin-left: -.5rem; padding-inline: .5rem; } .services form + .small.plain { margin-left: 0; }
.count { color: var(--soft); font-weight: 400; }
label { display: block; font-weight: 600; margin: 0 0 .25rem; }
input { width: 100%; font: inherit; padding: .625rem .75rem; border: 1px solid var(--edge); border-radius: 8px; background: var(--paper); color: inherit; margin-bottom: 1rem; }
::placeholder { color: var(--soft); opacity: 1; } input[aria-invalid] { border-color: var(--bad); } input + .hint { margin-top: -.625rem; }
button, .button { display: inline-block; font: inherit; font-weight: 600; padding: .625rem 1.125rem; border-radius: 8px; border: 1px solid var(--accent);
  background: var(--accent); color: var(--accent-ink); text-decoration: none; text-wrap: balance; cursor: pointer; }
button:hover, .button:hover { background: var(--accent-deep); border-color: var(--accent-deep); }
button.quiet, .button.quiet { background: transparent; color: var(--accent); border-color: var(--edge); } button.quiet:hover, .button.quiet:hover { background: var(--wash); }
button.plain, .button.plain { background: transparent; border-color: transparent; color: var(--soft); } button.plain:hover, .button.plain:hover { background: var(--wash); color: var(--ink); }
form + .fine, .actions + .fine { margin-top: .75rem; }
:focus-visible { outline: 3px solid var(--accent); outline-offset: 2px; }
.actions { display: flex; flex-wrap: wrap; gap: .75rem; align-items: center; margin-top: 1.5rem; } .actions form { margin: 0; } .actions p { flex-basis: 100%; margin: 0; }
@media (max-width: 37.99rem) { .actions, .actions form { align-items: stretch; flex-direction: column; } .actions > *, .actions button, .actions .button, form > button, p > .button { width: 100%; text-align: center; } .actions .fine { text-align: left; } }
@media (min-width: 38rem) { .actions > form:first-child > .plain { margin-left: -1.125rem; } }
.provider { margin: 0 0 .75rem; } .provider button { width: 100%; } form + .provider { margin-top: .75rem; }
.inline { display: flex; gap: .5rem; align-items: flex-start; } .inline input { min-width: 0; margin: 0; } .inline input { flex: 1; } .inline > button { flex: none; width: auto; }
.qr svg { display: block; width: 14rem; max-width: 100%; height: auto; margin: 0 0 1rem; border-radius: 10px; } button[disabled] { opacity: .5; cursor: not-allowed; }
.or { display: flex; align-items: center; gap: .75rem; margin: 1.5rem 0 1rem; color: var(--soft); font-size: .875rem; } .or::before, .or::after { content: ""; flex: 1; border-top: 1px solid var(--line); }
details { margin: 0 0 1rem; } summary { cursor: pointer; color: var(--accent); } details[open] summary { margin-bottom: .75rem; }
code, pre { font: .875rem/1.5 ui-monospace, monospace; } .facts .big { font-size: 1.5rem; letter-spacing: .06em; } pre { padding: .75rem 1rem; border: 1px solid var(--line); border-radius: 10px; overflow-x: auto; white-space: pre-wrap; }
`;

export const stylesheetPath = `/assets/page-${sha256(stylesheet).slice(0, 12)}.css`;
