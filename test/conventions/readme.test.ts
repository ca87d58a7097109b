// The README is true: its settings are the settings, its scripts exist, its folders exist.

import { existsSync, readFileSync } from 'node:fs'
import path from 'node:path'
import { describe, expect, it } from 'vitest'
import { parseSettings } from '../../shared/config.ts'

const root = path.resolve(import.meta.dirname, '../..')
const readme = readFileSync(path.join(root, 'README.md'), 'utf8')

/** `retry.attempts` -> `3`, for each setting. Lists and free-form objects are leaves. */
function leaves(value: unknown, at: readonly string[] = []): readonly (readonly [string, string])[] {
  if (typeof value === 'object' && value !== null && !Array.isArray(value) && Object.keys(value).length > 0)
    return Object.entries(value).flatMap(([key, inner]) => leaves(inner, [...at, key]))
  return [
    [at.join('.'), Array.isArray(value) ? (value.length > 0 ? value.join(', ') : '[]') : typeof value === 'object' ? '{}' : String(value)],
  ]
}

const rows = [...readme.matchAll(/^\| `([a-z][\w.-]*)` +\| `([^`]*)` +\|/gim)].map((match) => [match[1], match[2]] as const)

describe('the README', () => {
  it('lists every setting with its default, and no other', () => {
    const settings = leaves(parseSettings({}))
    expect(settings.length).toBeGreaterThan(30)
    expect(rows.filter(([name]) => settings.some(([known]) => known.split('.')[0] === name?.split('.')[0]))).toEqual(settings)
  })

  it('names only npm scripts that exist', () => {
    const { scripts } = JSON.parse(readFileSync(path.join(root, 'package.json'), 'utf8')) as { scripts: Record<string, string> }
    const named = [...readme.matchAll(/npm (?:-s |--silent )?run (?:-s )?([\w:-]+)/g)].map((match) => match[1] as string)
    expect(named.length).toBeGreaterThan(3)
    for (const name of named) expect(Object.keys(scripts)).toContain(name)
  })

  it('shows a layout of folders that exist', () => {
    const layout = readme.slice(readme.indexOf('## Layout'))
    const folders = [...layout.matchAll(/^(\w+)\/ /gm)].map((match) => match[1] as string)
    expect(folders).toEqual(['functions', 'infra', 'shared', 'cli', 'test'])
    for (const folder of folders) expect(existsSync(path.join(root, folder))).toBe(true)
    for (const area of layout.matchAll(/^ {2}(\w+)\/ /gm)) expect(existsSync(path.join(root, 'shared', area[1] as string))).toBe(true)
  })
})
