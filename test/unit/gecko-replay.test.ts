import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { type GeckoReplay, startGeckoReplay } from '../../cli/local/gecko-replay.ts'
import { ConfigError } from '../../shared/errors.ts'

let dir: string
let replay: GeckoReplay | undefined

beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), 'tokay-replay-'))
})
afterEach(async () => {
  await replay?.close()
  replay = undefined
  await rm(dir, { recursive: true })
})

type Recording = { file: string; endpoint: string; recorded?: string; body: unknown }

const write = (file: string, content: unknown) =>
  writeFile(join(dir, file), typeof content === 'string' ? content : JSON.stringify(content))

/** Writes a folder of recordings and serves it. */
async function serve(...recordings: Recording[]) {
  for (const { file, body } of recordings) await write(file, body)
  const files = recordings.map(({ file, endpoint, recorded }) => ({
    file,
    endpoint,
    recorded,
    items: 1,
    kind: 'made up',
    url: '/networks/…',
  }))
  await write('manifest.json', { note: 'made up', files })
  replay = await startGeckoReplay({ dir })
  const { baseUrl } = replay
  const ask = async (path: string) => {
    const response = await fetch(baseUrl + path)
    const body = (await response.json()) as { data: { id: string }[] | { id: string } }
    const ids = Array.isArray(body.data) ? body.data.map((item) => item.id) : [body.data.id]
    return { status: response.status, date: response.headers.get('date'), ids }
  }
  const ids = async (path: string) => (await ask(path)).ids
  return { ask, ids }
}

const pools = (...ids: string[]) => ({ data: ids.map((id) => ({ id, type: 'pool', attributes: {} })) })
const trade = (id: string, block_timestamp: string) => ({ id, type: 'trade', attributes: { block_timestamp } })
const day = '2025-09-09'

describe('endpoints with pages', () => {
  it('give the N-th body of the manifest as page N, whatever the network, then empty pages', async () => {
    const { ids } = await serve(
      { file: 'b.json', endpoint: 'new_pools', recorded: day, body: pools('solana_B1', 'solana_B2') },
      { file: 'a.json', endpoint: 'new_pools', recorded: day, body: pools('eth_A') },
      { file: 'n.json', endpoint: 'networks', recorded: day, body: pools('solana') },
    )
    expect(await ids('/networks/solana/new_pools?include=dex')).toEqual(['solana_B1', 'solana_B2'])
    expect(await ids('/networks/solana/new_pools?page=2')).toEqual(['eth_A'])
    expect(await ids('/networks/solana/new_pools?page=3')).toEqual([])
    expect(await ids('/networks/eth/new_pools?page=1')).toEqual(['solana_B1', 'solana_B2'])
    expect(await ids('/networks')).toEqual(['solana'])
    expect(await ids('/networks?page=2')).toEqual([])
    expect(replay?.bodies).toEqual({ new_pools: 2, networks: 1 })
  })

  it('keep the all-networks list, the list of a network and the list of a DEX apart', async () => {
    const { ids } = await serve(
      { file: 'all.json', endpoint: 'new_pools_all', recorded: day, body: pools('eth_all') },
      { file: 'one.json', endpoint: 'new_pools', recorded: day, body: pools('eth_one') },
      { file: 'trend.json', endpoint: 'trending_pools', recorded: day, body: pools('eth_trend') },
      { file: 'dexes.json', endpoint: 'dexes', recorded: day, body: pools('uniswap_v2') },
    )
    expect(await ids('/networks/new_pools')).toEqual(['eth_all'])
    expect(await ids('/networks/eth/new_pools')).toEqual(['eth_one'])
    expect(await ids('/networks/eth/trending_pools?duration=1h')).toEqual(['eth_trend'])
    expect(await ids('/networks/eth/dexes')).toEqual(['uniswap_v2'])
    expect(await ids('/networks/eth/pools')).toEqual([])
  })

  it('let the pages of top_pools go on with the bodies of top_pools_dex', async () => {
    const { ids } = await serve(
      { file: 'dex.json', endpoint: 'top_pools_dex', recorded: day, body: pools('eth_dex') },
      { file: 'top.json', endpoint: 'top_pools', recorded: day, body: pools('eth_top') },
    )
    expect(await ids('/networks/eth/pools')).toEqual(['eth_top'])
    expect(await ids('/networks/eth/pools?page=2')).toEqual(['eth_dex'])
    expect(await ids('/networks/eth/pools?page=3')).toEqual([])
    expect(await ids('/networks/eth/dexes/uniswap_v2/pools')).toEqual(['eth_dex'])
  })
})

