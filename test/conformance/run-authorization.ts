import { Person } from "../journeys/steps/person.ts";
import { freePort } from "../peers/free-port.ts";
import { type RunningGateway, startGateway } from "../support/gateway.ts";
import { type Outcome, outcomeOf } from "./run-suite.ts";
import { runSuite } from "./suite.ts";

const scenarios = ["authorization-server-metadata-endpoint", "authorization-code-grant"];

/** The suite's authorization scenarios against our authorization server, with a person who consents to what it asks. */
export async function runAuthorization(timeoutMs: number): Promise<Outcome[]> {
  const gateway = await startGateway();
  const port = await freePort();
  const callback = `http://127.0.0.1:${port}/callback`;
  try {
    const args = ["--url", gateway.url, "--client-id", await registeredClient(gateway, callback)];
    const consented = consentOnce(await keyOf(gateway), callback);
    const run = await runSuite(
      "authorization",
      [...args, "--port", String(port), "--resource", `${gateway.url}/mcp`],
      { timeoutMs, onOutput: consented.read },
    );
    await consented.done();
    return scenarios.map((scenario) =>
      outcomeOf({ leg: "authorization", revision: "all", scenario }, run.scenarios.get(scenario), run.output),
    );
  } finally {
    await gateway.stop();
  }
}

/** Opens the address that the suite prints, once, and goes the whole way back to it. */
function consentOnce(key: string, callback: string): { read(output: string): void; done(): Promise<void> } {
  const person = new Person(key);
  let walk: Promise<unknown> | undefined;
  return {
    read: (output) => {
      const url = /^https?:\/\/\S*[?&]code_challenge=\S*$/m.exec(output)?.[0];
      if (url === undefined || walk) return;
      walk = person.allow(url, callback).then((answer) => fetch(answer));
    },
    done: async () => {
      await walk;
      await person.close();
    },
  };
}

/** RFC 7591. */
async function registeredClient({ url }: RunningGateway, callback: string): Promise<string> {
  const place = `${url}/.well-known/oauth-authorization-server`;
  const metadata = (await (await fetch(place)).json()) as { registration_endpoint: string };
  const answer = await fetch(metadata.registration_endpoint, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({
      client_name: "conformance",
      redirect_uris: [callback],
      token_endpoint_auth_method: "none",
    }),
  });
  const { client_id } = (await answer.json()) as { client_id: string };
  return client_id;
}

async function keyOf({ admin }: RunningGateway): Promise<string> {
  const { virtual_key } = await admin<{ virtual_key: { value: string } }>(
    "POST",
    "/api/governance/virtual-keys",
    { name: "suite" },
  );
  return virtual_key.value;
}
