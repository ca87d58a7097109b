// Serves recorded bodies as if they came from the API: `DIR/manifest.json` says which file is an answer of which endpoint.
// - Endpoints with pages: page N of any network or DEX is the endpoint's N-th body in the manifest's order, then empty pages.
//   The pages of top_pools go on with the bodies of top_pools_dex: a run with default settings asks for the former only.
// - The others (trades, ohlcv, pool, …): each request gets a body that was not served yet, one of the asked network if there is one, then empty lists.
// - `Date` is the body's own time, so that a client judges ages by when the body was recorded: the newest block_timestamp of trades, else the
//   end of the day, month or minute that `recorded` states (a pool created in that minute must not lie in the future).

import { readFile } from 'node:fs/promises'
import { createServer } from 'node:http'
import { join } from 'node:path'
import * as z from 'zod'
import { ConfigError } from '../../shared/errors.ts'
import { listen } from './simulator/listen.ts'

const endpoints: readonly { name: string; path: RegExp; bodies?: readonly string[]; hasPages?: true }[] = [
  { name: 'networks', path: /^\/networks$/, hasPages: true },
  { name: 'new_pools_all', path: /^\/networks\/new_pools$/, hasPages: true },
  { name: 'trending_pools_all', path: /^\/networks\/trending_pools$/, hasPages: true },
  { name: 'dexes', path: /^\/networks\/([^/]+)\/dexes$/, hasPages: true },
  { name: 'top_pools', path: /^\/networks\/([^/]+)\/pools$/, hasPages: true, bodies: ['top_pools', 'top_pools_dex'] },
  { name: 'top_pools_dex', path: /^\/networks\/([^/]+)\/dexes\/[^/]+\/pools$/, hasPages: true },
  { name: 'top_pools_token', path: /^\/networks\/([^/]+)\/tokens\/[^/]+\/pools$/, hasPages: true },
  { name: 'new_pools', path: /^\/networks\/([^/]+)\/new_pools$/, hasPages: true },
  { name: 'trending_pools', path: /^\/networks\/([^/]+)\/trending_pools$/, hasPages: true },
  { name: 'pools_multi', path: /^\/networks\/([^/]+)\/pools\/multi\/[^/]+$/ },
  { name: 'pool', path: /^\/networks\/([^/]+)\/pools\/[^/]+$/ },
  { name: 'trades', path: /^\/networks\/([^/]+)\/pools\/[^/]+\/trades$/ },
  { name: 'ohlcv', path: /^\/networks\/([^/]+)\/pools\/[^/]+\/ohlcv\/[^/]+$/ },
  { name: 'tokens_multi', path: /^\/networks\/([^/]+)\/tokens\/multi\/[^/]+$/ },
  { name: 'token', path: /^\/networks\/([^/]+)\/tokens\/[^/]+$/ },
  { name: 'simple_token_price', path: /^\/simple\/networks\/([^/]+)\/token_price\/[^/]+$/ },
]

const manifestSchema = z.object({
  files: z.array(
    z.object({
      file: z.string().regex(/^[^/\\]+$/, 'must be a file name in the same folder'),
      endpoint: z.string(),
      recorded: z.string().optional(),
    }),
  ),
})
type Entry = z.output<typeof manifestSchema>['files'][number]

type Body = { readonly text: string; readonly atMs: number; readonly ids: readonly string[] }

export type GeckoReplay = {
  /** Without a slash at its end. */
  readonly baseUrl: string
  /** How many bodies each endpoint has: the pages or requests that it takes to see them all. */
  readonly bodies: Readonly<Record<string, number>>
  /** Ends every connection. Idempotent. */
  close(): Promise<void>
}

const basePath = '/api/v2'
const emptyList = JSON.stringify({ data: [] })
const notFound = JSON.stringify({ errors: [{ status: '404', title: 'Not Found' }] })

/**
 * Reads every body before it listens.
 * @throws ConfigError when folder, manifest or a body is missing or unreadable, with the file's name.
 */
