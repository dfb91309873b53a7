// Has a real Chromium open the dashboard of a running edge: it logs in, sees what the metrics say, tries an invalidation
// and makes it, and shows as text what viewers would have as markup. No part of the test command; by hand:
//
//     apt-get install chromium
//     cargo build --release && node tests/real/dashboard.mjs [--edge PATH] [--picture FILE.png] [--page src/control/dashboard]
//
// Where the browser is not there it says so and ends well. FORESHORE_CHROMIUM names another browser.

import assert from 'node:assert/strict'
import { readFileSync, writeFileSync } from 'node:fs'
import { createServer, get } from 'node:http'
import { join } from 'node:path'
import { once } from 'node:events'
import { Browser, chromium } from './devtools.mjs'
import { Edge } from './edge.mjs'

// What may be said in a URL and would be markup in a page.
const WILD = "/<script>window.caught=1</script>'&quot;"

// The same in names of the configuration, as far as it takes them: ids of distributions are letters, and patterns have no <.
const wildly = (port) => `[[distribution]]
id = "E2"
hosts = ["wild.test"]
[[distribution.origin]]
id = "<img src=x onerror=window.caught=2>"
url = "http://127.0.0.1:${port}"
[[distribution.behavior]]
path = "/\\"'&amp*"
origin = "<img src=x onerror=window.caught=2>"
cache_policy = "c"
[[distribution.behavior]]
path = "*"
origin = "<img src=x onerror=window.caught=2>"
cache_policy = "c"
`

const text = (id) => `document.getElementById('${id}').textContent`
const rows = (id) => `document.querySelectorAll('#${id} tbody tr').length`
const click = (id) => `document.getElementById('${id}').click()`

function fetched(port, path, headers = {}) {
  return new Promise((resolve, reject) => {
    get({ host: '127.0.0.1', port, path, headers }, (answer) => {
      let body = ''
      answer.setEncoding('utf8').on('data', (piece) => (body += piece)).on('end', () => resolve([answer.statusCode, body]))
    }).on('error', reject)
  })
}

