// The seeded market: which pools a network has at a moment, and which pool an address names. Nothing is stored and nothing ticks: a pool is a
// function of seed, network and its number, and its address holds that number, so that any pool can be found again without having been listed.
// Numbers below `established` are old pools, the ones that the top lists show; the others were created one a time slot, for ever.

import { base58, hex, letters, scatter, unit, unscatter, words } from './seeded.ts'
import { networkOf, type Dex, type Network, type QuoteToken, type Token } from './networks.ts'

/** 12 pages of old pools, so that the 10 pages of the API do not show them all. */
const established = 240

/** A new pool is listed this long after its creation. Constant: the order of creation is the order of appearance. */
const listedAfterMs = 6_000

export type Pool = {
  readonly network: Network
  readonly number: number
  /** For all that is seeded about it. */
  readonly seed: number
  readonly address: string
  readonly name: string
  readonly dex: Dex
  readonly base: Token
  readonly quote: QuoteToken
  readonly createdAtMs: number
  readonly isNew: boolean
  readonly startPriceUsd: number
  /** One trade in each such stretch of time. */
  readonly tradeEveryMs: number
  /** A stillborn pool stops after so many. */
  readonly trades: number
}

export type Rates = {
  /** By network; a network that is not named keeps its own. */
  readonly newPoolsPerMinute: Readonly<Record<string, number>>
  /** Of Solana's busiest pool; the others follow in proportion. */
  readonly tradesPerMinute: number
}

export type Market = {
  readonly seed: number
  readonly networks: readonly Network[]
  /** The old pools, busiest first. */
  established(network: Network): readonly Pool[]
  /** Pools that are listed at `atMs`, newest first. */
  newest(network: Network, atMs: number, limit: number): readonly Pool[]
  /** Undefined when no pool that is listed at `atMs` has this address. Case matters. */
  find(network: Network, address: string, atMs: number): Pool | undefined
}

export function createMarket(seed: number, networkIds: readonly string[], rates: Rates): Market {
  const networks = networkIds.map(networkOf)
  const slotMs = (network: Network) => 60_000 / (rates.newPoolsPerMinute[network.id] ?? network.newPoolsPerMinute)
  const old = new Map(
    networks.map((n) => [n.id, Array.from({ length: established }, (_, number) => oldPool(seed, n, number, rates.tradesPerMinute))]),
  )
  const newPool = (network: Network, slot: number) => youngPool(seed, network, slot, slotMs(network))

  return {
    seed,
    networks,
    established: (network) => old.get(network.id) ?? [],
    newest(network, atMs, limit) {
      const pools: Pool[] = []
      const last = Math.floor((atMs - listedAfterMs) / slotMs(network))
      for (let slot = last; slot >= 0 && pools.length < limit; slot--) {
        const pool = newPool(network, slot)
        if (pool.createdAtMs + listedAfterMs <= atMs) pools.push(pool)
      }
      return pools
    },
    find(network, address, atMs) {
      const number = numberIn(seed, network, address)
      if (number === undefined) return undefined
      const pool = number < established ? old.get(network.id)?.[number] : newPool(network, number - established)
      if (pool?.address !== address) return undefined
      return pool.isNew && pool.createdAtMs + listedAfterMs > atMs ? undefined : pool
    },
  }
}

function oldPool(seed: number, network: Network, number: number, busiestPerMinute: number): Pool {
  const own = words(`${seed}:${network.id}:${number}`)()
  const pick = (salt: number) => unit(own, 0, salt)
  const perMinute = busiestPerMinute * network.activity * (number + 1) ** -1.1
  const since = Math.max(Date.UTC(2021, 0, 1), network.firstBlockAtMs)
  return makePool(seed, network, number, own, {
    dex: network.dexes[Math.floor(pick(1) ** 1.5 * network.dexes.length)]!,
    isNew: false,
    createdAtMs: Math.floor((since + pick(2) * (Date.UTC(2025, 0, 1) - since)) / 1000) * 1000,
    // Some are worth next to nothing: 2e-21 has been seen, and a price in quote tokens with 24 digits before the point.
    startPriceUsd: pick(3) < 0.02 ? 1e-21 * (1 + pick(4)) : 10 ** (pick(4) * 9 - 7),
    // A rate of 0 gives one trade in a million years, not a division by zero.
    tradeEveryMs: 60_000 / Math.max(perMinute, 1e-13),
    trades: Infinity,
  })
}

