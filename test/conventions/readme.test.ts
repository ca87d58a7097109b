// The README is true: its settings are the settings, its scripts exist, its folders exist, and its runbook knows whatever can wake somebody.

import { existsSync, readFileSync } from 'node:fs'
import path from 'node:path'
import { describe, expect, it } from 'vitest'
import { parseSettings } from '../../shared/config.ts'
import { synthesise } from '../infra/synth.ts'
import { worstByCheck } from '../support/worst-looks.ts'

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

  describe('its runbook', () => {
    const runbook = readme.split(/^## /m).find((part) => part.startsWith('When it pages you')) ?? ''
    const rowsOf = (second: string) => [...runbook.matchAll(new RegExp(`^\\| \`([a-z-]+)\` +\\| ${second} +\\|`, 'gm'))]
    const checks = rowsOf('(warning|critical)').map(([, id, worst]) => `${worst} ${id}`)
    const inReportOnly = /^In the report only, never told: (.*?)\.$/ms.exec(runbook)?.[1]?.match(/[a-z-]+(?=`)/g) ?? []

    it('has a row for each check that can wake somebody, with the worst that it can be, and names the others', () => {
      const worst = [...worstByCheck()].map(([id, severity]) => `${severity} ${id}`)
      const canPage = worst.filter((line) => /^(?:warning|critical) /.test(line))
      expect(checks.toSorted()).toEqual(canPage.toSorted())
      expect(inReportOnly.toSorted()).toEqual(
        worst
          .filter((line) => !canPage.includes(line))
          .map((line) => line.split(' ')[1])
          .toSorted(),
      )
    })

    it('has a row for each alarm of CloudWatch', () => {
      const alarms = synthesise().ofType('AWS::CloudWatch::Alarm')
      const names = alarms.map(([, alarm]) => (alarm.Properties['AlarmName'] as string).replace('tokay-dev-', ''))
      expect(rowsOf('alarm').map(([, name]) => name)).toEqual(names)
    }, 60_000)
  })
})
