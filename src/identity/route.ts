import { defineRoute } from "../http/index.ts";
import type { Principal } from "./principal.ts";

/** Defines a route whose caller is a proved principal (for `admin`, `management`, `signed_in`). */
export const route = defineRoute<Principal>();
