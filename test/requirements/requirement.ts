/** One MUST that this repository proves. */
export interface Requirement {
  /** A test's title cites it: `XX-00` an attack case, `R00` a rule against attacks, `RFC0000-0` a section, `contract-0-…` the wire, `budget-…` the performance budget. */
  id: string;
  section: string;
  text: string;
  /** The title of the test that proves it, where the title does not carry the id. */
  title?: string;
}
