// The status page in a real browser. Without one (Debian: `apt-get install chromium`, or CHROMIUM=/path) these tests are skipped.
// What the browser showed stands in node_modules/.cache/status-page-*.png, to be looked at.

import fs from 'node:fs'
import path from 'node:path'
import type { Browser, Page } from 'playwright-core'
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import { serveStatusPage, type StatusPage } from '../../cli/local/status-page/serve.ts'
import type { StatusView } from '../../cli/local/status-page/status-view.ts'
import { silentLog } from '../../shared/log.ts'
import { chromiumPath, openChromium } from '../support/chromium.ts'
import { report, statusView } from '../support/status-view.ts'

const pictures = path.join(import.meta.dirname, '../../node_modules/.cache')

/** Runs in the page. */
const contrasts = fs.readFileSync(path.join(import.meta.dirname, '../support/contrasts.js'), 'utf8')

describe.skipIf(chromiumPath === undefined)('the status page in Chromium', () => {
  let browser: Browser
  let served: StatusPage
  let view: StatusView
  beforeAll(async () => {
    browser = await openChromium(chromiumPath as string)
  }, 60_000)
  afterAll(() => browser.close())
  afterEach(() => served.close())

  async function open(options: Parameters<Browser['newPage']>[0] = {}): Promise<{ page: Page; problems: string[] }> {
    view = statusView()
    served = await serveStatusPage({ port: 0, view: () => view, log: silentLog })
    const page = await browser.newPage(options)
    const problems: string[] = []
    page.on('console', (message) => void (message.type() === 'error' && problems.push(message.text())))
    page.on('pageerror', (error) => problems.push(error.message))
    await page.goto(served.url)
    return { page, problems }
  }

  it('shows the verdict without an error in the console, and takes its title from it', async () => {
    const { page, problems } = await open({ viewport: { width: 1200, height: 900 } })
    expect(await page.title()).toBe('Critical: tokay-dev')
    expect(await page.locator('.verdict strong').textContent()).toBe('Critical')
    expect(await page.evaluate(`getComputedStyle(document.querySelector('.verdict')).borderLeftColor`)).toBe('rgb(214, 69, 59)')
    await page.screenshot({ path: path.join(pictures, 'status-page-light.png'), fullPage: true })
    expect(problems).toEqual([])
  })

  it('follows the system without a reload, and leaves unfolded what the reader has unfolded', async () => {
    const { page } = await open()
    await page.locator('#checks summary').click()
    view = statusView({ report: report({ status: 'HEALTHY', message: 'All is well.', checks: report().checks.slice(3) }) })
    await page.getByText('All is well.').waitFor({ timeout: 10_000 })
    expect(await page.title()).toBe('Healthy: tokay-dev')
    expect(await page.locator('#findings').count()).toBe(0)
    expect(await page.locator('#checks').getAttribute('open')).toBe('')
  })

  it('says that it is old once the server is gone', async () => {
    const { page } = await open()
    await served.close()
    await page.getByText('what you see is old').waitFor({ timeout: 15_000 })
    expect(await page.locator('.verdict strong').textContent()).toBe('Critical')
  })

  it.each(['light', 'dark'] as const)(
    'can be read on a phone in %s: nothing runs out at the side, texts stand out',
    async (colorScheme) => {
      const { page } = await open({ viewport: { width: 390, height: 844 }, colorScheme, deviceScaleFactor: 2 })
      await page.locator('#checks summary').click()
      await page.screenshot({ path: path.join(pictures, `status-page-phone-${colorScheme}.png`), fullPage: true })
      expect(await page.evaluate('document.documentElement.scrollWidth')).toBe(390)
      const texts = await page.evaluate<{ text: string; contrast: number }[]>(contrasts)
      expect(texts.filter(({ contrast }) => contrast < 4.5)).toEqual([])
      expect(texts.length).toBeGreaterThan(30)
    },
  )
})
