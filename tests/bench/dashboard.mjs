// What the dashboard costs, and how soon it is there: figures for the acceptance list, from a real edge and a real Chromium. By hand:
//
//     cargo build --release && node tests/bench/dashboard.mjs [--edge PATH] [--cases page,streams,hits,sketch,many] [--seconds 4]
//         [--page src/control/dashboard]
//
// page     octets of the page, until something is painted, beside a page that says "ok", from the login to the board with its first numbers
// streams  CPU of the edge with no, one and fifty open streams of /v1/live, in hundredths of a core, and with what the pages ask beside them
// hits     CPU of a hit with no and with one open stream (wrk, a second each in turn)
// sketch   memory of the edge before and after as many different long URLs as nine seconds have room for, while somebody looks on
// many     page and streams with 10,000 distributions: /v1/snapshot's time and octets, the longest task of the page
//
// Each line names the goal. Without chromium or wrk their cases are left out, with a line.

import { spawnSync } from 'node:child_process'
import { readFileSync, readdirSync } from 'node:fs'
import { Agent, createServer, get, request } from 'node:http'
import { join } from 'node:path'
import { once } from 'node:events'
import { setTimeout as pause } from 'node:timers/promises'
import { Browser } from '../real/devtools.mjs'
import { Edge } from '../real/edge.mjs'

const option = (name, other) => (process.argv.includes(name) ? process.argv[process.argv.indexOf(name) + 1] : other)
const cases = option('--cases', 'page,streams,hits,sketch,many').split(',')
const seconds = Number(option('--seconds', '4'))
const has = (program) => spawnSync(program, ['--version']).error === undefined

const tellers = new Agent({ keepAlive: true, maxSockets: 32 })

function fetched(port, path, headers = {}, agent = tellers) {
  return new Promise((resolve, reject) => {
    get({ host: '127.0.0.1', port, path, headers, agent }, (answer) => {
      const pieces = []
      answer.on('data', (piece) => pieces.push(piece)).on('end', () => resolve(Buffer.concat(pieces)))
    }).on('error', reject)
  })
}

// Seconds of CPU that a process has taken, to the nanosecond: the hundredths of /proc/PID/stat are as coarse as the goal.
function taken(pid) {
  const of = (thread) => Number(readFileSync(`/proc/${pid}/task/${thread}/schedstat`, 'utf8').split(' ')[0])
  return readdirSync(`/proc/${pid}/task`).reduce((sum, thread) => sum + of(thread), 0) / 1e9
}

const resident = (pid) => Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))[1]) / 1024

async function percent(edge) {
  const before = taken(edge.process.pid)
  await pause(seconds * 1000)
  return ((taken(edge.process.pid) - before) * 100) / seconds
}

// What a page asks beside its stream, and how often (STATE_EVERY of app.js).
const STATE_EVERY = 10_000
const BESIDE = ['/v1/status?most=200', '/v1/invalidations']

// Has pages ask that, at moments of their own; gives what ends it.
function keepingUp(edge, token, count) {
  const headers = { authorization: `Bearer ${token}` }
  const ask = () => BESIDE.forEach((path) => fetched(edge.admin, path, headers).catch(() => {}))
  let timers = []
  const begin = (at) => setTimeout(() => (ask(), timers.push(setInterval(ask, STATE_EVERY))), (at * STATE_EVERY) / count)
  timers = Array.from({ length: count }, (_, at) => begin(at))
  return () => timers.forEach(clearTimeout)
}

// Opens streams, reads them, and gives what closes them.
async function looking(edge, token, count) {
  const open = []
  for (let at = 0; at < count; at++) {
    const asked = request({ host: '127.0.0.1', port: edge.admin, path: '/v1/live', headers: { authorization: `Bearer ${token}` }, agent: false })
    asked.on('error', () => {}).end()
    const [answer] = await once(asked, 'response')
    answer.on('error', () => {}).resume()
    open.push(asked)
  }
  return () => open.forEach((one) => one.destroy())
}

async function page(edge, token, label = '') {
  if (!has(process.env.FORESHORE_CHROMIUM ?? 'chromium')) return console.log('page: left out, apt-get install chromium')
  const browser = new Browser(process.env.FORESHORE_CHROMIUM ?? 'chromium', join(edge.folder, `browser${label}`))
  try {
    const painted = "performance.getEntriesByName('first-contentful-paint')"
    const paints = []
    // What the browser takes for a page of two letters, in turn: the rest is the dashboard's.
    const least = []
    for (let tries = 0; tries < 5; tries++) {
      await browser.tab()
      await browser.say('Page.navigate', { url: `http://127.0.0.1:${edge.admin}/healthz` })
      await browser.until(`${painted}.length > 0`)
      least.push(await browser.value(`${painted}[0].startTime`))
      await browser.tab()
      if (option('--page')) await browser.replace(option('--page'), { 'content-security-policy': "default-src 'self'; img-src data:" })
      await browser.say('Page.navigate', { url: `http://127.0.0.1:${edge.admin}/dashboard` })
      await browser.until(`${painted}.length > 0 && (!document.getElementById('login').hidden || !document.getElementById('board').hidden)`)
      paints.push(await browser.value(`${painted}[0].startTime`))
      if (tries === 0) {
        await browser.value("window.tasks = []; new PerformanceObserver((all) => all.getEntries().forEach((one) => window.tasks.push(one.duration))).observe({ type: 'longtask' })")
        const began = Date.now()
        await browser.value(`(document.getElementById('token').value = ${JSON.stringify(token)}, document.querySelector('#login-form button').click())`)
        await browser.until("document.querySelector('#total td:nth-child(4)')?.textContent > ''")
        console.log(`page${label}: from the login to the board with numbers ${Date.now() - began} ms (polled each 50)`)
        await pause(seconds * 1000 + 7000) // /v1/status is asked each ten seconds.
        const tasks = await browser.value('window.tasks')
        console.log(`page${label}: longest task ${Math.round(Math.max(0, ...tasks))} ms, ${tasks.length} over 50 ms (no freeze)`)
      }
    }
    console.log(`page${label}: something is painted after ${paints.map(Math.round).join(', ')} ms (goal: 200); "ok" after ${least.map(Math.round).join(', ')} ms`)
  } finally {
    await browser.close()
  }
}