describe('endpoints without pages', () => {
  it('give each body once, one of the asked network first, then empty lists', async () => {
    const { ids } = await serve(
      { file: '1.json', endpoint: 'trades', body: { data: [trade('solana_1_a_1_1', '2025-08-28T16:15:08Z')] } },
      { file: '2.json', endpoint: 'trades', body: { data: [trade('eth_2_b_1_1', '2026-05-28T04:04:11Z')] } },
      { file: '3.json', endpoint: 'trades', body: { data: [trade('eth_3_c_1_1', '2024-04-08T16:52:35Z')] } },
    )
    expect(await ids('/networks/eth/pools/0x01/trades')).toEqual(['eth_2_b_1_1'])
    expect(await ids('/networks/eth/pools/0x01/trades?page=1')).toEqual(['eth_3_c_1_1'])
    expect(await ids('/networks/base/pools/0x02/trades')).toEqual(['solana_1_a_1_1'])
    expect(await ids('/networks/solana/pools/P/trades')).toEqual([])
  })

  it('tell a pool, many pools, its candles and its tokens apart', async () => {
    const { ids } = await serve(
      { file: 'pool.json', endpoint: 'pool', recorded: day, body: { data: { id: 'eth_pool' } } },
      { file: 'multi.json', endpoint: 'pools_multi', recorded: day, body: pools('eth_multi') },
      { file: 'ohlcv.json', endpoint: 'ohlcv', recorded: day, body: { data: { id: 'uuid' } } },
      { file: 'token.json', endpoint: 'token', recorded: day, body: { data: { id: 'eth_token' } } },
    )
    expect(await ids('/networks/eth/pools/multi/0x01,0x02')).toEqual(['eth_multi'])
    expect(await ids('/networks/eth/pools/0x01')).toEqual(['eth_pool'])
    expect(await ids('/networks/eth/pools/0x01/ohlcv/minute?aggregate=15')).toEqual(['uuid'])
    expect(await ids('/networks/eth/tokens/0x01')).toEqual(['eth_token'])
    expect(await ids('/networks/eth/pools/0x01')).toEqual([])
  })

  it('give a body byte for byte, so that no number loses its digits', async () => {
    const text = '{ "data": { "id": "u", "attributes": { "ohlcv_list": [[1, 0.10000000000000000000001, 1.0]] } } }'
    await serve({ file: 'ohlcv.json', endpoint: 'ohlcv', recorded: day, body: text })
    const response = await fetch(`${replay!.baseUrl}/networks/eth/pools/0x01/ohlcv/day`)
    expect(await response.text()).toBe(text)
  })
})

