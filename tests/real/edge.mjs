// What the scripts beside this one stand on: the library `ws`, and a running edge in a folder of its own.

import { spawn, spawnSync } from 'node:child_process'
import { mkdtempSync, openSync, readFileSync, rmSync, writeFileSync, existsSync } from 'node:fs'
import { createRequire } from 'node:module'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'

const require = createRequire(import.meta.url)

/** Says why nothing is proved, and ends well. */
export function skip(why) {
  console.log(`skipped: ${why}`)
  process.exit(0)
}

/** The library `ws`, from where npm was told to put it, or from NODE_PATH. */
export function library() {
  for (const options of [{ paths: [resolve('target/tools/node'), process.cwd()] }, undefined]) {
    try {
      return require(require.resolve('ws', options))
    } catch {
      // Not there.
    }
  }
  return skip('npm install --prefix target/tools/node ws')
}

/** The program, as `--edge PATH` names it. */
export function program() {
  const at = process.argv.indexOf('--edge')
  const path = resolve(at < 0 ? 'target/release/foreshore' : process.argv[at + 1])
  if (!existsSync(path)) {
    console.error(`${path} is not there: cargo build --release`)
    process.exit(1)
  }
  return path
}

// Edges whose folders are there. Ended by a signal, a script leaves none of them behind.
const there = new Set()
for (const signal of ['SIGINT', 'SIGTERM']) {
  process.once(signal, () => {
    for (const edge of there) {
      edge.process?.kill('SIGKILL')
      rmSync(edge.folder, { recursive: true, force: true })
    }
    process.exit(1)
  })
}

/** An edge that is asked for `localhost` over http and https, encodes what it may, and sends origins what viewers say. */
export class Edge {
  static async start(origin, listen = '') {
    const edge = new Edge()
    edge.binary = program()
    edge.folder = mkdtempSync(join(tmpdir(), 'foreshore-'))
    there.add(edge)
    try {
      return await edge.begun(origin, listen)
    } catch (error) {
      await edge.remove()
      throw error
    }
  }

  async begun(origin, listen) {
    const edge = this
    const made = spawnSync(edge.binary, ['certs', 'dev', '--out', 'tls', 'localhost'], { cwd: edge.folder })
    if (made.status !== 0) throw new Error(String(made.stderr))
    edge.ca = readFileSync(join(edge.folder, 'tls/ca.pem'))
    edge.certificate = readFileSync(join(edge.folder, 'tls/localhost.pem'))
    writeFileSync(join(edge.folder, 'edge.toml'), config(edge.folder, origin, listen))
    const log = join(edge.folder, 'edge.log')
    edge.process = spawn(edge.binary, ['run', '--quiet', '--config', join(edge.folder, 'edge.toml')], {
      stdio: ['ignore', 'ignore', openSync(log, 'w')],
    })
    edge.ended = new Promise((done) => edge.process.once('exit', done))
    for (let tries = 0; tries < 400; tries++) {
      const text = readFileSync(log, 'utf8')
      if (text.includes('admin listener')) {
        edge.http = listening(text, 'http')
        edge.https = listening(text, 'https')
        edge.admin = Number(/admin listener.*address=127\.0\.0\.1:(\d+)/.exec(text)[1])
        return edge
      }
      if (edge.process.exitCode !== null) break
      await pause(50)
    }
    throw new Error(`the edge did not start:\n${readFileSync(log, 'utf8')}`)
  }

  /** The access log's line for which this holds, once it is written. */
  async logged(holds) {
    for (let tries = 0; tries < 100; tries++) {
      const lines = readFileSync(join(this.folder, 'access.log'), 'utf8').split('\n').filter(Boolean)
      const found = lines.map((line) => JSON.parse(line)).filter(holds)
      if (found.length > 0) return found.at(-1)
      await pause(50)
    }
    throw new Error('the access log has no such line')
  }

  /** Has it drain; its exit status. */
  async stop() {
    this.process.kill('SIGTERM')
    return this.ended
  }

  async remove() {
    this.process?.kill('SIGKILL')
    await this.ended
    rmSync(this.folder, { recursive: true, force: true })
    there.delete(this)
  }
}

function listening(text, speaks) {
  return Number(new RegExp(`address=127\\.0\\.0\\.1:(\\d+) .*speaks="${speaks}"`).exec(text)[1])
}

function config(folder, origin, listen) {
  return `
data = "data"
[listen]
http = ["127.0.0.1:0"]
https = ["127.0.0.1:0"]
workers = 2
${listen}
[admin]
listen = "127.0.0.1:0"
[log]
access = "access.log"
[limits]
drain = "5s"
[[certificate]]
chain = "${folder}/tls/localhost.pem"
key = "${folder}/tls/localhost.key"
[cache_policy.c]
ttl = { min = "0s" }
compress = ["br", "gzip", "zstd"]
[[distribution]]
id = "E1"
hosts = ["*"]
[[distribution.origin]]
id = "o"
url = "http://127.0.0.1:${origin}"
[[distribution.behavior]]
path = "*"
origin = "o"
methods = "all"
cache_policy = "c"
origin_request_policy = "AllViewer"
`
}
