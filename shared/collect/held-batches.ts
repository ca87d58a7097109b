// What a replay has in hand and can't write yet, by what it waits for: receipts alone, so that a long queue takes no memory.
// They stay in hand meanwhile, because a queue hands out its oldest first: given back, they would come again before every other stream's.

export type HeldBatches = {
  /** Holds these until then. `key` is a stream, or one batch. */
  hold(key: string, receipts: readonly string[], untilMs: number): void
  /** When the key's time comes, while it is held. */
  untilMs(key: string): number | undefined
  /** Takes out those whose time has come. */
  takeDue(nowMs: number): readonly string[]
  takeAll(): readonly string[]
  /** When the next time comes; undefined when nothing is held. */
  nextAtMs(): number | undefined
}

export function createHeldBatches(): HeldBatches {
  const held = new Map<string, { readonly receipts: string[]; untilMs: number }>()
  const take = (isDue: (untilMs: number) => boolean) =>
    [...held].flatMap(([key, { receipts, untilMs }]) => {
      if (!isDue(untilMs)) return []
      held.delete(key)
      return receipts
    })
  return {
    hold(key, receipts, untilMs) {
      held.set(key, { receipts: [...(held.get(key)?.receipts ?? []), ...receipts], untilMs })
    },
    untilMs: (key) => held.get(key)?.untilMs,
    takeDue: (nowMs) => take((untilMs) => untilMs <= nowMs),
    takeAll: () => take(() => true),
    nextAtMs: () => (held.size === 0 ? undefined : Math.min(...[...held.values()].map(({ untilMs }) => untilMs))),
  }
}
