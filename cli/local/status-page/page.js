// The page is drawn by the server; this fetches it anew. Without JavaScript a reload does the same.
// What the reader has unfolded stays unfolded, and a server that is gone is said, not hidden behind old figures.

const everyMs = 2_000
const main = document.querySelector('main')
const stale = document.querySelector('#stale')
let answeredAtMs = Date.now()

async function refresh() {
  try {
    const answer = await fetch('/fragment', { signal: AbortSignal.timeout(everyMs * 2) })
    if (!answer.ok) throw new Error(`status ${answer.status}`)
    const text = await answer.text()
    const unfolded = [...main.querySelectorAll('details[open]')].map((d) => d.id)
    main.innerHTML = text
    for (const id of unfolded) document.getElementById(id)?.setAttribute('open', '')
    document.title = main.firstElementChild?.dataset.title ?? document.title
    answeredAtMs = Date.now()
    stale.hidden = true
  } catch {
    // whatever the reason, the reader has to know that what is shown is old
    stale.textContent = `No answer from Tokay for ${Math.round((Date.now() - answeredAtMs) / 1000)} s: what you see is old.`
    stale.hidden = false
  }
  setTimeout(refresh, everyMs)
}

setTimeout(refresh, everyMs)
