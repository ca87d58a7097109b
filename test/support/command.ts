// The command line as a user runs it: a process of its own, real exit codes, what it printed.

import { spawn } from 'node:child_process'
import path from 'node:path'

const root = path.resolve(import.meta.dirname, '../..')

export type Finished = { readonly code: number | null; readonly stdout: string; readonly stderr: string; readonly tookMs: number }

export type Running = {
  /** Resolves when either stream has shown it. */
  shows(text: string, withinMs?: number): Promise<void>
  kill(signal: NodeJS.Signals): void
  readonly finished: Promise<Finished>
}

export function tokay(args: readonly string[], env: Readonly<Record<string, string>> = {}): Running {
  const startedAtMs = performance.now()
  const inherited = Object.fromEntries(Object.entries(process.env).filter(([key]) => !/^(DATABASE_URL|GECKO_)/.test(key)))
  const child = spawn(process.execPath, [path.join(root, 'cli/tokay.ts'), ...args], {
    env: { ...inherited, NO_COLOR: '1', ...env },
    cwd: root,
  })
  let [stdout, stderr] = ['', '']
  const watchers = new Set<() => void>()
  // a character may be cut where a chunk ends
  for (const stream of [child.stdout, child.stderr]) stream.setEncoding('utf8')
  const take = (add: (text: string) => void) => (chunk: string) => {
    add(chunk)
    for (const look of watchers) look()
  }
  child.stdout.on(
    'data',
    take((text) => (stdout += text)),
  )
  child.stderr.on(
    'data',
    take((text) => (stderr += text)),
  )
  const finished = new Promise<Finished>((resolve) => {
    child.on('close', (code) => resolve({ code, stdout, stderr, tookMs: performance.now() - startedAtMs }))
  })
  return {
    finished,
    kill: (signal) => void child.kill(signal),
    shows: (text, withinMs = 15_000) =>
      new Promise((resolve, reject) => {
        const timer = setTimeout(() => end(new Error(`"${text}" was not shown within ${withinMs} ms:\n${stdout}\n${stderr}`)), withinMs)
        const look = () => void ((stdout.includes(text) || stderr.includes(text)) && end())
        const end = (error?: Error) => {
          clearTimeout(timer)
          watchers.delete(look)
          if (error) reject(error)
          else resolve()
        }
        watchers.add(look)
        void finished.then(() => end(new Error(`it ended before it showed "${text}":\n${stdout}\n${stderr}`)))
        look()
      }),
  }
}
