// The networks that the simulator shows, with their habits: how addresses are written, how fast blocks and pools come, which DEXes there are.

export type Token = {
  readonly address: string
  readonly symbol: string
  readonly name: string
  readonly decimals: number
  readonly coingeckoId: string | null
}

/** A token that others are paid in. `swing` is how far its price moves around `usd`, as a fraction. */
export type QuoteToken = Token & { readonly usd: number; readonly swing: number }

export type Dex = {
  readonly id: string
  readonly name: string
  /** New pools appear here first. On some launchpads a token's address is its pool's address as well. */
  readonly launchpad?: 'own-pool' | 'pool-is-token'
  /** Uniswap v4 has no contract for each pool: its 32-byte pool id stands where an address is expected. */
  readonly longIds?: true
}

export type Network = {
  readonly id: string
  readonly name: string
  readonly platform: string | null
  readonly addresses: 'base58' | 'hex'
  readonly native: QuoteToken
  readonly stable: QuoteToken
  readonly dexes: readonly Dex[]
  readonly newPoolsPerMinute: number
  /** Trades against Solana's. */
  readonly activity: number
  readonly firstBlockAtMs: number
  readonly blockMs: number
}

const nativeAddress = '0x0000000000000000000000000000000000000000'

function evm(
  id: string,
  name: string,
  platform: string | null,
  native: { symbol: string; name: string; coingeckoId: string | null; usd: number },
  stableAddress: string,
  rest: Pick<Network, 'dexes' | 'newPoolsPerMinute' | 'activity' | 'firstBlockAtMs' | 'blockMs'>,
): Network {
  return {
    id,
    name,
    platform,
    addresses: 'hex',
    native: { address: nativeAddress, decimals: 18, swing: 0.03, ...native },
    stable: { address: stableAddress, symbol: 'USDC', name: 'USD Coin', decimals: 6, coingeckoId: 'usd-coin', usd: 1, swing: 0.002 },
    ...rest,
  }
}

const ether = { symbol: 'ETH', name: 'Ether', coingeckoId: 'ethereum', usd: 2700 }

export const knownNetworks: readonly Network[] = [
  {
    id: 'solana',
    name: 'Solana',
    platform: 'solana',
    addresses: 'base58',
    native: {
      address: 'So11111111111111111111111111111111111111112',
      symbol: 'SOL',
      name: 'Wrapped SOL',
      decimals: 9,
      coingeckoId: 'wrapped-solana',
      usd: 180,
      swing: 0.03,
    },
    stable: {
      address: 'EPjFWdd5AufqSSqeM2qN1xzybapC8G4wEGGkZwyTDt1v',
      symbol: 'USDC',
      name: 'USD Coin',
      decimals: 6,
      coingeckoId: 'usd-coin',
      usd: 1,
      swing: 0.002,
    },
    dexes: [
      { id: 'pump-fun', name: 'Pump.fun', launchpad: 'own-pool' },
      { id: 'pumpswap', name: 'PumpSwap' },
      { id: 'raydium', name: 'Raydium' },
      { id: 'raydium-clmm', name: 'Raydium (CLMM)' },
      { id: 'orca', name: 'Orca' },
      { id: 'meteora', name: 'Meteora' },
      { id: 'heaven', name: 'Heaven' },
    ],
    newPoolsPerMinute: 26,
    activity: 1,
    firstBlockAtMs: Date.UTC(2020, 2, 16),
    blockMs: 400,
  },
  evm('eth', 'Ethereum', 'ethereum', ether, '0xa0b86991c6218b36c1d19d4a2e9eb0ce3606eb48', {
    dexes: [
      { id: 'uniswap_v2', name: 'Uniswap V2' },
      { id: 'uniswap_v3', name: 'Uniswap V3' },
      { id: 'uniswap-v4-ethereum', name: 'Uniswap V4 (Ethereum)', longIds: true },
      { id: 'sushiswap', name: 'SushiSwap' },
      { id: 'curve', name: 'Curve' },
    ],
    newPoolsPerMinute: 0.6,
    activity: 0.4,
    firstBlockAtMs: Date.UTC(2015, 6, 30),
    blockMs: 13_500,
  }),
  evm(
    'bsc',
    'BNB Chain',
    'binance-smart-chain',
    { symbol: 'BNB', name: 'BNB', coingeckoId: 'binancecoin', usd: 620 },
    '0x8ac76a51cc950d9822d68b83fe1ad97b32cd580d',
    {
      dexes: [
        { id: 'four-meme', name: 'Four.meme', launchpad: 'pool-is-token' },
        { id: 'pancakeswap_v2', name: 'PancakeSwap (v2)' },
        { id: 'pancakeswap-v3-bsc', name: 'PancakeSwap V3 (BSC)' },
        { id: 'uniswap-v4-bsc', name: 'Uniswap V4 (BSC)', longIds: true },
      ],
      newPoolsPerMinute: 3,
      activity: 0.5,
      firstBlockAtMs: Date.UTC(2020, 7, 29),
      blockMs: 3_000,
    },
  ),
  evm(
    'polygon_pos',
    'Polygon POS',
    'polygon-pos',
    { symbol: 'POL', name: 'POL', coingeckoId: 'polygon-ecosystem-token', usd: 0.3 },
    '0x3c499c542cef5e3811e1192ce70d8cc03d5c3359',
    {
      dexes: [
        { id: 'quickswap', name: 'Quickswap' },
        { id: 'quickswap_v3', name: 'Quickswap (v3)' },
        { id: 'uniswap_v3_polygon_pos', name: 'Uniswap V3 (Polygon)' },
        { id: 'sushiswap_polygon_pos', name: 'SushiSwap (Polygon)' },
      ],
      newPoolsPerMinute: 0.2,
      activity: 0.15,
      firstBlockAtMs: Date.UTC(2020, 4, 30),
      blockMs: 2_100,
    },
  ),
  evm('base', 'Base', 'base', ether, '0x833589fcd6edb6e08f4c7c32d4f71b54bda02913', {
    dexes: [
      { id: 'aerodrome-base', name: 'Aerodrome (Base)' },
      { id: 'uniswap-v3-base', name: 'Uniswap V3 (Base)' },
      { id: 'uniswap-v4-base', name: 'Uniswap V4 (Base)', longIds: true },
      { id: 'baseswap', name: 'BaseSwap' },
    ],
    newPoolsPerMinute: 4,
    activity: 0.6,
    firstBlockAtMs: Date.UTC(2023, 5, 15),
    blockMs: 2_000,
  }),
]

/** The network of that id. One that is not among the known ones is an EVM network with two DEXes, so that any configured network has a market. */
export function networkOf(id: string): Network {
  return (
    knownNetworks.find((network) => network.id === id) ??
    evm(id, id, null, ether, '0x00000000000000000000000000000000000005dc', {
      dexes: [
        { id: `uniswap_v2_${id}`, name: `Uniswap V2 (${id})` },
        { id: `uniswap_v3_${id}`, name: `Uniswap V3 (${id})` },
      ],
      newPoolsPerMinute: 0.5,
      activity: 0.2,
      firstBlockAtMs: Date.UTC(2023, 0, 1),
      blockMs: 2_000,
    })
  )
}
