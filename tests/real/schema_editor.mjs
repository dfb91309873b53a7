// Has the language server that editors run (taplo, as Even Better TOML has it) read a configuration whose first line names the
// schema: completion offers the keys of each table with the tour's words, hovering tells them, and what the schema does not know
// is an error. No part of the test command; by hand:
//
//     npm install --prefix target/tools/node @taplo/lsp@0.8.0
//     node tests/real/schema_editor.mjs [--schema FILE]
//
// Where the server is not there it says so and ends well. (The taplo that PyPI ships checks files, real/schema.py, and has no server.)

import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { resolve } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'

const at = process.argv.indexOf('--schema')
const schema = resolve(at < 0 ? 'config/foreshore.schema.json' : process.argv[at + 1])

function server() {
  try {
    const require = createRequire(import.meta.url)
    return require(require.resolve('@taplo/lsp', { paths: [resolve('target/tools/node'), process.cwd()] })).TaploLsp
  } catch {
    console.log('skipped: npm install --prefix target/tools/node @taplo/lsp@0.8.0')
    return process.exit(0)
  }
}

// What the server may do of the world: read the schema.
const world = {
  now: () => new Date(),
  envVar: () => undefined,
  envVars: () => [],
  stdErrAtty: () => false,
  stdin: async () => new Uint8Array(),
  stdout: async (octets) => octets.length,
  stderr: async (octets) => octets.length,
  glob: () => [],
  readFile: async (path) => readFileSync(path),
  writeFile: async () => {},
  urlToFilePath: (url) => decodeURIComponent(new URL(url).pathname),
  isAbsolute: (path) => path.startsWith('/'),
  cwd: () => process.cwd(),
  findConfigFile: () => undefined,
}

/** A client of the server, as small as it may be. */
class Editor {
  static async start(Server) {
    const editor = new Editor()
    editor.waiting = new Map()
    editor.problems = new Map()
    editor.last = 0
    editor.server = await Server.initialize(world, { onMessage: (message) => editor.take(message) })
    const folder = 'file:///tmp/editor'
    await editor.ask('initialize', { processId: null, rootUri: folder, workspaceFolders: [{ uri: folder, name: 'editor' }], capabilities: {} })
    editor.tell('initialized', {})
    return editor
  }

  take(message) {
    if (message.method === 'textDocument/publishDiagnostics') this.problems.set(message.params.uri, message.params.diagnostics)
    if (message.method && message.id !== undefined) {
      // What it asks of an editor: settings, none of which are set.
      const result = message.method === 'workspace/configuration' ? message.params.items.map(() => null) : null
      this.server.send({ jsonrpc: '2.0', id: message.id, result })
    } else if (message.id !== undefined) {
      this.waiting.get(message.id)?.(message)
      this.waiting.delete(message.id)
    }
  }

  tell(method, params) {
    this.server.send({ jsonrpc: '2.0', method, params })
  }

  async ask(method, params) {
    const id = ++this.last
    const answered = new Promise((done) => this.waiting.set(id, done))
    this.server.send({ jsonrpc: '2.0', id, method, params })
    const answer = await Promise.race([answered, pause(20_000, { error: 'no answer' })])
    assert.equal(answer.error, undefined, `${method}: ${JSON.stringify(answer.error)}`)
    return answer.result
  }

  open(name, text) {
    const uri = `file:///tmp/editor/${name}.toml`
    this.tell('textDocument/didOpen', { textDocument: { uri, languageId: 'toml', version: 1, text: `#:schema file://${schema}\n${text}` } })
    return uri
  }

  /** What is wrong with a text, once the server has said so. */
  async wrong(name, text) {
    const uri = this.open(name, text)
    for (let tries = 0; tries < 100 && !this.problems.has(uri); tries++) await pause(50)
    await pause(200)
    return this.problems.get(uri) ?? []
  }

  /** What is offered at the end of a text, by key: the words beside it. */
  async offered(name, text) {
    const uri = this.open(name, text)
    const lines = text.split('\n')
    const position = { line: lines.length, character: lines.at(-1).length }
    await pause(300)
    const items = await this.ask('textDocument/completion', { textDocument: { uri }, position, context: { triggerKind: 1 } })
    const words = (item) => item.documentation?.value ?? item.documentation ?? ''
    return new Map((items.items ?? items).map((item) => [item.label, words(item)]))
  }

  async hovered(name, text, line, character) {
    const uri = this.open(name, text)
    await pause(300)
    const told = await this.ask('textDocument/hover', { textDocument: { uri }, position: { line: line + 1, character } })
    return told?.contents?.value ?? JSON.stringify(told)
  }
}

const editor = await Editor.start(server())
const known = JSON.parse(readFileSync(schema, 'utf8'))
const told = (table, key) => {
  let found = known.properties[table]
  if (found.$ref) found = known.definitions[found.$ref.split('/').at(-1)]
  return found.properties[key].description
}

// Completion, and the words of the tour beside each.
let count = 0
for (const [table, key, start] of [['limits', 'streams', 'str'], ['admin', 'dashboard', 'dash'], ['process', 'core_dumps', 'core']]) {
  const offered = await editor.offered(`${table}-${key}`, `[${table}]\n${start}`)
  assert.ok(offered.has(key), `[${table}] offers ${[...offered.keys()]}, not ${key}`)
  const words = told(table, key)
  assert.ok(words && offered.get(key).includes(words), `${key}: ${offered.get(key)}, not ${words}`)
  count += offered.size
}
const words = told('limits', 'drain')
assert.ok((await editor.hovered('hover', '[limits]\ndrain = "5s"\n', 1, 2)).includes(words), words)

// Mistakes; and what is right.
for (const [name, text, said] of [
  ['unknown', '[listen]\nhttp = ["127.0.0.1:80"]\ncolour = 1\n', 'colour'],
  ['kind', '[limits]\nstreams = "many"\n', 'many'],
  ['choice', '[listen]\nunknown_sni = "drop"\n', 'drop'],
]) {
  const wrong = await editor.wrong(name, text)
  assert.ok(wrong.some((one) => one.severity === 1 && JSON.stringify(one).includes(said)), `${name}: ${JSON.stringify(wrong)}`)
}
const tour = readFileSync(resolve('config/tour.toml'), 'utf8').replace(/^#:schema .*\n/, '')
assert.deepEqual((await editor.wrong('tour', tour)).filter((one) => one.severity === 1), [], 'the tour is right')
console.log(`completion with the tour's words (${count} offers), hover, and three mistakes as errors; the tour has none`)
process.exit(0)
