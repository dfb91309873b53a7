// The dashboard. It shows what /v1/live tells once a second, and asks the other calls of the admin listener for the
// rest. Whatever viewers may have a say in becomes text, never markup.
'use strict'

const SVG = 'http://www.w3.org/2000/svg'
const SECONDS = 900
// As many as fit into them: they are nine tenths of a second apart at least.
const MOMENTS = 1000
const PAGE = 50
const LINES = 300
const CONCERNS = 20
const CHOICES = 200
const STATE_EVERY = 10000

const at = (id) => document.getElementById(id)

function make(tag, text, kind) {
  const node = document.createElement(tag)
  if (text !== undefined && text !== null) node.textContent = text
  if (kind) node.className = kind
  return node
}

// What is shown of numbers.

const number = (count) => (count ?? 0).toLocaleString('en')
const rate = (count) => (count ?? 0).toLocaleString('en', { maximumFractionDigits: 1 })
const percent = (part, whole) => (whole > 0 ? `${((part * 100) / whole).toFixed(1)} %` : '–')
const moment = (text) => (text ?? '').replace('T', ' ').replace(/\.\d+Z$|Z$/, '')

function octets(count) {
  for (const [size, unit] of [[1e12, 'TB'], [1e9, 'GB'], [1e6, 'MB'], [1e3, 'kB']]) {
    if (count >= size) return `${(count / size).toFixed(1)} ${unit}`
  }
  return `${Math.round(count ?? 0)} B`
}

function span(seconds) {
  if (seconds < 120) return `${seconds} s`
  if (seconds < 7200) return `${Math.floor(seconds / 60)} min`
  if (seconds < 172800) return `${Math.floor(seconds / 3600)} h`
  return `${Math.floor(seconds / 86400)} days`
}

// Calls. A session that is over brings the login back.

async function call(method, path, body) {
  const asked = { method, headers: {}, cache: 'no-store' }
  if (body !== undefined) {
    asked.body = JSON.stringify(body)
    asked.headers['content-type'] = 'application/json'
  }
  const answer = await fetch(path, asked)
  const said = await answer.json().catch(() => ({}))
  if (answer.status === 401 && path !== '/v1/login') showLogin()
  if (!answer.ok) throw new Error(said.error ?? `status ${answer.status}`)
  return said
}

// Plots: a line or two over the last quarter of an hour, the newest at the right.

const plots = {
  requests: [(r) => r.requests, (r) => r.hits, rate],
  ratio: [(r) => (r.hits + r.misses > 0 ? (r.hits * 100) / (r.hits + r.misses) : null), null, (v) => `${v.toFixed(1)} %`, 100],
  bytes: [(r) => r.bytes, null, octets],
  origin: [(r) => r.origin_p50_ms ?? null, (r) => r.origin_p99_ms ?? null, (v) => `${v} ms`],
  errors: [(r) => r.client_errors, (r) => r.server_errors, rate],
}
let seconds = []

// Where a moment stands. Those before somebody looked on may be further apart than a second.
const place = (index) => Math.round(SECONDS - 1 - (seconds.at(-1).at - seconds[index].at) / 1000)

function path(values, most) {
  let drawn = ''
  let isDown = false
  values.forEach((value, index) => {
    if (value === null) {
      isDown = false
      return
    }
    const x = place(index)
    const y = 98 - (value / most) * 92
    drawn += `${isDown ? 'L' : 'M'}${x} ${y.toFixed(1)}`
    isDown = true
  })
  return drawn
}

function plot(name) {
  const [one, two, words, fixed] = plots[name]
  const first = seconds.map(one)
  const second = two ? seconds.map(two) : []
  const most = fixed ?? Math.max(1e-9, ...first, ...second)
  const svg = at(`plot-${name}`)
  svg.setAttribute('viewBox', `0 0 ${SECONDS} 100`)
  svg.setAttribute('preserveAspectRatio', 'none')
  const shape = (kind, drawn) => {
    const node = document.createElementNS(SVG, 'path')
    node.setAttribute('class', kind)
    node.setAttribute('d', drawn)
    return node
  }
  const said = [first.at(-1), second.at(-1)].filter((value) => value !== null && value !== undefined).map(words).join(', ')
  const title = document.createElementNS(SVG, 'title')
  title.textContent = `now ${said || 'nothing'}, at most ${fixed ? words(fixed) : words(most < 1e-6 ? 0 : most)}`
  const line = path(first, most)
  const isWhole = first.length > 1 && !first.includes(null)
  const filled = isWhole ? `${line}L${SECONDS - 1} 98L${place(0)} 98Z` : ''
  svg.replaceChildren(title, shape('base', `M0 98H${SECONDS}`), shape('fill', filled), shape('one', line), shape('two', path(second, most)))
  at(`plot-${name}-at`).textContent = most < 1e-6 ? '' : `top ${words(fixed ?? most)}`
}

