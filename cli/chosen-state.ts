// Whose state a command is about: a source's on this machine, by default the one that was used last, or a deployed stage's.

import { existsSync, statSync } from 'node:fs'
import path from 'node:path'
import type { ParkedWrites } from '../shared/collect/parked-writes.ts'
import type { Log } from '../shared/log.ts'
import { createMemoryStateTable } from '../shared/state/memory-state-table.ts'
import type { StateTable } from '../shared/state/state-table.ts'
import { openFileParkedWrites } from './local/file-parked-writes.ts'
import { dataDirOf, openState, readSettings, type SourceName, sourceNames, stateFile } from './runtime.ts'

/** With `aws` a deployed stage's: the settings' own, or `stage`. */
export type StateChoice = {
  readonly source?: SourceName
  readonly dataDir?: string
  readonly aws?: boolean
  readonly stage?: string
}

/** `given`, else the source that was used last in this data folder; live where none ever was. What was not given is said on stderr. */
export function sourceInUse(given: SourceName | undefined, dataDir: string): SourceName {
  if (given !== undefined) return given
  const changedAtMs = (source: SourceName) =>
    // a change is in the log beside the file until SQLite has moved it over
    Math.max(...['', '-wal'].map((end) => statSync(stateFile(dataDir, source) + end, { throwIfNoEntry: false })?.mtimeMs ?? 0))
  const last = sourceNames.reduce((a, b) => (changedAtMs(b) > changedAtMs(a) ? b : a))
  console.error(`source: ${last}${changedAtMs(last) > 0 ? ', which was used last; --source names another' : ''}`)
  return last
}

/** To be changed by an operator's word. */
export async function openChosenState(choice: StateChoice): Promise<StateTable> {
  if (choice.aws) return openStageState(choice.stage)
  const dataDir = dataDirOf(choice.dataDir)
  return openState(dataDir, sourceInUse(choice.source, dataDir))
}

/** Loads the AWS SDK only for those who ask for it. */
export async function openStageState(stage: string | undefined): Promise<StateTable> {
  const settings = readSettings(stage === undefined ? {} : { stage })
  const { openAwsState } = await import('./aws-state.ts')
  return openAwsState(settings.stage)
}

/** For looking only: what has never been is not made by looking at it. */
export const openStateToRead = (dataDir: string, source: SourceName): StateTable =>
  existsSync(stateFile(dataDir, source)) ? openState(dataDir, source) : createMemoryStateTable()

/** Undefined where nothing of this source has ever run. */
export async function openParkedToRead(dataDir: string, source: SourceName, log: Log): Promise<Pick<ParkedWrites, 'depth'> | undefined> {
  const folder = path.join(dataDir, source, 'parked')
  return existsSync(folder) ? await openFileParkedWrites(folder, log) : undefined
}
