// Has a real Chromium open a page through an edge over HTTPS, with HTTP/2 and without: the page talks WebSocket to the
// same host, and hears five server-sent events that are sent one second apart. No part of the test command; by hand:
//
//     apt-get install chromium; npm install --prefix target/tools/node ws
//     cargo build --release && node tests/real/chromium.mjs [--edge PATH]
//
// Where the browser or the library is not there it says so and ends well. FORESHORE_CHROMIUM names another browser.
// What came over which protocol is read from the edge's access log: with HTTP/2 a WebSocket is an extended CONNECT,
// which succeeds with 200 (RFC 8441), otherwise an upgrade with 101.

import assert from 'node:assert/strict'
import { spawn, spawnSync } from 'node:child_process'
import { X509Certificate, createHash } from 'node:crypto'
import { once } from 'node:events'
import { createServer } from 'node:http'
import { join } from 'node:path'
import { Edge, library, skip } from './edge.mjs'

const { WebSocketServer } = library()
const EVENTS = 5
// Between two events, and what may be missing or too much of it, in milliseconds.
const APART = 1000
const LATE = 250

// Runs in the browser, and reports what it saw.
async function page() {
  const saw = {}
  const done = (socket, kind) => new Promise((resolve) => socket.addEventListener(kind, resolve, { once: true }))
  try {
    const socket = new WebSocket(`wss://${location.host}/ws`, ['chat'])
    socket.binaryType = 'arraybuffer'
    await done(socket, 'open')
    saw.agreed = [socket.protocol, socket.extensions]
    const sent = new Uint8Array(1 << 20).map((_, at) => (at * at) % 253)
    socket.send(sent)
    const came = new Uint8Array((await done(socket, 'message')).data)
    saw.echoed = came.length === sent.length && came.every((octet, at) => octet === sent[at])
    socket.send('close 4321 enough')
    const { code, reason, wasClean } = await done(socket, 'close')
    saw.closed = [code, reason, wasClean]

    saw.events = await new Promise((resolve) => {
      const heard = []
      const source = new EventSource(`/events${location.pathname}`)
      source.onopen = () => heard.push({ opened: Date.now() })
      source.onmessage = (event) => {
        heard.push({ sent: Number(event.data), came: Date.now() })
        if (event.lastEventId !== '5') return
        source.close()
        resolve(heard)
      }
      source.onerror = () => resolve(heard)
    })
    saw.protocol = performance.getEntriesByType('navigation')[0].nextHopProtocol
  } catch (error) {
    saw.error = String(error)
  }
  await fetch('/report', { method: 'POST', body: JSON.stringify(saw) })
}

// The page, the events, and where the page reports to.
function serve() {
  const server = createServer((request, response) => {
    server.asked.push([request.url, request.headers['accept-encoding']])
    if (request.url === '/report') {
      let text = ''
      request.on('data', (piece) => (text += piece))
      request.on('end', () => (response.end(), server.emit('report', JSON.parse(text))))
    } else if (request.url.startsWith('/events')) {
      response.writeHead(200, { 'Content-Type': 'text/event-stream' })
      response.flushHeaders()
      let number = 0
      const timer = setInterval(() => {
        // Comments at the end: over HTTP/1.1 it is by writing to it that an edge notices a viewer that has left.
        response.write(number < EVENTS ? `id: ${++number}\ndata: ${Date.now()}\n\n` : ': still here\n\n')
      }, APART)
      response.on('close', () => clearInterval(timer))
    } else {
      response.writeHead(200, { 'Content-Type': 'text/html', 'Cache-Control': 'no-store' })
      response.end(`<!doctype html><link rel="icon" href="data:,"><script>(${page})()</script>`)
    }
  })
  server.asked = []
  new WebSocketServer({ server, maxPayload: 0, perMessageDeflate: true }).on('connection', (socket) => {
    socket.on('message', (data, isBinary) => {
      if (isBinary) return socket.send(data)
      const [, code, reason] = String(data).split(' ')
      return socket.close(Number(code), reason)
    })
  })
  return server
}