// Tables. One that says the same as before is left alone: what somebody has marked stays marked.

const shownRows = new Map()

function fill(id, rows) {
  const said = JSON.stringify(rows)
  if (shownRows.get(id) === said) return
  shownRows.set(id, said)
  const body = at(id).tBodies[0]
  body.replaceChildren(...rows.map((cells) => {
    const row = make('tr')
    row.append(...cells.map((cell) => (Array.isArray(cell) ? make('td', cell[0], cell[1]) : make('td', cell))))
    return row
  }))
}

let now = null
let before = null
let page = 0

function rowCells(row, known) {
  const total = row.total
  const gone = known ? Math.max(0, total.requests - known.total.requests) / Math.max(0.001, (now.at - before.at) / 1000) : null
  const mean = total.origin_answers > 0 ? `${Math.round(total.origin_ms / total.origin_answers)} ms` : '–'
  return [
    [row.distribution || 'none', 'words'], [row.behavior ?? '', 'words mono'], gone === null ? '–' : rate(gone), number(total.requests),
    percent(total.hits, total.hits + total.misses), number(total.statuses[3]),
    [number(total.statuses[4]), total.statuses[4] > 0 ? 'bad' : ''], octets(total.bytes), mean,
  ]
}

function showRows() {
  if (!now) return
  const wanted = at('rows-filter').value.toLowerCase()
  const name = (row) => `${row.distribution} ${row.behavior ?? ''}`
  const rows = now.rows.filter((row) => name(row).toLowerCase().includes(wanted))
  const pages = Math.max(1, Math.ceil(rows.length / PAGE))
  page = Math.min(page, pages - 1)
  const known = new Map((before?.rows ?? []).map((row) => [name(row), row]))
  fill('rows', rows.slice(page * PAGE, (page + 1) * PAGE).map((row) => rowCells(row, known.get(name(row)))))
  const left = now.rows_left > 0 ? `, ${number(now.rows_left)} with fewer requests are left out` : ''
  at('rows-note').textContent = `page ${page + 1} of ${pages}${left}`
  at('rows-back').disabled = page === 0
  at('rows-on').disabled = page === pages - 1
  const all = { distribution: 'all', behavior: '', total: now.total }
  const cells = rowCells(all, before && { total: before.total })
  at('total').replaceChildren(...cells.map((cell) => make('td', Array.isArray(cell) ? cell[0] : cell)))
}

function showTop() {
  const top = now.top
  for (const list of ['requests', 'misses', 'errors', 'failures']) {
    const one = (entry) => [[entry.key, 'words mono'], [`${entry.over > 0 ? '≤ ' : ''}${number(entry.count)}`, 'count']]
    fill(`top-${list}`, top[list].map(one))
  }
  const some = top.read < top.lines ? `, of which every few were read` : ''
  at('top-note').textContent = `Counted while somebody looks on: ${number(top.lines)} requests since ${moment(top.since)}${some}.`
}

// The end of the log.

let lines = []

function takeLines(tail) {
  const last = lines.length > 0 ? lines.at(-1).number : 0
  // After a pause numbers begin anew.
  const isNew = tail.length > 0 && tail.at(-1).number < last
  const fresh = isNew ? tail : tail.filter((line) => line.number > last)
  if (fresh.length === 0) return
  lines = (isNew ? fresh : lines.concat(fresh)).slice(-LINES)
  showTail()
}

function showTail() {
  if (at('tail-held').checked) return
  const wanted = at('tail-filter').value.toLowerCase()
  const asks = (line) => line.request_line ?? `${line.method} ${line.host}${line.path}${line.query ? `?${line.query}` : ''}`
  const text = (line) => `${line.status} ${line.result} ${line.reason} ${asks(line)} ${line.viewer} ${line.distribution ?? ''} ${line.error ?? ''}`
  const shown = lines.filter((line) => text(line).toLowerCase().includes(wanted)).reverse()
  fill('tail', shown.map((line) => [
    line.time.slice(11, 23), [line.status, line.status >= 500 ? 'bad' : ''], `${line.result} ${line.reason}`, [asks(line), 'words mono'],
    number(line.bytes), (line.us / 1000).toFixed(1), line.viewer, [[line.error, line.detail].filter(Boolean).join(' '), 'words'],
  ]))
}

