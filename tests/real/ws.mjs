// Speaks WebSocket through an edge with the npm library `ws` on both sides, over http and https, with and without
// permessage-deflate: texts and octets of many lengths, pings and pongs of both sides, and close codes that pass
// unchanged in both directions. No part of the test command; by hand:
//
//     npm install --prefix target/tools/node ws
//     cargo build --release && node tests/real/ws.mjs [--edge PATH]
//
// Where the library is not there it says so and ends well.

import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { Edge, library } from './edge.mjs'

const { WebSocket, WebSocketServer } = library()
const LENGTHS = [0, 1, 125, 126, 65_535, 65_536, 1 << 20, 16 << 20]
// Of each kind: the protocol's own, the registry's, and an application's (RFC 6455 §7.4).
const CODES = [1000, 1001, 1003, 1007, 1008, 1009, 1011, 1012, 1013, 3000, 4000, 4999]

// Echoes; a text that begins with `close` has the server say goodbye, one with `ping` has it ping.
function serve(server) {
  server.on('connection', (socket, request) => {
    const told = { url: request.url, extensions: socket.extensions, protocol: socket.protocol }
    server.told.push(told)
    socket.on('pong', (data) => socket.send(`ponged ${data}`))
    told.closed = once(socket, 'close').then(([code, reason]) => [code, String(reason)])
    socket.on('message', (data, isBinary) => {
      const [word, code, reason] = isBinary ? [] : String(data).split(' ')
      if (word === 'close') return socket.close(Number(code), reason)
      if (word === 'ping') return socket.ping(code)
      if (word === 'vanish') return socket.terminate()
      return socket.send(data, { binary: isBinary })
    })
  })
}

async function open(url, options) {
  const socket = new WebSocket(url, ['chat', 'other'], { maxPayload: 0, ...options })
  await once(socket, 'open')
  return socket
}

async function echoes(socket) {
  for (const length of LENGTHS) {
    // Half of it noise and half of it not, so that deflate has both kinds.
    const sent = Buffer.concat([randomBytes(length >> 1), Buffer.alloc(length - (length >> 1), 'a')])
    const began = performance.now()
    socket.send(sent)
    const [came, isBinary] = await once(socket, 'message')
    assert.ok(isBinary && came.equals(sent), `${length} octets came back as others`)
    console.log(`  echo of ${String(length).padStart(8)} octets: ${(performance.now() - began).toFixed(1)} ms`)
  }
  const text = 'text, too: äöü '.repeat(1000)
  socket.send(text)
  const [came, isBinary] = await once(socket, 'message')
  assert.ok(!isBinary && String(came) === text)
}

async function pings(socket) {
  socket.ping('to the origin')
  assert.equal(String((await once(socket, 'pong'))[0]), 'to the origin')
  // The library answers pings by itself.
  socket.send('ping back')
  assert.equal(String((await once(socket, 'message'))[0]), 'ponged back')
}

// Both directions: the side that says it, and the side that hears it.
async function closes(server, url, options) {
  for (const code of CODES) {
    const reason = `because-${code}`
    const asking = await open(url, options)
    asking.send(`close ${code} ${reason}`)
    const [heard, why] = await once(asking, 'close')
    assert.deepEqual([heard, String(why)], [code, reason], 'from the origin')
    const saying = await open(url, options)
    const told = server.told.at(-1)
    saying.close(code, reason)
    assert.equal((await once(saying, 'close'))[0], code, 'the echo of a close')
    assert.deepEqual(await told.closed, [code, reason], 'from the viewer')
  }
  // Without a code, and without a close.
  const empty = await open(url, options)
  empty.close()
  assert.equal((await once(empty, 'close'))[0], 1005)
  const left = await open(url, options)
  left.send('vanish')
  const code = (await once(left, 'close'))[0]
  console.log(`  an origin that vanishes is told as ${code}`)
  assert.equal(code, 1011)
}

async function main() {
  const server = new WebSocketServer({
    host: '127.0.0.1', port: 0, maxPayload: 0, perMessageDeflate: { threshold: 0 },
    handleProtocols: (protocols) => (protocols.has('chat') ? 'chat' : false),
  })
  server.told = []
  await once(server, 'listening')
  serve(server)
  const edge = await Edge.start(server.address().port)
  try {
    const secure = { ca: edge.ca, servername: 'localhost' }
    for (const [scheme, port, more] of [['ws', edge.http, {}], ['wss', edge.https, secure]]) {
      for (const perMessageDeflate of [false, { threshold: 0 }]) {
        const options = { ...more, perMessageDeflate }
        const url = `${scheme}://127.0.0.1:${port}/chat?room=1`
        const socket = await open(url, options)
        const told = server.told.at(-1)
        console.log(`${scheme}, extensions: ${socket.extensions || 'none'}, protocol: ${socket.protocol}`)
        assert.equal(socket.extensions.includes('permessage-deflate'), perMessageDeflate !== false)
        assert.deepEqual([told.extensions, told.protocol, told.url], [socket.extensions, 'chat', '/chat?room=1'])
        await echoes(socket)
        await pings(socket)
        socket.close(1000)
        await once(socket, 'close')
        await closes(server, url, options)
        const line = await edge.logged((line) => line.path === '/chat' && line.scheme === (more.ca ? 'https' : 'http'))
        assert.deepEqual([line.status, line.protocol], [101, '1.1'])
      }
    }
    // A drain says goodbye to both sides.
    const last = await open(`ws://127.0.0.1:${edge.http}/`, {})
    const told = server.told.at(-1)
    const [stopping, began] = [edge.stop(), performance.now()]
    assert.equal((await once(last, 'close'))[0], 1001)
    const status = await stopping
    const [code] = await told.closed
    const took = ((performance.now() - began) / 1000).toFixed(1)
    console.log(`drained in ${took} s, exit ${status}; close codes: 1001 at the viewer, ${code} at the origin`)
    assert.deepEqual([status, code], [0, 1001])
  } finally {
    await edge.remove()
    server.close()
  }
}

await main()
