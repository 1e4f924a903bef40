import { Problem } from "../base/index.ts";

/** For a list that cannot be sorted by what was asked. */
export function unsorted(): never {
  throw new Problem(
    "invalid",
    "invalid_value",
    "Lists are sorted by attributes that are one text or one time. Choose another sortBy.",
    { param: "sortBy" },
  );
}
