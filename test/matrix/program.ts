// The upstream of the matrix that speaks over stdio; started by the gateway, not by the test.
import { StdioServerTransport } from "@modelcontextprotocol/sdk/server/stdio.js";
import { Peer } from "./peer.ts";
import { serverOfSdk1 } from "./peer-servers.ts";
import { pinned } from "./revisions.ts";

const peer = new Peer(process.argv[2]?.replace("--name=", "") ?? "program", "2025-11-25");
await serverOfSdk1(peer).connect(pinned(new StdioServerTransport(), peer.revision));
