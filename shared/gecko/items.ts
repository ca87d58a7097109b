// Goes through the items of a JSON:API answer one by one, so that a bad one is rejected with its reason and the rest is kept.

import type * as z from 'zod'
import { UnexpectedResponseError } from '../errors.ts'
import type { Reject } from '../model.ts'
import { beyondColumns, isFields, storable, type Fields } from './schemas.ts'

/** Why an item is rejected. */
export type Problem = string
/** What parsing one answer finds beside rows. */
export type Findings = { readonly rejects: Reject[]; readonly drift: Set<string> }

const knownTopLevel = new Set(['data', 'included', 'links', 'meta'])

/** @throws UnexpectedResponseError when there is no `data`. */
export function newFindings(body: unknown, what: string): Findings {
  if (!isFields(body) || body['data'] === undefined || body['data'] === null) {
    throw new UnexpectedResponseError(`expected ${what} under "data", found ${describe(body)}`)
  }
  const unknown = Object.keys(body).filter((key) => !knownTopLevel.has(key))
  return { rejects: [], drift: new Set(unknown.map((key) => storable(`body.${key}`))) }
}

export const done = (findings: Findings) => ({ rejects: findings.rejects, drift: [...findings.drift].toSorted() })

export function listIn(body: unknown, what: string): readonly unknown[] {
  const data = isFields(body) ? body['data'] : undefined
  if (!Array.isArray(data)) throw new UnexpectedResponseError(`expected a list of ${what} under "data", found ${describe(data)} there`)
  return data
}

export function includedByType(body: unknown, findings: Findings): Map<string, unknown[]> {
  const byType = new Map<string, unknown[]>()
  const included = isFields(body) ? (body['included'] ?? []) : []
  if (!Array.isArray(included)) {
    findings.rejects.push({ kind: 'token', item: 'included', reason: `expected a list, found ${describe(included)}` })
    return byType
  }
  for (const item of included) {
    const type = isFields(item) && typeof item['type'] === 'string' ? item['type'] : 'without a type'
    const ofType = byType.get(type)
    if (ofType) ofType.push(item)
    else byType.set(type, [item])
  }
  for (const type of byType.keys()) {
    if (!['token', 'dex', 'network', 'pool'].includes(type)) findings.drift.add(storable(`included.${type}`))
  }
  return byType
}

/** Of items with the same id (trades: the same key) the first is kept: one statement can't affect a row twice. */
export function parseItems<S extends z.ZodObject, Made extends object>(
  items: readonly unknown[],
  schema: S,
  kind: Reject['kind'],
  findings: Findings,
  make: (item: z.output<S>, raw: Fields) => Made | Problem,
): Made[] {
  const made = new Map<string, Made>()
  for (const [index, raw] of items.entries()) {
    const id = isFields(raw) && typeof raw['id'] === 'string' ? raw['id'] : undefined
    const reject = (reason: string) =>
      findings.rejects.push({
        kind,
        item: storable(id?.slice(0, 300) ?? `${kind} ${index + 1} of ${items.length}`),
        reason: storable(reason),
      })
    const parsed = schema.safeParse(raw)
    if (!parsed.success) {
      reject(reasonOf(parsed.error))
      continue
    }
    for (const path of beyondColumns(schema, raw as Fields, kind).drift) findings.drift.add(path)
    const row = make(parsed.data, raw as Fields)
    if (typeof row === 'string') {
      reject(row)
      continue
    }
    const identity = 'key' in row && typeof row.key === 'string' ? row.key : (id ?? '')
    if (!made.has(identity)) made.set(identity, row)
  }
  return [...made.values()]
}

function reasonOf(error: z.ZodError): string {
  return error.issues
    .slice(0, 3)
    .map((issue) => `${issue.path.join('.') || 'item'}: ${issue.message}`)
    .join('; ')
}

function describe(value: unknown): string {
  if (value === null) return 'null'
  if (Array.isArray(value)) return 'a list'
  if (isFields(value)) {
    const keys = Object.keys(value)
    return keys.length === 0
      ? 'an empty object'
      : `an object with ${keys
          .slice(0, 5)
          .map((key) => storable(key.slice(0, 40)))
          .join(', ')}`
  }
  return value === undefined ? 'nothing' : `a ${typeof value}`
}
