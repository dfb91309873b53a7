// A Chromium that is driven by its developer tools' protocol, over a pipe: no port, no library.

import { spawn, spawnSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import { skip } from './edge.mjs'

/** The browser's name and version; ends well where there is none. FORESHORE_CHROMIUM names another one. */
export function chromium() {
  for (const name of [process.env.FORESHORE_CHROMIUM, 'chromium', 'google-chrome']) {
    const said = name && spawnSync(name, ['--version'], { encoding: 'utf8' })
    if (said && said.status === 0) return [name, said.stdout.trim()]
  }
  return skip('apt-get install chromium')
}

export class Browser {
  constructor(name, folder, more = []) {
    const asRoot = process.getuid() === 0 ? ['--no-sandbox'] : []
    this.process = spawn(
      name,
      [
        '--headless', '--disable-gpu', '--no-first-run', '--disable-background-networking', '--disable-sync', '--disable-quic',
        '--window-size=1400,1600', '--remote-debugging-pipe', `--user-data-dir=${folder}`, ...asRoot, ...more, 'about:blank',
      ],
      { stdio: ['ignore', 'ignore', 'ignore', 'pipe', 'pipe'] },
    )
    this.waiting = new Map()
    this.heard = []
    this.last = 0
    let left = ''
    this.process.stdio[4].setEncoding('utf8').on('data', (text) => {
      const messages = (left + text).split('\0')
      left = messages.pop()
      messages.map((message) => JSON.parse(message)).forEach((message) => this.take(message))
    })
  }

  take(message) {
    const done = this.waiting.get(message.id)
    this.waiting.delete(message.id)
    if (!done && message.method === 'Fetch.requestPaused') return this.instead(message.params)
    if (!done) return this.heard.push(message)
    if (message.error) return done.reject(new Error(message.error.message))
    return done.resolve(message.result)
  }

  say(method, params = {}) {
    const id = ++this.last
    this.process.stdio[3].write(`${JSON.stringify({ id, method, params, sessionId: this.session })}\0`)
    return new Promise((resolve, reject) => this.waiting.set(id, { resolve, reject }))
  }

  async open(url) {
    await this.tab()
    await this.say('Page.navigate', { url })
  }

  /** A new tab with nothing in it. */
  async tab() {
    // Of the browser itself, not of another tab.
    this.session = undefined
    const { targetId } = await this.say('Target.createTarget', { url: 'about:blank' })
    const { sessionId } = await this.say('Target.attachToTarget', { targetId, flatten: true })
    this.session = sessionId
    for (const part of ['Page', 'Runtime', 'Log', 'Network']) await this.say(`${part}.enable`)
  }

  /** The value of an expression in the page. */
  async value(expression) {
    const { result, exceptionDetails } = await this.say('Runtime.evaluate', { expression, awaitPromise: true, returnByValue: true })
    if (exceptionDetails) throw new Error(`${expression}: ${exceptionDetails.exception?.description ?? exceptionDetails.text}`)
    return result.value
  }

  /** Waits until an expression of the page is true. */
  async until(expression, what = expression) {
    for (let tries = 0; tries < 200; tries++) {
      if (await this.value(expression).catch(() => false)) return
      await pause(50)
    }
    throw new Error(`in vain: ${what}`)
  }

  /** A window of this size, whose reader likes it light or dark. */
  async look(width, height, scheme = 'light') {
    await this.say('Emulation.setDeviceMetricsOverride', { width, height, deviceScaleFactor: 1, mobile: width < 600 })
    await this.say('Emulation.setEmulatedMedia', { features: [{ name: 'prefers-color-scheme', value: scheme }] })
  }

  /** Has a key pressed, such as Tab or Enter. */
  async press(key, modifiers = 0) {
    const [code, text] = { Tab: [9], Enter: [13, '\r'] }[key]
    const said = { key, code: key, windowsVirtualKeyCode: code, modifiers }
    await this.say('Input.dispatchKeyEvent', { type: text ? 'keyDown' : 'rawKeyDown', text, ...said })
    await this.say('Input.dispatchKeyEvent', { type: 'keyUp', ...said })
  }

  /** Has text typed at what has the focus. */
  type(text) {
    return this.say('Input.insertText', { text })
  }

  /** What a screen reader is told: role and name of each thing that is not left out. */
  async spoken() {
    const { nodes } = await this.say('Accessibility.getFullAXTree')
    return nodes.filter((node) => !node.ignored).map((node) => [node.role?.value, node.name?.value ?? ''])
  }

  /** Has the dashboard's files come from a folder instead of from the edge: a page that is being written. */
  async replace(folder, headers) {
    const paths = { '/dashboard': 'index.html', '/dashboard/app.js': 'app.js', '/dashboard/app.css': 'app.css' }
    this.instead = async ({ requestId, request }) => {
      const name = paths[new URL(request.url).pathname]
      const kind = { js: 'text/javascript', css: 'text/css', html: 'text/html' }[name.split('.').at(-1)]
      const responseHeaders = Object.entries({ ...headers, 'content-type': `${kind}; charset=utf-8` }).map(([name, value]) => ({ name, value }))
      const body = readFileSync(join(folder, name)).toString('base64')
      await this.say('Fetch.fulfillRequest', { requestId, responseCode: 200, responseHeaders, body })
    }
    await this.say('Fetch.enable', { patterns: Object.keys(paths).map((path) => ({ urlPattern: `*${path}` })) })
  }

  async picture() {
    const { data } = await this.say('Page.captureScreenshot', { format: 'png', captureBeyondViewport: true })
    return Buffer.from(data, 'base64')
  }

  /** What the page complained of: exceptions, refusals of its policy, failed loads. */
  complaints() {
    const bad = this.heard.filter(({ method, params }) =>
      method === 'Runtime.exceptionThrown' || (method === 'Log.entryAdded' && params.entry.level === 'error'))
    return bad.map(({ params }) => params.entry?.text ?? params.exceptionDetails.exception?.description)
  }

  async close() {
    const ended = new Promise((done) => this.process.once('exit', done))
    this.process.kill('SIGKILL')
    await ended
  }
}