async function metric(edge, token, name) {
  const [, body] = await fetched(edge.admin, '/metrics', { authorization: `Bearer ${token}` })
  const lines = body.split('\n').filter((line) => line.split(/[{ ]/)[0] === name)
  return lines.reduce((sum, line) => sum + Number(line.split(' ').at(-1)), 0)
}

async function logIn(browser, edge, token) {
  await browser.tab()
  const page = process.argv.indexOf('--page')
  if (page > 0) await browser.replace(process.argv[page + 1], { 'content-security-policy': "default-src 'self'; img-src data:" })
  await browser.say('Page.navigate', { url: `http://127.0.0.1:${edge.admin}/dashboard` })
  await browser.until("!document.getElementById('login').hidden")
  const say = (what) =>
    browser.value(`(document.getElementById('token').value = ${JSON.stringify(what)}, document.querySelector('#login-form button').click())`)
  await say('not the token')
  await browser.until(`${text('login-error')}.includes('not the admin token')`)
  const began = Date.now()
  await say(token)
  await browser.until("!document.getElementById('board').hidden")
  await browser.until(`${rows('rows')} > 0`)
  console.log(`the board stands ${Date.now() - began} ms after the login`)
  const kept = await browser.value('document.cookie + JSON.stringify(localStorage) + JSON.stringify(sessionStorage) + location.href')
  assert.equal(kept, `{}{}http://127.0.0.1:${edge.admin}/dashboard`, 'no script can see the session, and the token is kept nowhere')
}

async function look(browser, edge, token) {
  for (const path of ['/img/a', '/img/a', '/img/a', '/img/b', '/missing']) await fetched(edge.http, path, { host: 'h.test' })
  // A viewer that escapes nothing: the edge refuses it, or passes it on; both are told.
  await fetched(edge.http, encodeURI(WILD), { host: 'h.test', 'user-agent': WILD })
  // So with a host and a referrer.
  await fetched(edge.http, '/w', { host: '<script>window.caught=4</script>', referer: WILD })
  await fetched(edge.http, '/"\'&amp', { host: 'wild.test' })
  const counted = await metric(edge, token, 'foreshore_requests_total')
  await browser.until(`document.querySelector('#total td:nth-child(4)').textContent === '${counted}'`, `${counted} requests in all`)
  await browser.until(`[...document.querySelectorAll('#top-requests tr')].some((row) => row.textContent === 'h.test/img/a3')`, 'the top URL')
  await browser.until(`${rows('tail')} >= 7`)
  await browser.until("document.getElementById('rows').textContent.includes('&amp')", 'a behavior that would be markup')
  await browser.until("document.getElementById('origins').textContent.includes('onerror=')", 'an origin that would be markup')
  assert.equal(await browser.value('window.caught === undefined && document.scripts.length === 1'), true)
}

async function invalidate(browser) {
  await browser.until("document.getElementById('purge-distribution').value !== ''")
  await browser.value("document.getElementById('purge-distribution').value = 'E1'")
  await browser.value(`document.getElementById('purge-items').value = '/img/*'`)
  assert.equal(await browser.value("document.getElementById('purge-do').disabled"), true, 'first a dry run')
  await browser.value(click('purge-dry'))
  await browser.until(`${text('purge-said')} === 'It would cover 2 stored responses.'`)
  assert.equal(await browser.value("document.querySelectorAll('#purge-covered li').length"), 2)
  await browser.value(click('purge-do'))
  await browser.until(`${text('purge-said')}.startsWith('Completed: number 1')`)
  await browser.until(`${rows('invalidations')} === 1`)
}

async function explain(browser) {
  const say = (id, words) => browser.value(`document.getElementById('explain-${id}').value = ${JSON.stringify(words)}`)
  await say('url', 'http://h.test/img/a')
  await say('answer', 'Cache-Control: private')
  await browser.value("document.querySelector('#explain button').click()")
  await browser.until(`${text('explain-story')}.includes('not kept: private')`)
}

// Whatever is typed or told by others, in each of the page's parts.
async function remarks(browser) {
  const markup = '<img src=x onerror=window.caught=5>'
  const say = (id, words) => browser.value(`document.getElementById('${id}').value = ${JSON.stringify(words)}`)
  await say('purge-items', `/${markup}*`)
  await browser.value(click('purge-dry'))
  await browser.until(`${text('purge-said')}.startsWith('It would cover')`)
  await browser.value(click('purge-do'))
  await browser.until(`document.getElementById('invalidations').textContent.includes('onerror=')`, 'an invalidation that would be markup')
  await say('purge-distribution', markup)
  await browser.value(click('purge-dry'))
  await browser.until(`${text('purge-said')}.includes('onerror=')`, 'a refusal that would be markup')
  await say('explain-fields', `X-Wild: ${markup}`)
  await say('explain-url', `http://h.test/${markup}`)
  await say('explain-method', markup)
  await browser.value("document.querySelector('#explain button').click()")
  await browser.until(`${text('explain-story')} !== '' && !${text('explain-story')}.includes('not kept: private')`, 'another story')
  await say('rows-filter', markup)
  await say('tail-filter', markup)
  assert.equal(await browser.value("window.caught === undefined && document.querySelectorAll('img, script').length === 1"), true)
}

// As many streams as there are places for: a page that comes then is told the same by calls.
async function crowd(browser, edge, token) {
  const open = []
  const stream = () => new Promise((resolve, reject) => {
    const asked = get({ host: '127.0.0.1', port: edge.admin, path: '/v1/live', headers: { authorization: `Bearer ${token}` }, agent: false }, (answer) => {
      answer.on('error', () => {}).resume()
      open.push(asked)
      resolve(answer.statusCode)
    })
    asked.on('error', reject)
  })
  await browser.say('Page.navigate', { url: 'about:blank' })
  while ((await stream()) === 200) if (open.length > 100) throw new Error('there is no end of places')
  await fetched(edge.http, '/crowd', { host: 'h.test' })
  await browser.say('Page.navigate', { url: `http://127.0.0.1:${edge.admin}/dashboard` })
  await browser.until("document.getElementById('tail').textContent.includes('/crowd')", 'a page without a stream')
  open.forEach((one) => one.on('error', () => {}).destroy())
  await browser.until("document.getElementById('state').textContent.includes(' on ')", 'and with one again')
}

async function leave(browser) {
  await browser.value(click('logout'))
  await browser.until("!document.getElementById('login').hidden && document.getElementById('board').hidden")
  assert.equal(await browser.value("fetch('/v1/snapshot').then((answer) => answer.status)"), 401)
}

const [name, version] = chromium()
const origin = createServer((request, response) => {
  const isThere = request.url !== '/missing'
  response.writeHead(isThere ? 200 : 404, { 'Cache-Control': isThere ? 'max-age=600' : 'no-store' })
  response.end('some octets')
}).listen(0, '127.0.0.1')
await once(origin, 'listening')
const edge = await Edge.start(origin.address().port, wildly(origin.address().port))
const browser = new Browser(name, join(edge.folder, 'browser'))
try {
  const token = readFileSync(join(edge.folder, 'data/admin-token'), 'utf8').trim()
  await logIn(browser, edge, token)
  await look(browser, edge, token)
  await invalidate(browser)
  await explain(browser)
  await remarks(browser)
  await crowd(browser, edge, token)
  const picture = process.argv.indexOf('--picture')
  if (picture > 0) writeFileSync(process.argv[picture + 1], await browser.picture())
  // The calls that are to be refused, and what is asked before the login.
  const complaints = browser.complaints().filter((words) => !/status of (400|401|404|503)/.test(words))
  assert.deepEqual(complaints, [], 'nothing was refused by the policy, and nothing failed')
  await leave(browser)
  console.log(`${version}: login, live numbers, an invalidation, and a logout`)
} finally {
  await browser.close()
  await edge.remove()
  origin.close()
}