function youngPool(seed: number, network: Network, slot: number, slotMs: number): Pool {
  const number = established + slot
  const own = words(`${seed}:${network.id}:${number}`)()
  const pick = (salt: number) => unit(own, 0, salt)
  const launchpad = network.dexes.find((dex) => dex.launchpad)
  const fate = pick(5)
  return makePool(seed, network, number, own, {
    dex: launchpad && pick(1) < 0.7 ? launchpad : network.dexes[Math.floor(pick(2) * network.dexes.length)]!,
    isNew: true,
    createdAtMs: Math.floor(((slot + 0.8 * pick(6)) * slotMs) / 1000) * 1000,
    startPriceUsd: pick(3) < 0.7 ? 5.8e-6 * (1 + 0.1 * pick(4)) : 10 ** (pick(4) * 7 - 7),
    // Most die within minutes, some last, a few are hot.
    tradeEveryMs: fate < 0.85 ? 2_000 + 20_000 * pick(7) : fate < 0.97 ? 10_000 + 300_000 * pick(7) : 1_500 + 1_500 * pick(7),
    trades: fate < 0.55 ? 1 + Math.floor(12 * pick(8)) : fate < 0.85 ? 20 + Math.floor(180 * pick(8)) : Infinity,
  })
}

type Traits = Pick<Pool, 'dex' | 'isNew' | 'createdAtMs' | 'startPriceUsd' | 'tradeEveryMs' | 'trades'>

function makePool(seed: number, network: Network, number: number, own: number, traits: Traits): Pool {
  const address = addressOf(seed, network, 'pool', number, traits.dex)
  const { symbol, name } = tokenNames(own)
  const base: Token = {
    address: traits.dex.launchpad === 'pool-is-token' ? address : addressOf(seed, network, 'token', number, traits.dex),
    symbol,
    name,
    decimals: network.addresses === 'hex' ? 18 : unit(own, 0, 11) < 0.8 ? 6 : 9,
    coingeckoId: traits.isNew || unit(own, 0, 12) < 0.5 ? null : name.toLowerCase(),
  }
  const quote = unit(own, 0, 13) < 0.8 ? network.native : network.stable
  return { network, number, seed: own, address, name: `${symbol} / ${quote.symbol}`, base, quote, ...traits }
}

/** The pool's number is in the first part: 12 hex digits, or 9 base58 digits. */
function addressOf(seed: number, network: Network, kind: 'pool' | 'token', number: number, dex: Dex): string {
  const next = words(`${seed}:${network.id}:${kind}:${number}`)
  let rest = scatter(orderSeed(seed, network, kind), number)
  if (network.addresses === 'hex') {
    const long = kind === 'pool' && dex.longIds === true
    return `0x${rest.toString(16).padStart(12, '0')}${letters(next, hex, long ? 52 : 28)}`
  }
  let digits = ''
  for (let i = 0; i < 9; i++) {
    digits = base58[rest % 58] + digits
    rest = Math.floor(rest / 58)
  }
  return kind === 'token' && dex.launchpad ? `${digits}${letters(next, base58, 31)}pump` : `${digits}${letters(next, base58, 35)}`
}

function orderSeed(seed: number, network: Network, kind: 'pool' | 'token'): number {
  return words(`${seed}:${network.id}:${kind}`)()
}

function numberIn(seed: number, network: Network, address: string): number | undefined {
  if (network.addresses === 'hex') {
    if (!/^0x([0-9a-f]{40}|[0-9a-f]{64})$/.test(address)) return undefined
    return unscatter(orderSeed(seed, network, 'pool'), Number.parseInt(address.slice(2, 14), 16))
  }
  if (!/^[1-9A-HJ-NP-Za-km-z]{44}$/.test(address)) return undefined
  let scattered = 0
  for (const digit of address.slice(0, 9)) scattered = scattered * 58 + base58.indexOf(digit)
  return scattered < 2 ** 48 ? unscatter(orderSeed(seed, network, 'pool'), scattered) : undefined
}

/** Names that have broken something somewhere: quotes, backslashes, other scripts, joined emoji, digits only, a separator inside. */
const oddNames = [
  { symbol: '招财猫', name: '招财猫' },
  { symbol: 'ヤモリ', name: 'ヤモリ コイン' },
  { symbol: '🦎', name: 'Gecko 👩‍🚀' },
  { symbol: '42', name: '42' },
  { symbol: "O'TAIL", name: "O'Tail" },
  { symbol: '"QUOTE"', name: 'The "Quoted" One' },
  { symbol: 'BACK\\SLASH', name: 'C:\\new\\table' },
  { symbol: '{a,b}', name: '{"a", NULL}' },
]
const syllables = ['ka', 'mo', 'zu', 'ri', 'pe', 'lo', 'shi', 'ta', 'bo', 'ne', 'gru', 'fy']

function tokenNames(own: number): { symbol: string; name: string } {
  if (unit(own, 0, 20) < 0.12) return oddNames[Math.floor(unit(own, 0, 21) * oddNames.length)]!
  const parts = [22, 23, 24].slice(0, unit(own, 0, 25) < 0.5 ? 2 : 3)
  const name = parts.map((salt) => syllables[Math.floor(unit(own, 0, salt) * syllables.length)]).join('')
  return { symbol: name.toUpperCase(), name: name[0]!.toUpperCase() + name.slice(1) }
}
