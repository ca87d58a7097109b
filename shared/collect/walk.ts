// How collectors go over their parts (networks, DEXes, pools): one part's trouble never costs the others,
// except where asking on is pointless or harmful, because the API refuses this caller as a whole, or the time is up.

import { DeadlineExceededError, GeckoApiError } from '../errors.ts'
import type { FetchFailure, Page } from './collector.ts'

/** Runs `fetch` over the parts in order; a part that fails is reported, and the next one is fetched. */
export async function* eachPart<Part>(
  parts: readonly Part[],
  fetch: (part: Part) => AsyncIterable<Page>,
  nameOf: (part: Part) => string = String,
): AsyncIterable<Page | FetchFailure> {
  for (const part of parts) {
    try {
      yield* fetch(part)
    } catch (error) {
      yield { what: nameOf(part), error }
      if (refusesAll(error)) return
    }
  }
}

/** Rate limit, blocked address, bad key, open breaker, spent budget or no time left: the next call would get the same. */
const refusesAll = (error: unknown) =>
  error instanceof DeadlineExceededError ||
  (error instanceof GeckoApiError && ['rate-limited', 'blocked', 'unauthorized', 'not-sent'].includes(error.failure))
