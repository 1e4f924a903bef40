import { matrix } from "./matrix.suite.ts";

matrix("through three replicas behind round robin, without affinity", 3);