export async function startGeckoReplay(options: { dir: string; port?: number }): Promise<GeckoReplay> {
  const byEndpoint = await readBodies(options.dir)
  const newestAtMs = Math.max(...[...byEndpoint.values()].flat().map((body) => body.atMs))
  const served = new Set<Body>()

  /** Undefined when the endpoint has no more. */
  function nextBody(endpoint: (typeof endpoints)[number], network: string | undefined, page: number): Body | undefined {
    const bodies = (endpoint.bodies ?? [endpoint.name]).flatMap((name) => byEndpoint.get(name) ?? [])
    if (endpoint.hasPages) return bodies[page - 1]
    const left = bodies.filter((body) => !served.has(body))
    const body = left.find(({ ids }) => ids.some((id) => id.startsWith(`${network}_`))) ?? left[0]
    if (body) served.add(body)
    return body
  }

  const server = createServer((request, response) => {
    const url = new URL(request.url ?? '/', 'http://replay')
    const path = url.pathname.startsWith(`${basePath}/`) ? url.pathname.slice(basePath.length) : ''
    const endpoint = endpoints.find((one) => one.path.test(path))
    const body = endpoint && nextBody(endpoint, endpoint.path.exec(path)?.[1], Number(url.searchParams.get('page') ?? 1))
    response
      .writeHead(endpoint ? 200 : 404, {
        'content-type': 'application/json; charset=utf-8',
        date: new Date(body?.atMs ?? newestAtMs).toUTCString(),
      })
      .end(endpoint ? (body?.text ?? emptyList) : notFound)
  })
  const { port, close } = await listen(server, options.port ?? 0)
  const bodies = Object.fromEntries([...byEndpoint].map(([name, list]) => [name, list.length]))
  return { baseUrl: `http://127.0.0.1:${port}${basePath}`, bodies, close }
}

/** By endpoint, in the manifest's order. Entries of other kinds, such as recorded headers and errors, are left out. */
async function readBodies(dir: string): Promise<Map<string, Body[]>> {
  const path = join(dir, 'manifest.json')
  const manifest = manifestSchema.safeParse((await readJson(path, 'give --replay a folder of recorded bodies with a manifest.json')).json)
  if (!manifest.success) {
    throw new ConfigError(manifest.error.issues.map((issue) => `${path}: ${issue.path.join('.') || 'the file'}: ${issue.message}`))
  }
  const byEndpoint = new Map<string, Body[]>()
  for (const entry of manifest.data.files) {
    if (!endpoints.some(({ name }) => name === entry.endpoint)) continue
    const body = await readBody(dir, entry)
    byEndpoint.set(entry.endpoint, [...(byEndpoint.get(entry.endpoint) ?? []), body])
  }
  if (byEndpoint.size === 0)
    throw new ConfigError([`${path}: lists no body of a known endpoint: ${endpoints.map((e) => e.name).join(', ')}`])
  return byEndpoint
}

const item = z.object({ id: z.unknown(), attributes: z.object({ block_timestamp: z.unknown() }).optional() })
const bodySchema = z.object({ data: z.union([z.array(item), item.transform((one) => [one])]) })

async function readBody(dir: string, entry: Entry): Promise<Body> {
  const path = join(dir, entry.file)
  const { text, json } = await readJson(path, 'put it back, or take its entry out of the manifest')
  // A body of another shape is served as it is: a client must cope with that, too.
  const items = bodySchema.safeParse(json).data?.data ?? []
  const newestTradeAtMs = Math.max(...items.map((one) => Date.parse(String(one.attributes?.block_timestamp))).filter(Number.isFinite))
  const atMs = Number.isFinite(newestTradeAtMs) ? newestTradeAtMs : endOfRecorded(entry.recorded ?? '')
  if (atMs === undefined) {
    throw new ConfigError([
      `${join(dir, 'manifest.json')}: "recorded" of ${entry.file} has no date such as 2025-09-09T01:42Z, 2025-09-09 or 2025-09`,
    ])
  }
  // As recorded, byte for byte: parsing and printing would shorten numbers.
  return { text, atMs, ids: items.map((one) => String(one.id)) }
}

/** The last second of what the first date-like part states: "2025-09-09T01:42Z", "published 2026-06-11", "2025-08/09" (August), "2024-05 (…)". */
function endOfRecorded(recorded: string): number | undefined {
  const [match, year, month, day, minute, second] =
    /(\d{4})-(\d{2})(?:-(\d{2})(?:T(\d{2}:\d{2})(?::(\d{2}))?)?)?(?!\d)/.exec(recorded) ?? []
  if (match === undefined) return undefined
  if (day === undefined) {
    return Number(month) >= 1 && Number(month) <= 12 ? Date.UTC(Number(year), Number(month), 1) - 1000 : undefined
  }
  const atMs = Date.parse(`${year}-${month}-${day}T${minute ?? '23:59'}:${second ?? '59'}Z`)
  return Number.isNaN(atMs) ? undefined : atMs
}

async function readJson(path: string, whatToDo: string): Promise<{ text: string; json: unknown }> {
  let text: string
  try {
    text = await readFile(path, 'utf8')
  } catch (cause) {
    throw new ConfigError([`${path}: can't be read (${(cause as NodeJS.ErrnoException).code}); ${whatToDo}`], { cause })
  }
  try {
    return { text, json: JSON.parse(text) }
  } catch (cause) {
    throw new ConfigError([`${path}: is not JSON; ${whatToDo}`], { cause })
  }
}
