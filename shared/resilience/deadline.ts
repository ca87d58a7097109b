// The instant at which the caller's time is up, such as the end of a Lambda invocation. Wall time, so that it holds across a frozen container.

export type Deadline = { readonly atMs: number }

/** Time left; 0 once it has passed. */
export function remainingMs(deadline: Deadline, nowMs: number): number {
  return Math.max(0, deadline.atMs - nowMs)
}

/** Whether something that needs `needMs` ends in time when it starts now. */
export function fits(deadline: Deadline, nowMs: number, needMs: number): boolean {
  return nowMs + needMs <= deadline.atMs
}
