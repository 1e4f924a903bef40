import { availabilityAttacks } from "./attack-cases-availability.ts";
import { consentAttacks } from "./attack-cases-consent.ts";
import { identityAttacks } from "./attack-cases-identity.ts";
import { upstreamAttacks } from "./attack-cases-upstreams.ts";
import type { Requirement } from "./requirement.ts";
import { standards } from "./standards.ts";
import { wireContract } from "./wire-contract.ts";
import { wireContractManagement } from "./wire-contract-management.ts";

/** What holds now, and only that: `test/requirements.test.ts` fails on an entry without its test, and on an id without its entry. */
export const requirements: readonly Requirement[] = [
  ...wireContract,
  ...wireContractManagement,
  ...consentAttacks,
  ...identityAttacks,
  ...upstreamAttacks,
  ...availabilityAttacks,
  ...standards,
];