function browser() {
  for (const name of [process.env.FORESHORE_CHROMIUM, 'chromium', 'google-chrome']) {
    const said = name && spawnSync(name, ['--version'], { encoding: 'utf8' })
    if (said && said.status === 0) return [name, said.stdout.trim()]
  }
  return skip('apt-get install chromium')
}

// The browser trusts this one key, and no other certificate that it cannot verify.
function arguments_for(edge, path, more) {
  const key = new X509Certificate(edge.certificate).publicKey.export({ type: 'spki', format: 'der' })
  const hash = createHash('sha256').update(key).digest('base64')
  const asRoot = process.getuid() === 0 ? ['--no-sandbox'] : []
  return [
    '--headless', '--disable-gpu', '--no-first-run', '--disable-background-networking', '--disable-sync',
    `--user-data-dir=${join(edge.folder, 'browser', path)}`, `--ignore-certificate-errors-spki-list=${hash}`,
    '--host-resolver-rules=MAP localhost 127.0.0.1', ...asRoot, ...more, `https://localhost:${edge.https}${path}`,
  ]
}

async function visit(name, edge, server, path, more) {
  const running = spawn(name, arguments_for(edge, path, more), { stdio: ['ignore', 'ignore', 'pipe'] })
  const ended = once(running, 'exit')
  let said = ''
  running.stderr.on('data', (text) => (said += text))
  try {
    const [saw] = await once(server, 'report', { signal: AbortSignal.timeout(60_000) })
    return saw
  } catch (error) {
    throw new Error(`the page reported nothing: ${error}\n${said.slice(-2000)}`)
  } finally {
    running.kill('SIGKILL')
    await ended
  }
}

function judge_events(heard) {
  const [opened, ...events] = heard
  assert.ok(opened?.opened && events.length === EVENTS, JSON.stringify(heard))
  const delays = events.map((event) => event.came - event.sent)
  const gaps = events.slice(1).map((event, at) => event.came - events[at].came)
  console.log(`  open ${events[0].came - opened.opened} ms before the first event`)
  console.log(`  events: ${delays.join(', ')} ms after they were sent, ${gaps.join(', ')} ms apart`)
  assert.ok(delays.every((delay) => delay < LATE), 'an event was held back')
  assert.ok(gaps.every((gap) => Math.abs(gap - APART) < LATE), 'events came together')
  // The head alone says that the stream is open, long before there is anything to hear.
  assert.ok(events[0].came - opened.opened > APART - LATE, 'the head waited for an event')
}

async function main() {
  const [name, version] = browser()
  console.log(version)
  const server = serve().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const edge = await Edge.start(server.address().port)
  try {
    for (const [protocol, hop, status, more] of [['2.0', 'h2', 200, []], ['1.1', 'http/1.1', 101, ['--disable-http2']]]) {
      const saw = await visit(name, edge, server, `/${hop}`, more)
      assert.equal(saw.error, undefined)
      const line = await edge.logged((line) => line.path === '/ws' && line.protocol === protocol)
      console.log(`HTTP/${protocol}: fetched by ${saw.protocol}; WebSocket logged as ${line.method} ` +
        `${line.protocol} ${line.status}, ${line.received} octets in, ${line.bytes} out; agreed on ${saw.agreed[0]}, extensions: ${saw.agreed[1] || 'none'}`)
      assert.deepEqual([saw.protocol, line.status], [hop, status])
      assert.match(saw.agreed[1], /permessage-deflate/)
      assert.deepEqual([saw.agreed[0], saw.echoed, saw.closed], ['chat', true, [4321, 'enough', true]])
      judge_events(saw.events)
      // The browser closed it, and the edge has noticed.
      await edge.logged((line) => line.path === `/events/${hop}` && line.protocol === protocol)
    }
    const [, accepts] = server.asked.find(([url]) => url.startsWith('/events'))
    console.log(`events were asked of the origin with Accept-Encoding: ${accepts}`)
  } finally {
    await edge.remove()
    server.closeAllConnections()
    server.close()
  }
}

await main()
