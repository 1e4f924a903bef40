import { callback } from "./callback.ts";
import { code } from "./code.ts";
import { deliver } from "./deliver.ts";
import { end } from "./end.ts";
import { headers } from "./headers.ts";
import type { Operation, OperationName } from "./operation.ts";
import { refresh } from "./refresh.ts";
import { revoke } from "./revoke.ts";
import { rotate } from "./rotate.ts";
import { submit } from "./submit.ts";
import { swap } from "./swap.ts";

/**
 * How every fault point that a serving gateway reaches is driven, by the first word of its name. One operation a file: it
 * brings about what comes before the point, sets the operation off, says what must be true of the rows after the crash, and
 * goes on as its person or client would. `deaths.ts` kills at each point; a name without an entry here does not type-check.
 */
export const operations: Record<Exclude<OperationName, "migrate" | "keys">, Operation> = {
  submit,
  callback,
  swap,
  headers,
  refresh,
  code,
  rotate,
  revoke,
  end,
  deliver,
};
