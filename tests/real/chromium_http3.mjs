// Has a real Chromium come to an edge over HTTP/2, learn of HTTP/3 by `Alt-Svc`, and load the fifty parts of a page over it. No part of
// the test command; by hand:
//
//     apt-get install chromium
//     cargo build --release && node tests/real/chromium_http3.mjs [--edge PATH]
//
// Where the browser is not there it says so and ends well. FORESHORE_CHROMIUM names another one. What came over which protocol is told
// by the browser and by the edge's access log.

import assert from 'node:assert/strict'
import { spawn, spawnSync } from 'node:child_process'
import { X509Certificate, createHash } from 'node:crypto'
import { once } from 'node:events'
import { createServer } from 'node:http'
import { join } from 'node:path'
import { Edge, skip } from './edge.mjs'

const PARTS = 50
// A browser goes on with HTTP/2 until its first handshake over QUIC is done.
const ROUNDS = 20
const PAUSE = 250

// Runs in the browser: loads all parts again and again, until all of them come over HTTP/3.
async function page(parts, rounds, pause) {
  const saw = { first: performance.getEntriesByType('navigation')[0].nextHopProtocol, rounds: [] }
  try {
    for (let round = 0; round < rounds; round++) {
      performance.clearResourceTimings()
      const one = async (number) => (await fetch(`/part/${number}`, { cache: 'no-store' })).text()
      const texts = await Promise.all(Array.from({ length: parts }, (_, number) => one(number)))
      if (!texts.every((text, number) => text === `${number} `.repeat(2000))) throw new Error('a part is not what it should be')
      const came = performance.getEntriesByType('resource').filter((entry) => entry.name.includes('/part/'))
      saw.rounds.push(came.map((entry) => entry.nextHopProtocol))
      if (came.length === parts && came.every((entry) => entry.nextHopProtocol === 'h3')) break
      await new Promise((resolve) => setTimeout(resolve, pause))
    }
  } catch (error) {
    saw.error = String(error)
  }
  await fetch('/report', { method: 'POST', body: JSON.stringify(saw) })
}

function serve() {
  const server = createServer((request, response) => {
    if (request.url === '/report') {
      let text = ''
      request.on('data', (piece) => (text += piece))
      request.on('end', () => (response.end(), server.emit('report', JSON.parse(text))))
    } else if (request.url.startsWith('/part/')) {
      response.writeHead(200, { 'Content-Type': 'text/plain', 'Cache-Control': 'max-age=60' })
      response.end(`${request.url.slice('/part/'.length)} `.repeat(2000))
    } else {
      response.writeHead(200, { 'Content-Type': 'text/html', 'Cache-Control': 'no-store' })
      response.end(`<!doctype html><link rel="icon" href="data:,"><script>(${page})(${PARTS}, ${ROUNDS}, ${PAUSE})</script>`)
    }
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

// The browser trusts this one key. QUIC wants a known authority beside that, unless it is forced on some port of the host: any does, and
// this one is not the edge's, so that there is still something to learn by `Alt-Svc`.
function arguments_for(edge) {
  const key = new X509Certificate(edge.certificate).publicKey.export({ type: 'spki', format: 'der' })
  const hash = createHash('sha256').update(key).digest('base64')
  const asRoot = process.getuid() === 0 ? ['--no-sandbox'] : []
  return [
    '--headless', '--disable-gpu', '--no-first-run', '--disable-background-networking', '--disable-sync', '--enable-quic',
    `--user-data-dir=${join(edge.folder, 'browser')}`, `--ignore-certificate-errors-spki-list=${hash}`,
    '--origin-to-force-quic-on=localhost:1', '--host-resolver-rules=MAP localhost 127.0.0.1', ...asRoot,
    `https://localhost:${edge.https}/`,
  ]
}

async function visit(name, edge, server) {
  const running = spawn(name, arguments_for(edge), { stdio: ['ignore', 'ignore', 'pipe'] })
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

async function main() {
  const [name, version] = browser()
  console.log(version)
  const server = serve().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const edge = await Edge.start(server.address().port, 'http3 = true')
  try {
    const saw = await visit(name, edge, server)
    assert.equal(saw.error, undefined)
    for (const round of saw.rounds) {
      const count = (protocol) => round.filter((one) => one === protocol).length
      console.log(`  ${round.length} parts: ${count('h2')} over h2, ${count('h3')} over h3`)
    }
    assert.equal(saw.first, 'h2', 'the page itself')
    assert.ok(saw.rounds.at(-1).length === PARTS && saw.rounds.at(-1).every((one) => one === 'h3'), 'Alt-Svc was not followed')
    const line = await edge.logged((line) => line.path.startsWith('/part/') && line.protocol === '3.0' && line.result === 'Hit')
    assert.equal(line.status, 200)
    assert.equal(await edge.stop(), 0, 'the edge leaves')
    console.log('ok')
  } finally {
    await edge.remove()
    server.closeAllConnections()
    server.close()
  }
}

await main()