describe('the Date header', () => {
  it('is the newest block_timestamp of trades, whatever the manifest says', async () => {
    const body = {
      data: [
        trade('eth_1_a_1_1', '2025-08-28T16:15:08Z'),
        trade('eth_1_b_1_1', '2025-08-28T16:15:09Z'),
        trade('eth_1_c_1_1', '2025-08-27T20:00:00Z'),
      ],
    }
    const { ask } = await serve({ file: 't.json', endpoint: 'trades', recorded: '2026-01-01', body })
    expect((await ask('/networks/eth/pools/0x01/trades')).date).toBe('Thu, 28 Aug 2025 16:15:09 GMT')
  })

  it.each([
    ['2025-08-28T22:11:36Z', 'Thu, 28 Aug 2025 22:11:36 GMT'],
    ['2025-09-09T01:42Z', 'Tue, 09 Sep 2025 01:42:59 GMT'],
    ['2025-08-28', 'Thu, 28 Aug 2025 23:59:59 GMT'],
    ['2025-08/09', 'Sun, 31 Aug 2025 23:59:59 GMT'],
    ['2024-05 (of another file: 2023-07)', 'Fri, 31 May 2024 23:59:59 GMT'],
    ['published 2026-06-11', 'Thu, 11 Jun 2026 23:59:59 GMT'],
  ])('of a body recorded "%s" is %s: the end of what is stated', async (recorded, date) => {
    const { ask } = await serve({ file: 'p.json', endpoint: 'new_pools', recorded, body: pools('eth_1') })
    expect((await ask('/networks/eth/new_pools')).date).toBe(date)
  })

  it('of an empty page is the newest time of all bodies', async () => {
    const { ask } = await serve(
      { file: 'p.json', endpoint: 'new_pools', recorded: '2025-08-28', body: pools('eth_1') },
      { file: 'q.json', endpoint: 'pool', recorded: '2025-08-27', body: pools('eth_1') },
    )
    expect((await ask('/networks/eth/new_pools?page=9')).date).toBe('Thu, 28 Aug 2025 23:59:59 GMT')
  })
})

describe('what is no recording of an endpoint', () => {
  it('is left out, even if its file is missing, and answered 404', async () => {
    await serve({ file: 'p.json', endpoint: 'new_pools', recorded: day, body: pools('eth_1') })
    await write('manifest.json', {
      files: [
        { file: 'headers.json', endpoint: 'headers', recorded: day, items: 26 },
        { file: 'error.json', endpoint: 'error', recorded: '2022-2026', items: 0 },
        { file: 'p.json', endpoint: 'new_pools', recorded: day, items: 1 },
      ],
    })
    const other = await startGeckoReplay({ dir })
    expect(other.bodies).toEqual({ new_pools: 1 })
    const response = await fetch(`${other.baseUrl}/headers`)
    expect(response.status).toBe(404)
    expect(await response.json()).toEqual({ errors: [{ status: '404', title: 'Not Found' }] })
    await other.close()
  })
})

describe('a folder that can not be served', () => {
  const entry = { file: 'p.json', endpoint: 'new_pools', recorded: day, items: 1 }

  it.each<[string, () => Promise<unknown>, RegExp]>([
    ['has no manifest', async () => {}, /manifest\.json: can't be read \(ENOENT\); give --replay a folder/],
    ['has a manifest that is no JSON', () => write('manifest.json', '{"files": ['), /manifest\.json: is not JSON; give --replay/],
    ['has a manifest without files', () => write('manifest.json', { file: [] }), /manifest\.json: files: /],
    [
      'names a file of another folder',
      () => write('manifest.json', { files: [{ ...entry, file: '../p.json' }] }),
      /files\.0\.file: must be a file name/,
    ],
    [
      'lacks a file that the manifest names',
      () => write('manifest.json', { files: [entry] }),
      /p\.json: can't be read \(ENOENT\); put it back/,
    ],
    [
      'has no body of an endpoint',
      () => write('manifest.json', { files: [{ ...entry, endpoint: 'headers' }] }),
      /no body of a known endpoint/,
    ],
  ])('%s: says so and what to do', async (_, prepare, message) => {
    await prepare()
    const starting = startGeckoReplay({ dir })
    await expect(starting).rejects.toBeInstanceOf(ConfigError)
    await expect(starting).rejects.toThrow(message)
  })

  it('has a damaged body, or one without a date: says which', async () => {
    await write('manifest.json', { files: [entry] })
    await write('p.json', '{"data": [')
    await expect(startGeckoReplay({ dir })).rejects.toThrow(/p\.json: is not JSON; put it back, or take its entry out/)
    await write('p.json', pools('eth_1'))
    await write('manifest.json', { files: [{ ...entry, recorded: '2022-2026' }] })
    await expect(startGeckoReplay({ dir })).rejects.toThrow(/"recorded" of p\.json has no date/)
  })

  it('is missing: names the folder', async () => {
    await expect(startGeckoReplay({ dir: join(dir, 'nowhere') })).rejects.toThrow(/nowhere.manifest\.json: can't be read/)
  })
})