// What a screen reader reads aloud when it changes, and how long the edge is up, which always does.
function sayState(words, up = '') {
  if (at('state').textContent !== words) at('state').textContent = words
  at('up').textContent = up
}

// What is told once a second.

function showNow(told) {
  before = now
  now = told
  const rates = told.rates
  if (rates) {
    // The last second is told with the history, and perhaps twice where two clocks meet.
    if (seconds.at(-1)?.at !== rates.at) seconds = [...seconds, rates].slice(-MOMENTS)
    at('now-requests').textContent = rate(rates.requests)
    at('now-hits').textContent = percent(rates.hits, rates.hits + rates.misses)
    at('now-bytes').textContent = octets(rates.bytes)
    at('now-errors').textContent = `${rate(rates.client_errors)}, ${rate(rates.server_errors)}`
    const hasOrigin = rates.origin_p50_ms !== undefined
    at('now-origin').textContent = hasOrigin ? `${rates.origin_p50_ms}, ${rates.origin_p99_ms} ms` : '–'
    Object.keys(plots).forEach(plot)
  }
  at('now-connections').textContent = number(told.connections)
  for (const [name, held] of [['memory', told.store], ['disk', told.disk]]) {
    at(`now-${name}`).textContent = held ? octets(held.bytes) : 'none'
    at(`now-${name}-of`).textContent = held ? `in ${name}, of ${octets(held.limit)}` : `on ${name}`
  }
  const draining = told.draining ? ', draining' : ''
  sayState(`${told.version} on ${told.node}${draining}`, `, up ${span(told.uptime_seconds)}`)
  showRows()
  fill('origins', told.origins.map((one) => [
    [`${one.distribution} ${one.origin}`, 'words'], [one.url, 'words mono'], `${number(one.connections)} of ${number(one.limit)}`,
  ]))
  showTop()
  takeLines(told.tail)
}

// What changes slowly.

async function showState() {
  const state = await call('GET', `/v1/status?most=${CHOICES}`)
  const concerns = []
  for (const one of state.certificates ?? []) {
    if (one.days_left < 14) concerns.push(`The certificate of ${one.names.join(', ')} ends in ${one.days_left} days.`)
  }
  for (const problem of state.last_reload?.problems ?? []) concerns.push(`The last reload was refused: ${problem}`)
  for (const warning of state.warnings ?? []) concerns.push(warning)
  if (state.disk && !state.disk.writing) concerns.push('The disk store is left alone because it failed.')
  if (state.log?.contested) concerns.push('Another edge runs on a copy of this data folder.')
  at('concerns').hidden = concerns.length === 0
  const left = concerns.length - CONCERNS + (state.left?.warnings ?? 0)
  const shown = left > 0 ? [...concerns.slice(0, CONCERNS), `And ${number(left)} more; see /v1/status.`] : concerns
  at('concerns').replaceChildren(...shown.map((words) => make('li', words)))
  fill('parents', (state.region ?? []).map((one) => [
    [one.parent, 'words mono'], number(one.weight), [one.condition ?? '–', one.condition === 'healthy' ? '' : 'bad'], [one.why ?? '', 'words'],
  ]))
  // Others are typed.
  const known = at('distributions')
  const ids = state.distributions.slice(0, CHOICES).map((one) => one.id)
  if (ids.join('\n') !== [...known.options].map((one) => one.value).join('\n')) {
    known.replaceChildren(...ids.map((id) => make('option', id)))
  }
  if (at('purge-distribution').value === '') at('purge-distribution').value = ids[0] ?? ''
}

async function showInvalidations() {
  const { invalidations } = await call('GET', '/v1/invalidations')
  fill('invalidations', invalidations.slice(0, 20).map((one) => [
    moment(one.at), one.number, [one.distribution, 'words'], [`${one.items.join(' ')}${one.soft ? ' (soft)' : ''}`, 'words mono'], one.status,
  ]))
}

async function keepUp() {
  if (at('board').hidden || document.hidden) return
  await Promise.all([showState(), showInvalidations()]).catch(() => {})
}

// Invalidations: first what they would cover, then they.

let tried = ''

