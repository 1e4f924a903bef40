import { startGateway } from "../support/gateway.ts";
import type { Contract } from "./document.ts";
import { cookieOf, form, password } from "./household.ts";
import { type Sent, Wire } from "./wire.ts";

/** The first administrator is made in a gateway that has none. */
export async function setUp(contract: Contract): Promise<string[]> {
  const gateway = await startGateway();
  const wire = new Wire(gateway.url);
  const faults: string[] = [];
  try {
    const ask = async (operationId: string, sent: Omit<Sent, "method">, wanted: number) => {
      const operation = contract.operations.find((one) => one.operationId === operationId)!;
      const answer = await wire.send({ method: operation.method, ...sent });
      const fault = contract.undocumented(operation, answer);
      if (fault || answer.status !== wanted)
        faults.push(`${operation.name}: ${answer.status}, not ${wanted}: ${fault}`);
      return answer;
    };
    const link = new URL((await gateway.gateway.setupLink())!);
    const opened = await ask("setupPage", { target: link.pathname + link.search }, 303);
    const cookie = cookieOf(opened);
    await ask("setupPage", { target: "/setup", headers: { cookie } }, 200);
    const account = { email: "first@example.com", password };
    await ask("setupForm", { target: "/setup", ...form({ ...account, password: "short" }, cookie) }, 303);
    await ask("setupForm", { target: "/setup", ...form(account, cookie) }, 303);
    await ask("setupForm", { target: "/setup", ...form(account, cookie) }, 410);
    return faults;
  } finally {
    wire.close();
    await gateway.stop();
  }
}
