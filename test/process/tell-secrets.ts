// Loaded into a gateway's own process before it starts (gateway-process.ts): writes down what it takes for a secret, at once,
// for whoever looks through what it leaves behind. See test/support/known-secrets.ts.
import { appendFileSync } from "node:fs";
import { onSecret } from "../support/known-secrets.ts";

const file = process.env.POSTERN_TEST_SECRETS!;
// The gateway refuses variables that it does not know.
delete process.env.POSTERN_TEST_SECRETS;

onSecret.push((value, what) => appendFileSync(file, `${JSON.stringify([value, what])}\n`));
