// Has a real Chromium lay the dashboard out, wide and narrow, light and dark, and looks at what became of it: what sticks out,
// what is empty, what cannot be read, reached by keyboard, named by a screen reader or never silent to it, what its policy refused, whom it asked.
// Facts instead of pixels, so no picture has to be kept to compare with. No part of the test command; by hand:
//
//     apt-get install chromium
//     cargo build --release && node tests/real/dashboard_layout.mjs [--edge PATH] [--page src/control/dashboard] [--pictures FOLDER]
//
// `--page` shows files of a folder instead of those that the program has. Where the browser is not there it says so and ends well.

import assert from 'node:assert/strict'
import { readFileSync, writeFileSync } from 'node:fs'
import { createServer, get } from 'node:http'
import { join } from 'node:path'
import { once } from 'node:events'
import { setTimeout as pause } from 'node:timers/promises'
import { Browser, chromium } from './devtools.mjs'
import { Edge } from './edge.mjs'

const option = (name) => (process.argv.includes(name) ? process.argv[process.argv.indexOf(name) + 1] : undefined)
// A URL and a viewer that are as long as they may be without a place to break.
const LONG = `/${'long'.repeat(300)}`

function fetched(port, path, headers = {}) {
  return new Promise((resolve, reject) => {
    get({ host: '127.0.0.1', port, path, headers }, (answer) => answer.resume().on('end', () => resolve(answer.headers))).on('error', reject)
  })
}

// The login by keyboard alone.
async function enter(browser, edge, token) {
  await browser.until("document.activeElement.id === 'token'", 'the focus is where the token goes')
  await browser.type(token)
  await browser.press('Enter')
  await browser.until("!document.getElementById('board').hidden")
  for (const path of ['/a', '/a', '/b', '/missing', LONG]) await fetched(edge.http, path, { host: 'h.test' })
  await browser.until("document.querySelectorAll('#tail tbody tr').length >= 5")
  await browser.until("document.querySelector('#plot-requests .one')?.getAttribute('d').split('L').length > 2", 'a plot of three seconds')
}

// What sticks out to the right of the window, or of the card that it is in. Tables may, in a box of their own that scrolls.
const OUTSIDE = `(() => {
  const all = [...document.querySelectorAll('body *')].filter((node) => node.getClientRects().length && !node.closest('.wide, svg'))
  const name = (node) => node.id || node.className || node.tagName
  const right = document.documentElement.clientWidth
  const out = all.filter((node) => node.getBoundingClientRect().right > right + 0.5).map((node) => 'window: ' + name(node))
  const cards = [...document.querySelectorAll('.card')].filter((node) => node.getClientRects().length)
  for (const card of cards) if (card.scrollWidth > card.clientWidth + 1) out.push('card: ' + name(card))
  if (document.scrollingElement.scrollWidth > right) out.push('the page scrolls sideways')
  return out
})()`

// The least contrast of any text with what lies behind it (WCAG 2.2, 1.4.3), and where.
const CONTRAST = `(() => {
  const light = (channels) => channels.slice(0, 3).map((c) => c / 255).map((c) => (c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4))
    .reduce((sum, c, at) => sum + c * [0.2126, 0.7152, 0.0722][at], 0)
  const channels = (said) => said.match(/[\\d.]+/g).map(Number)
  const behind = (node) => {
    for (let one = node; one; one = one.parentElement) {
      const found = channels(getComputedStyle(one).backgroundColor)
      if (found.length < 4 || found[3] > 0) return found
    }
    return [255, 255, 255]
  }
  let least = [21, '']
  for (const node of document.querySelectorAll('body *')) {
    const speaks = [...node.childNodes].some((child) => child.nodeType === 3 && child.textContent.trim())
    if (!speaks || !node.getClientRects().length || node.disabled || node.closest('svg')) continue
    const [one, other] = [light(channels(getComputedStyle(node).color)), light(behind(node))].sort((a, b) => b - a)
    const ratio = (one + 0.05) / (other + 0.05)
    if (ratio < least[0]) least = [ratio, node.id || node.className || node.tagName]
  }
  return least
})()`

const PLOTS = `[...document.querySelectorAll('.plots svg')].map((svg) => {
  const drawn = svg.querySelector('.one').getAttribute('d')
  const size = svg.getBoundingClientRect()
  const points = (drawn.match(/[ML]-?\\d+ /g) ?? []).map((point) => parseFloat(point.slice(1)))
  return { id: svg.id, title: svg.querySelector('title').textContent, wide: size.width, high: size.height, points }
})`

