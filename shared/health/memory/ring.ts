// Slots of equal length in time, the newest last: minutes, hours, days. Pure; JSON as it stands.
// A slot is known by the number of the stretch that it stands for (since the epoch), so that a gap stays a gap, and after a long one, or under a
// clock that was set back, nothing is taken for something that it is not.

/** 0: nothing is known of it. */
export type Slot<Content> = Content | 0

export type Ring<Content> = { readonly newest: number; readonly slots: readonly Slot<Content>[] }

export const emptyRing: Ring<never> = { newest: 0, slots: [] }

/**
 * The ring with `number` as its newest slot, and `size` slots at most. What lies in the future of a clock that was set back goes: nobody knows
 * when it was.
 */
export function movedTo<Content>({ newest, slots }: Ring<Content>, number: number, size: number): Ring<Content> {
  const added = number - newest
  if (added <= 0) return { newest: number, slots: slots.slice(0, Math.max(0, slots.length + added)) }
  if (slots.length === 0) return { newest: number, slots: [] }
  const gap = Array.from<Slot<Content>>({ length: Math.min(added, size) }).fill(0)
  return { newest: number, slots: [...slots, ...gap].slice(-size) }
}

const indexOf = ({ newest, slots }: Ring<unknown>, number: number) => slots.length - 1 - (newest - number)

/** 0 where nothing is known. */
export const slotAt = <Content>(ring: Ring<Content>, number: number): Slot<Content> => ring.slots[indexOf(ring, number)] ?? 0

/** With this slot changed. One before the oldest is added in front while there is room, else it is forgotten; the newest comes first with `movedTo`. */
export function withSlot<Content>(ring: Ring<Content>, number: number, content: Content, size: number): Ring<Content> {
  const missing = Math.max(0, ring.newest - number + 1 - ring.slots.length)
  if (number > ring.newest || ring.slots.length + missing > size) return ring
  const slots = [...Array.from<Slot<Content>>({ length: missing }).fill(0), ...ring.slots]
  return { newest: ring.newest, slots: slots.with(indexOf({ newest: ring.newest, slots }, number), content) }
}

/** What is known of the `count` slots up to `newest`, oldest first. */
export function within<Content>(ring: Ring<Content>, newest: number, count: number): readonly Content[] {
  const numbers = Array.from({ length: count }, (_, n) => newest - count + 1 + n)
  return numbers.map((number) => slotAt(ring, number)).filter((slot): slot is Content => slot !== 0)
}