async function streams(edge, token, label = '') {
  for (const count of [0, 1, 50]) {
    const close = await looking(edge, token, count)
    await pause(1500)
    const alone = await percent(edge)
    const end = keepingUp(edge, token, count)
    await pause(STATE_EVERY)
    const whole = count > 0 ? `, ${(await percent(edge)).toFixed(2)} % as whole pages` : ''
    console.log(`streams${label}: ${count} open, ${alone.toFixed(2)} % of a core${whole} (goal: below 1 with 50)`)
    end()
    close()
  }
}

async function hits(edge, token) {
  if (!has('wrk')) return console.log('hits: left out, apt-get install wrk')
  const url = `http://127.0.0.1:${edge.http}/hit`
  await fetched(edge.http, '/hit')
  const costs = { 0: [], 1: [] }
  for (let round = 0; round < 4; round++) {
    for (const count of [0, 1]) {
      const close = await looking(edge, token, count)
      const before = taken(edge.process.pid)
      const { stdout } = spawnSync('wrk', ['-t1', '-c16', '-d1', url], { encoding: 'utf8' })
      const made = Number(/(\d+) requests in/.exec(stdout)[1])
      costs[count].push(((taken(edge.process.pid) - before) * 1e6) / made)
      close()
    }
  }
  for (const count of [0, 1]) {
    const sorted = costs[count].sort((a, b) => a - b)
    console.log(`hits: ${count} open, ${sorted.map((cost) => cost.toFixed(2)).join(', ')} CPU-µs a hit (goal: no dearer)`)
  }
}

async function sketch(edge, token) {
  const close = await looking(edge, token, 1)
  // Redirections: what the store keeps of a URL would grow beside it.
  const long = 'x'.repeat(1500)
  let asked = 0
  const some = async (from, to) => {
    let next = from
    const one = async () => {
      while (next < to) await fetched(edge.http, `/${next++}/${long}`, { host: 'redirect.test' }).then(() => asked++)
    }
    await Promise.all(Array.from({ length: 32 }, one))
  }
  const until = Date.now() + 9000
  await some(0, 5000)
  const before = resident(edge.process.pid)
  while (asked < 100_000 && Date.now() < until) await some(asked, asked + 5000)
  const top = JSON.parse(await fetched(edge.admin, '/v1/snapshot', { authorization: `Bearer ${token}` })).top
  console.log(`sketch: ${before.toFixed(1)} MiB after 5,000 URLs, ${resident(edge.process.pid).toFixed(1)} after ${asked} (goal: no growth); ${top.lines} lines, ${top.read} read`)
  close()
}

async function told(edge, token) {
  const began = process.hrtime.bigint()
  const body = await fetched(edge.admin, '/v1/snapshot', { authorization: `Bearer ${token}` })
  return `/v1/snapshot: ${body.length} octets after ${(Number(process.hrtime.bigint() - began) / 1e6).toFixed(1)} ms`
}

async function size(edge) {
  const files = ['/dashboard', '/dashboard/app.js', '/dashboard/app.css']
  const all = await Promise.all(files.map((path) => fetched(edge.admin, path)))
  console.log(`page: ${all.reduce((sum, body) => sum + body.length, 0)} octets in ${files.length} files (goal: 150,000)`)
}

async function on(listen, work) {
  const origin = createServer((_, response) => {
    response.writeHead(200, { 'Cache-Control': 'max-age=600' })
    response.end('some octets')
  }).listen(0, '127.0.0.1')
  await once(origin, 'listening')
  const edge = await Edge.start(origin.address().port, listen(origin.address().port))
  try {
    await work(edge, readFileSync(join(edge.folder, 'data/admin-token'), 'utf8').trim())
  } finally {
    tellers.destroy()
    await edge.remove()
    origin.close()
    origin.closeAllConnections()
  }
}

const redirecting = (port) => `[[distribution]]\nid = "E2"\nhosts = ["redirect.test"]\n[[distribution.origin]]\nid = "o"\nurl = "http://127.0.0.1:${port}"
[[distribution.behavior]]\npath = "*"\norigin = "o"\ncache_policy = "c"\nviewer_protocol = "redirect-to-https"\n`

function distributions(port) {
  const one = (at) => `[[distribution]]\nid = "D${at}"\nhosts = ["d${at}.test"]\n[[distribution.origin]]\nid = "o"\nurl = "http://127.0.0.1:${port}"
[[distribution.behavior]]\npath = "*"\norigin = "o"\ncache_policy = "c"\n`
  return Array.from({ length: 10_000 }, (_, at) => one(at)).join('')
}

if (cases.some((name) => name !== 'many')) {
  await on(redirecting, async (edge, token) => {
    if (cases.includes('page')) await size(edge)
    for (const [name, run] of Object.entries({ page, streams, hits, sketch })) if (cases.includes(name)) await run(edge, token)
  })
}
if (cases.includes('many')) {
  await on(distributions, async (edge, token) => {
    console.log(`many: ${await told(edge, token)}`)
    await streams(edge, token, ' with 10,000 distributions')
    await page(edge, token, ' with 10,000 distributions')
  })
}