async function laidOut(browser, width, scheme) {
  await browser.look(width, 900, scheme)
  await pause(1200) // One more second is told and drawn at this size.
  const what = `${width} px, ${scheme}`
  assert.deepEqual(await browser.value(OUTSIDE), [], `${what}: sticks out`)
  const [least, where] = await browser.value(CONTRAST)
  assert.ok(least >= 4.5, `${what}: ${where} has a contrast of ${least.toFixed(2)}, 4.5 is what can be read`)
  const plots = await browser.value(PLOTS)
  assert.equal(plots.length, 5)
  for (const plot of plots) {
    assert.ok(plot.wide > 200 && plot.high >= 80 && plot.title.startsWith('now '), `${what}: ${JSON.stringify(plot)}`)
    assert.ok(plot.points.every((x, at) => x >= 0 && x < 900 && (at === 0 || x > plot.points[at - 1])), `${what}: ${JSON.stringify(plot)}`)
  }
  const isDrawn = (id) => plots.find((plot) => plot.id === id).points.length > 2
  assert.ok(isDrawn('plot-requests') && isDrawn('plot-bytes'), `${what}: nothing is drawn`)
  const empty = await browser.value(`[...document.querySelectorAll('h1, h2, th, label, .tiles b, .tiles span, figcaption')]
    .filter((node) => !node.textContent.trim()).map((node) => node.id || node.tagName)`)
  assert.deepEqual(empty, [], `${what}: says nothing`)
  if (option('--pictures')) writeFileSync(join(option('--pictures'), `${width}-${scheme}.png`), await browser.picture())
  console.log(`${what}: nothing sticks out, the least contrast is ${least.toFixed(1)} (${where})`)
}

async function named(browser) {
  const spoken = await browser.spoken()
  const speaking = ['button', 'textbox', 'searchbox', 'combobox', 'checkbox', 'table', 'image', 'img']
  const mute = spoken.filter(([role, name]) => speaking.includes(role) && !name)
  assert.deepEqual(mute, [], 'a screen reader has no name for it')
  for (const [role, least] of [['button', 6], ['table', 8], ['heading', 9]]) {
    const count = spoken.filter(([said]) => said === role).length
    assert.ok(count >= least, `${count} of role ${role}: ${JSON.stringify(spoken.filter(([said]) => said === role))}`)
  }
}

// What is read aloud when it changes must not change each second.
async function isQuiet(browser) {
  const live = `[...document.querySelectorAll('[aria-live], [role=status], [role=alert]')].map((node) => [node.id, node.textContent])`
  const before = await browser.value(live)
  await pause(2500)
  assert.deepEqual(await browser.value(live), before, 'a screen reader would never be silent')
  assert.ok(before.some(([id, words]) => id === 'state' && words), 'the state is told')
}

// Everything that can be used is come to by Tab, in the order of the page, and shows that it is the one.
async function byKeyboard(browser) {
  const usable = `[...document.querySelectorAll('button, input, select, textarea')].filter((node) => !node.disabled && node.getClientRects().length).map((node) => node.id || node.textContent)`
  const wanted = await browser.value(usable)
  await browser.value('document.activeElement.blur()')
  const reached = []
  for (let tries = 0; tries < wanted.length + 20; tries++) {
    await browser.press('Tab')
    const [name, outline] = await browser.value(`(() => {
      const node = document.activeElement
      return [node.id || node.textContent, parseFloat(getComputedStyle(node).outlineWidth)]
    })()`)
    if (!wanted.includes(name)) continue
    assert.ok(outline >= 1, `${name} does not show that it has the focus`)
    if (reached.includes(name)) break
    reached.push(name)
  }
  const first = reached.indexOf(wanted[0])
  assert.deepEqual([...reached.slice(first), ...reached.slice(0, first)], wanted, 'the order of Tab')
}

const [name, version] = chromium()
const origin = createServer((request, response) => {
  response.writeHead(request.url === '/missing' ? 404 : 200, { 'Cache-Control': 'max-age=600' })
  response.end('some octets')
}).listen(0, '127.0.0.1')
await once(origin, 'listening')
const edge = await Edge.start(origin.address().port)
const browser = new Browser(name, join(edge.folder, 'browser'))
try {
  const token = readFileSync(join(edge.folder, 'data/admin-token'), 'utf8').trim()
  const from = `http://127.0.0.1:${edge.admin}/`
  const { 'content-security-policy': policy } = await fetched(edge.admin, '/dashboard')
  assert.ok(policy?.startsWith("default-src 'none'"), policy)
  await browser.tab()
  if (option('--page')) await browser.replace(option('--page'), { 'content-security-policy': policy })
  await browser.look(380, 800)
  await browser.say('Page.navigate', { url: `${from}dashboard` })
  await browser.until("!document.getElementById('login').hidden")
  assert.deepEqual(await browser.value(OUTSIDE), [], 'the login sticks out')
  await enter(browser, edge, token)
  for (const width of [1280, 768, 380]) for (const scheme of ['light', 'dark']) await laidOut(browser, width, scheme)
  await browser.look(1280, 900)
  await named(browser)
  await isQuiet(browser)
  await byKeyboard(browser)
  const asked = browser.heard.filter(({ method }) => method === 'Network.requestWillBeSent').map(({ params }) => params.request.url)
  assert.deepEqual(asked.filter((url) => !url.startsWith(from) && !url.startsWith('data:')), [], 'somebody else was asked')
  const complaints = browser.complaints().filter((words) => !words.includes('401'))
  assert.deepEqual(complaints, [], 'nothing was refused by the policy, and nothing failed')
  console.log(`${version}: laid out at three widths, light and dark; all of it is named, and reached by keyboard`)
} finally {
  await browser.close()
  await edge.remove()
  origin.close()
}