function asked(isDry) {
  const items = at('purge-items').value.split('\n').map((item) => item.trim()).filter(Boolean)
  return {
    distribution: at('purge-distribution').value.trim(),
    paths: items.filter((item) => !item.startsWith('#')),
    tags: items.filter((item) => item.startsWith('#')),
    soft: at('purge-soft').checked,
    dry_run: isDry,
  }
}

async function purge(isDry) {
  const said = at('purge-said')
  said.className = ''
  const wanted = JSON.stringify(asked(true))
  try {
    const done = await call('POST', '/v1/invalidations', asked(isDry))
    tried = isDry ? wanted : ''
    const covered = done.covered === undefined ? '' : `${number(done.covered)} stored responses`
    said.textContent = isDry ? `It would cover ${covered}.` : `${done.status}: number ${done.number}${covered && `, ${covered}`}.`
    at('purge-covered').replaceChildren(...(done.responses ?? []).slice(0, 100).map((key) => make('li', key)))
    if (!isDry) await showInvalidations()
  } catch (error) {
    tried = ''
    said.className = 'bad'
    said.textContent = error.message
  }
  allow()
}

function allow() {
  at('purge-do').disabled = tried === '' || tried !== JSON.stringify(asked(true))
}

// What would happen to a request.

async function explain() {
  const story = at('explain-story')
  const said = (id) => at(id).value.split('\n').map((line) => line.trim()).filter(Boolean)
  try {
    const told = await call('POST', '/v1/explain', {
      url: at('explain-url').value.trim(),
      method: at('explain-method').value.trim(),
      from: at('explain-from').value.trim(),
      fields: said('explain-fields'),
      answer: said('explain-answer'),
    })
    story.className = 'mono'
    story.textContent = told.story
  } catch (error) {
    story.className = 'mono bad'
    story.textContent = error.message
  }
}

// Who looks on.

let source = null
let again = 0

function close() {
  if (source) source.close()
  source = null
  clearTimeout(again)
}

function showLogin() {
  close()
  at('board').hidden = true
  at('logout').hidden = true
  at('login').hidden = false
  sayState('not logged in')
  at('token').focus()
}

function showBoard() {
  at('login').hidden = true
  at('logout').hidden = false
  if (at('board').hidden) {
    at('board').hidden = false
    keepUp()
  }
}

function listen() {
  close()
  source = new EventSource('/v1/live')
  source.addEventListener('history', (event) => {
    seconds = JSON.parse(event.data)
    showBoard()
  })
  source.addEventListener('now', (event) => showNow(JSON.parse(event.data)))
  source.addEventListener('end', () => retry('the edge has ended the stream'))
  source.onerror = () => retry('the edge sends no events: it is away, or too many look on')
}

// A stream that fails does not say why: a call does. Where the edge has no place for another stream, what the call
// tells is shown instead.
function retry(why) {
  close()
  sayState(`${why}; trying again`)
  again = setTimeout(async () => {
    try {
      const told = await call('GET', '/v1/snapshot')
      showBoard()
      showNow(told)
      listen()
    } catch {
      if (at('login').hidden) retry(why)
    }
  }, 2000)
}

at('login-form').addEventListener('submit', async (event) => {
  event.preventDefault()
  at('login-error').textContent = ''
  try {
    await call('POST', '/v1/login', { token: at('token').value.trim() })
    at('token').value = ''
    listen()
  } catch (error) {
    at('login-error').textContent = error.message
  }
})
at('logout').addEventListener('click', () => call('POST', '/v1/logout').catch(() => {}).then(showLogin))
at('purge-dry').addEventListener('click', () => purge(true))
at('purge').addEventListener('submit', (event) => {
  event.preventDefault()
  if (!at('purge-do').disabled) purge(false)
})
at('explain').addEventListener('submit', (event) => {
  event.preventDefault()
  explain()
})
for (const id of ['purge-items', 'purge-soft', 'purge-distribution']) at(id).addEventListener('input', allow)
at('rows-filter').addEventListener('input', showRows)
at('rows-back').addEventListener('click', () => (page--, showRows()))
at('rows-on').addEventListener('click', () => (page++, showRows()))
at('tail-filter').addEventListener('input', showTail)
at('tail-held').addEventListener('change', showTail)
setInterval(keepUp, STATE_EVERY)
// A browser has few connections to one host: a page that is not seen holds none.
document.addEventListener('visibilitychange', () => {
  if (at('board').hidden) return
  if (document.hidden) close()
  else listen()
})

call('GET', '/v1/snapshot').then(listen, (error) => {
  if (at('login').hidden) retry(error.message)
})
