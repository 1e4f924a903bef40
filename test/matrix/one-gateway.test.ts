import { matrix } from "./matrix.suite.ts";

matrix("through one gateway", 1);
