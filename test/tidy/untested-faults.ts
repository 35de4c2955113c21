/** Faults by number that no test is named after, and why. A line here without need fails the test as well. */
export const UNTESTED_FAULTS: ReadonlyMap<number, string> = new Map([
  [51, 'one process has no fill that another leads: leases come with several replicas'],
])
