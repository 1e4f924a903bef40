import type { Requirement } from "./requirement.ts";

/** What may fail under the gateway, or beside it, and what must not come of it. */
export const availabilityAttacks: readonly Requirement[] = [
  {
    id: "AV-01",
    section: "availability",
    text: "A submit that is killed at any step has happened whole or not at all; before the commit it can be sent again.",
  },
  {
    id: "AV-02",
    section: "availability",
    text: "A callback that is killed leaves no half row; whoever came back can start again.",
  },
  {
    id: "ST-11",
    section: "availability",
    text: "A migration that is killed leaves the old schema or the new one, and every row.",
  },
  {
    id: "R3",
    section: "availability",
    text: "Submit is one transaction, and the redirect leaves after it.",
  },
  {
    id: "R30",
    section: "availability",
    text: "Every numbered step of what must not be left half done can be made the last one of its process, in tests only.",
  },
  {
    id: "AV-03",
    section: "availability",
    text: "An upstream's token whose refresh was cut off: the lease ends, the person is asked at most once, and told why.",
  },
  {
    id: "AV-11",
    section: "availability",
    text: "Clocks that differ by a minute, or jump by an hour, sign nobody out, revive nothing and take no lease away.",
  },
  {
    id: "AV-12",
    section: "availability",
    text: "Replicas that need the same token refresh it once between them.",
  },
  {
    id: "AV-05",
    section: "availability",
    text: "While the database is away warm calls go on, all else is 503 with Retry-After at every door, and it recovers by itself.",
  },
  {
    id: "AV-07",
    section: "availability",
    text: "On a full disk writes are undone whole and refused with 503, reads go on, no refresh begins, and room is enough to go on.",
  },
  {
    id: "AV-19",
    section: "availability",
    text: "Traffic that leaves nothing behind leaves no row in any table, and the file takes no more room.",
  },
  {
    id: "AV-08",
    section: "availability",
    text: "A database file that another process holds refuses for a moment, and changes nothing; one that others read, write, back up and checkpoint is busy for nobody.",
  },
  {
    id: "AV-09",
    section: "availability",
    text: "A commit whose answer is lost is resolved by asking the database, never by doing it a second time.",
  },
  {
    id: "AV-10",
    section: "availability",
    text: "Transactions that block each other are done again, a bounded number of times, and both happen.",
  },
  {
    id: "AV-14",
    section: "availability",
    text: "A revocation counts on every replica within a second, with and without notifications; what was missed drops everything remembered.",
  },
  {
    id: "AV-25",
    section: "availability",
    text: "Jobs for one replica run on one of them, and on another when that is gone; sweeps delete in bounded batches, on two replicas at once, and nothing that is being used.",
  },
  {
    id: "AV-26",
    section: "availability",
    text: "Replicas of the version before and of this one work side by side on one database.",
  },
];
