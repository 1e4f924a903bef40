// Started by the suite for each client scenario, with the address of its mock server as the last argument. Where a refusal is
// the right thing the walk fails, and the suite decides by what it saw.
const { MCP_CONFORMANCE_SCENARIO, MCP_CONFORMANCE_CONTEXT, MCP_CONFORMANCE_PROTOCOL_VERSION } = process.env;
const answer = await fetch(process.env.POSTERN_CONFORMANCE_DRIVER ?? "", {
  method: "POST",
  body: JSON.stringify({
    url: process.argv.at(-1),
    scenario: MCP_CONFORMANCE_SCENARIO ?? "",
    context: JSON.parse(MCP_CONFORMANCE_CONTEXT ?? "{}"),
    version: MCP_CONFORMANCE_PROTOCOL_VERSION ?? "2025-11-25",
  }),
});
if (!answer.ok) {
  console.error(await answer.text());
  process.exitCode = 1;
}

export {};
