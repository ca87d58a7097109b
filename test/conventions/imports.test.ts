// The architecture, as import directions. Each rule reads every source file's imports.

import { readdirSync, readFileSync } from 'node:fs'
import path from 'node:path'
import { describe, expect, it } from 'vitest'

const root = path.resolve(import.meta.dirname, '../..')

type Import = { readonly file: string; readonly target: string }

const sources = ['functions', 'infra', 'shared', 'cli'].flatMap((folder) =>
  readdirSync(path.join(root, folder), { recursive: true, encoding: 'utf8' })
    .filter((name) => name.endsWith('.ts'))
    .map((name) => path.posix.join(folder, name.replaceAll(path.sep, '/'))),
)

const textOf = (file: string) => readFileSync(path.join(root, file), 'utf8')

/** Relative targets become paths from the root; packages and node: modules stay as they are. */
const imports: readonly Import[] = sources.flatMap((file) =>
  [...textOf(file).matchAll(/(?:from|import)\s*\(?\s*'([^']+)'/g)].map((match) => {
    const target = match[1] as string
    return { file, target: target.startsWith('.') ? path.posix.join(path.posix.dirname(file), target) : target }
  }),
)

const inFolder = (folder: string) => (file: string) => file.startsWith(`${folder}/`)
const offences = (wrong: (i: Import) => boolean) => imports.filter(wrong).map((i) => `${i.file} imports ${i.target}`)
const isLocal = (target: string) => sources.includes(target) || /^(functions|infra|shared|cli|test)\//.test(target)

const pure = (file: string) =>
  ['resilience', 'health/alert', 'health/checks', 'health/memory', 'health/sql'].some((folder) => inFolder(`shared/${folder}`)(file)) ||
  [
    'shared/gecko/answer.ts',
    'shared/gecko/items.ts',
    'shared/gecko/parse.ts',
    'shared/gecko/schemas.ts',
    'shared/state/claim.ts',
    'shared/state/api-budget.ts',
    'shared/monthly-cost.ts',
    'shared/health/assess.ts',
    'shared/health/check.ts',
    'shared/health/connect-failure.ts',
    'shared/health/predict.ts',
    'shared/health/report.ts',
    'shared/health/report-formats.ts',
    'shared/health/targets.ts',
    'shared/collect/batch.ts',
    'shared/db/neon-failure.ts',
    'shared/db/neon-host.ts',
    'shared/db/partitions.ts',
    'shared/db/queries.ts',
    'shared/db/statements.ts',
  ].includes(file)

describe('import directions', () => {
  it('finds imports to judge', () => {
    expect(imports.length).toBeGreaterThan(100)
    expect(imports.some((i) => i.target === 'pg')).toBe(true)
  })

  it('shared imports nothing of the project outside shared', () => {
    expect(offences((i) => inFolder('shared')(i.file) && isLocal(i.target) && !inFolder('shared')(i.target))).toEqual([])
  })

  it('functions and cli import only shared and themselves', () => {
    for (const folder of ['functions', 'cli'])
      expect(
        offences((i) => inFolder(folder)(i.file) && isLocal(i.target) && !inFolder('shared')(i.target) && !inFolder(folder)(i.target)),
      ).toEqual([])
  })

  it('infra imports only names, config and cost of shared', () => {
    const allowed = new Set(['shared/names.ts', 'shared/config.ts', 'shared/errors.ts', 'shared/monthly-cost.ts'])
    expect(
      offences((i) => inFolder('infra')(i.file) && isLocal(i.target) && !inFolder('infra')(i.target) && !allowed.has(i.target)),
    ).toEqual([])
  })

  it('the AWS SDK is imported in shared/aws only', () => {
    expect(offences((i) => i.target.startsWith('@aws-sdk/') && !inFolder('shared/aws')(i.file))).toEqual([])
  })

  it('pg is imported by the adapter, the migrations, the local servers and their operator only', () => {
    const allowed = new Set([
      'shared/db/pg-database.ts',
      'shared/db/migrate.ts',
      'cli/local/embedded-postgres.ts',
      'cli/local/neon-server.ts',
      'cli/local/admin-session.ts',
    ])
    expect(offences((i) => i.target === 'pg' && !allowed.has(i.file))).toEqual([])
  })

  it('the Neon driver is imported by its adapter only', () => {
    expect(offences((i) => i.target.startsWith('@neondatabase/') && i.file !== 'shared/db/neon-database.ts')).toEqual([])
  })

  it('process.env is read in the two composition roots only', () => {
    const roots = new Set(['functions/runtime.ts', 'cli/runtime.ts'])
    const readers = sources.filter((file) => /process\.env|from 'node:process'/.test(textOf(file)) && !roots.has(file))
    // infra passes AWS's own account and region through
    expect(readers.filter((file) => !inFolder('infra')(file))).toEqual([])
  })

  it('the pure files know no clock, chance, timer or I/O', () => {
    const effects =
      /\bDate\.now\(|\bMath\.random\(|\bset(?:Timeout|Interval|Immediate)\(|\bfetch\(|new Date\(\)|performance\.now\(|\bconsole\./
    expect(sources.filter((file) => pure(file) && effects.test(textOf(file).replaceAll(/\/\/.*$|\/\*[\s\S]*?\*\//gm, '')))).toEqual([])
    const allowedModules = new Set(['node:crypto', 'zod'])
    expect(offences((i) => pure(i.file) && !isLocal(i.target) && !allowedModules.has(i.target))).toEqual([])
  })

  it('every file of the pure list is there', () => {
    expect(sources.filter(pure).length).toBeGreaterThanOrEqual(12)
  })
})
