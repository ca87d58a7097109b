import { afterEach, describe, expect, it } from 'vitest'
import { html } from '../../cli/local/status-page/html.ts'
import { fragment, page } from '../../cli/local/status-page/render.ts'
import { serveStatusPage, type StatusPage } from '../../cli/local/status-page/serve.ts'
import { sparkline } from '../../cli/local/status-page/sparkline.ts'
import { checks, nowMs, report, statusView } from '../support/status-view.ts'

const logged: object[] = []
const silent = { info: () => {}, warn: () => {}, error: (entry: object) => void logged.push(entry) }

const text = (view = statusView()) => fragment(view).text

describe('what is put into a page', () => {
  it('is text, whatever it looks like', () => {
    expect(html`<p title="${'"><script>'}">${"<img src=x onerror='alert(1)'> & more"}</p>`.text).toBe(
      '<p title="&quot;&gt;&lt;script&gt;">&lt;img src=x onerror=&#39;alert(1)&#39;&gt; &amp; more</p>',
    )
  })

  it('is markup when it came from a template', () => {
    const items = ['a', '<b>'].map((item) => html`<i>${item}</i>`)
    expect(html`<b>${items}${null}</b>`.text).toBe('<b><i>a</i><i>&lt;b&gt;</i></b>')
  })
})

describe('a sparkline', () => {
  const span = { fromMs: 0, toMs: 100, label: 'values' }

  it('has a gap where nothing is known, and never a zero', () => {
    const { text: svg } = sparkline(
      [10, 20, null, 20, 10].map((value, i) => ({ atMs: i * 25, value })),
      span,
    )
    expect(svg.match(/<polyline points="([^"]*)"/g)).toEqual(['<polyline points="0,22 60,3"', '<polyline points="180,3 240,22"'])
  })

  it('of zeros lies at the bottom', () => {
    expect(
      sparkline(
        [
          { atMs: 0, value: 0 },
          { atMs: 100, value: 0 },
        ],
        span,
      ).text,
    ).toContain('points="0,41 240,41"')
  })

  it('shows a limit that is near, and not one that would flatten the line', () => {
    const points = [
      { atMs: 0, value: 6 },
      { atMs: 100, value: 8 },
    ]
    expect(sparkline(points, { ...span, limit: 12 }).text).toContain('class="limit"')
    expect(sparkline(points, { ...span, limit: 1_000 }).text).not.toContain('class="limit"')
  })
})

describe('the status page', () => {
  it('says first what is wrong and what to do, with the evidence', () => {
    const shown = text()
    const order = [
      'Critical',
      'What is wrong',
      'End that session',
      'select pg_terminate_backend(4711);',
      '12 batches wait',
      'Availability, 1 h',
    ]
    const places = order.map((words) => shown.indexOf(words))
    expect(places).toEqual(places.toSorted((a, b) => a - b))
    expect(places).not.toContain(-1)
  })

  it('keeps a finding that another one explains out of what is wrong, and lists it', () => {
    const [wrong = '', all = ''] = text().split('id="checks"')
    expect(wrong).not.toContain('14.2 % of operations failed.')
    expect(all).toContain('explained by lock-wait')
  })

  it('says that nothing is known before the first check, instead of that all is well', () => {
    const shown = text(statusView({ report: undefined }))
    expect(shown).toContain('Not yet known')
    expect(shown).not.toContain('Healthy')
  })

  it('shows what was not measured as not known', () => {
    const metrics = { ...report().metrics, availability: null, query_p95_ms: null }
    expect(text(statusView({ report: report({ metrics }) })).match(/not known/g)?.length).toBe(2)
  })

  it('counts the minutes up, down and unknown in words too', () => {
    expect(text()).toContain('Of 60 minutes 51 up, 4 down, 5 without a look')
  })

  it('shows markup that a database or a collector sent as text', () => {
    const hostile = '<script>alert(1)</script>'
    const first = { ...checks[0], message: hostile, action: hostile, evidence: [hostile] } as (typeof checks)[number]
    const view = statusView({ report: report({ message: hostile, checks: [first] }), alerts: [{ atMs: nowMs, subject: hostile }] })
    expect(page(view).text.replaceAll('<script src="/page.js"', '')).not.toContain('<script')
  })
})

describe('the status page over HTTP', () => {
  let served: StatusPage | undefined
  afterEach(() => served?.close())
  const serve = async (view = statusView()) => (served = await serveStatusPage({ port: 0, view: () => view, log: silent }))

  it('is served with its style and script, and nothing else may be loaded by it', async () => {
    const { url } = await serve()
    const answer = await fetch(url)
    expect(answer.headers.get('content-security-policy')).toContain("default-src 'none'")
    expect(await answer.text()).toContain('<strong>Critical</strong>')
    expect((await fetch(`${url}/page.css`)).headers.get('content-type')).toBe('text/css; charset=utf-8')
    expect((await fetch(`${url}/page.js`)).status).toBe(200)
    expect((await fetch(`${url}/fragment`)).status).toBe(200)
    expect((await fetch(`${url}/../cli/tokay.ts`)).status).toBe(404)
  })

  it('gives the report as JSON, and health+json with 503 while it is critical', async () => {
    const { url } = await serve()
    expect(await (await fetch(`${url}/report.json`)).json()).toEqual(JSON.parse(JSON.stringify(report())))
    const health = await fetch(`${url}/health`)
    expect([health.status, health.headers.get('content-type')]).toEqual([503, 'application/health+json'])
    expect(((await health.json()) as { status: string }).status).toBe('fail')
  })

  it('gives 200 for health while the system is degraded, and 503 before the first check', async () => {
    const degraded = await serve(statusView({ report: report({ status: 'DEGRADED' }) }))
    expect((await fetch(`${degraded.url}/health`)).status).toBe(200)
    await degraded.close()
    const early = await serve(statusView({ report: undefined }))
    expect((await fetch(`${early.url}/health`)).status).toBe(503)
  })

  it('answers 500 and says it in the log when it can not be drawn, and goes on', async () => {
    served = await serveStatusPage({
      port: 0,
      view: () => {
        throw new Error('no view')
      },
      log: silent,
    })
    expect((await fetch(served.url)).status).toBe(500)
    expect((await fetch(`${served.url}/page.css`)).status).toBe(500)
    expect(logged.at(-1)).toMatchObject({ event: 'status-page.failed', error: new Error('no view') })
  })

  it('changes nothing, and is not read by a page of another name', async () => {
    const { url } = await serve()
    expect((await fetch(url, { method: 'POST' })).status).toBe(405)
    const { status } = await import('node:http').then(
      (http) =>
        new Promise<{ status: number | undefined }>((resolve, reject) => {
          http.get(url, { headers: { host: 'tokay.example' } }, (r) => resolve({ status: r.resume().statusCode })).once('error', reject)
        }),
    )
    expect(status).toBe(421)
  })
})
