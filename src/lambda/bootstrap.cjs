'use strict';
// Runs a Node.js handler over the Lambda Runtime API. Descriptor FORESHORE_API is a connected Unix
// socket whose other end is the edge; one call at a time.
//
// Heads are written and read by hand: a client of the `http` module costs more than most handlers.

const fs = require('fs');
const net = require('net');
const path = require('path');
const url = require('url');
const util = require('util');

const env = process.env;
const descriptor = Number(env.FORESHORE_API);
delete env.FORESHORE_API;
const BASE = '/2018-06-01/runtime/';

// ---- the API ----

const socket = new net.Socket({ fd: descriptor, readable: true, writable: true });
let received = Buffer.alloc(0);
let waiting = null;

socket.on('data', (data) => {
  received = received.length === 0 ? data : Buffer.concat([received, data]);
  arrived();
});
// The edge is gone, and with it whoever could want an answer.
socket.on('close', () => realExit(0));
socket.on('error', () => realExit(0));

const realExit = process.reallyExit ? process.reallyExit.bind(process) : process.exit.bind(process);

// Hands on the answer that came, once it is whole.
function arrived() {
  if (waiting === null) return;
  const end = received.indexOf('\r\n\r\n');
  if (end < 0) return;
  const lines = received.latin1Slice(0, end).split('\r\n');
  const headers = {};
  for (let i = 1; i < lines.length; i++) {
    const colon = lines[i].indexOf(':');
    headers[lines[i].slice(0, colon).toLowerCase()] = lines[i].slice(colon + 1).trim();
  }
  const whole = end + 4 + Number(headers['content-length'] || 0);
  if (received.length < whole) return;
  const body = received.subarray(end + 4, whole);
  received = received.subarray(whole);
  const done = waiting;
  waiting = null;
  done({ status: Number(lines[0].split(' ')[1]), headers, body });
}

function ask(method, where, fields, body, done) {
  waiting = done;
  const length = body === null ? '' : `Content-Length: ${Buffer.byteLength(body)}\r\n`;
  const head = `${method} ${BASE}${where} HTTP/1.1\r\nHost: edge\r\n${fields}${length}\r\n`;
  // A socket that may only be read must not keep the loop from becoming empty: see `whenEmpty`.
  socket.ref();
  socket.write(body === null ? head : head + body);
}

// ---- what the code says ----

const LEVELS = { log: 'INFO', info: 'INFO', warn: 'WARN', error: 'ERROR', debug: 'DEBUG', trace: 'TRACE' };
let requestId;

function patchConsole() {
  for (const [name, level] of Object.entries(LEVELS)) {
    console[name] = (...args) => {
      const text = util.format(...args).replace(/\n/g, '\r');
      process.stdout.write(`${new Date().toISOString()}\t${requestId}\t${level}\t${text}\n`);
    };
  }
}

function logError(label, error) {
  const text = JSON.stringify(described(error)).replace(/\n/g, '\r');
  process.stdout.write(`${new Date().toISOString()}\t${requestId}\tERROR\t${label} \t${text}\n`);
}

// ---- errors, as the runtime describes them ----

class RuntimeFailure extends Error {
  constructor(type, message, cause) {
    super(message);
    this.name = type;
    if (cause && cause.stack) this.stack = `${type}: ${message}\n${cause.stack}`;
  }
}

function described(error) {
  if (error instanceof Error || (error && typeof error === 'object' && 'stack' in error)) {
    const stack = typeof error.stack === 'string' ? error.stack.split('\n') : [];
    return {
      errorType: String(error.name || 'Error'),
      errorMessage: String(error.message),
      trace: stack,
    };
  }
  return { errorType: typeof error, errorMessage: String(error), trace: [] };
}

function failureType(error) {
  return error instanceof RuntimeFailure ? error.name : 'Unhandled';
}

function failInit(error) {
  logError('Init error', error);
  const type = failureType(error);
  ask('POST', 'init/error', `Lambda-Runtime-Function-Error-Type: ${type}\r\n`,
    JSON.stringify(described(error)), () => realExit(1));
}

// ---- finding the handler ----

// "dir/file.export.nested": what stands before the file's first dot is its path.
function parseHandler(name) {
  if (name.includes('..')) {
    throw new RuntimeFailure('Runtime.MalformedHandlerName',
      `'${name}' is not a valid handler name. Use absolute paths when specifying root directories in handler names.`);
  }
  const base = path.basename(name);
  const dot = base.indexOf('.');
  if (dot <= 0 || dot === base.length - 1) {
    throw new RuntimeFailure('Runtime.MalformedHandlerName', 'Bad handler');
  }
  return {
    file: name.slice(0, name.length - base.length) + base.slice(0, dot),
    exported: base.slice(dot + 1).split('.'),
  };
}

function isFile(name) {
  try { return fs.statSync(name).isFile(); } catch { return false; }
}

// What the nearest package.json says of `.js`.
function isModule(file) {
  let folder = path.dirname(file);
  for (;;) {
    const text = (() => {
      try { return fs.readFileSync(path.join(folder, 'package.json'), 'utf8'); } catch { return null; }
    })();
    if (text !== null) {
      try { return JSON.parse(text).type === 'module'; } catch { return false; }
    }
    const parent = path.dirname(folder);
    if (parent === folder) return false;
    folder = parent;
  }
}

async function load(root, file) {
  const whole = path.resolve(root, file);
  if (isFile(whole)) return require(whole);
  if (isFile(`${whole}.js`)) {
    return isModule(`${whole}.js`)
      ? import(url.pathToFileURL(`${whole}.js`).href)
      : require(`${whole}.js`);
  }
  if (isFile(`${whole}.mjs`)) return import(url.pathToFileURL(`${whole}.mjs`).href);
  if (isFile(`${whole}.cjs`)) return require(`${whole}.cjs`);
  return require(require.resolve(file, { paths: [root, path.join(root, 'node_modules')] }));
}

async function find(root, name) {
  const { file, exported } = parseHandler(name);
  let loaded;
  try {
    loaded = await load(root, file);
  } catch (error) {
    if (error instanceof SyntaxError) {
      throw new RuntimeFailure('Runtime.UserCodeSyntaxError', String(error), error);
    }
    if (error && (error.code === 'MODULE_NOT_FOUND' || error.code === 'ERR_MODULE_NOT_FOUND')) {
      throw new RuntimeFailure('Runtime.ImportModuleError', String(error), error);
    }
    throw error;
  }
  // CommonJS that came by import has its exports below `default`.
  const walk = (from) => exported.reduce((at, step) => at && at[step], from);
  let handler = walk(loaded);
  if (handler === undefined && loaded && loaded.default) handler = walk(loaded.default);
  if (handler === undefined) {
    throw new RuntimeFailure('Runtime.HandlerNotFound', `${name} is undefined or not exported`);
  }
  if (typeof handler !== 'function') {
    throw new RuntimeFailure('Runtime.HandlerNotFound', `${name} is not a function`);
  }
  return handler;
}

// ---- calls ----

// What happens once nothing is left to be done in the loop.
let whenEmpty = null;
process.on('beforeExit', () => {
  const then = whenEmpty;
  whenEmpty = null;
  if (then !== null) then();
});

function contextOf(headers, deadline, finish) {
  const context = {
    callbackWaitsForEmptyEventLoop: true,
    functionVersion: env.AWS_LAMBDA_FUNCTION_VERSION,
    functionName: env.AWS_LAMBDA_FUNCTION_NAME,
    memoryLimitInMB: env.AWS_LAMBDA_FUNCTION_MEMORY_SIZE,
    logGroupName: env.AWS_LAMBDA_LOG_GROUP_NAME,
    logStreamName: env.AWS_LAMBDA_LOG_STREAM_NAME,
    clientContext: undefined,
    identity: undefined,
    invokedFunctionArn: headers['lambda-runtime-invoked-function-arn'],
    awsRequestId: headers['lambda-runtime-aws-request-id'],
    getRemainingTimeInMillis: () => deadline - Date.now(),
    done: (error, result) => finish.byCallback(error, result, false),
    fail: (error) => finish.byCallback(error === undefined || error === null ? 'handled' : error, null, false),
    succeed: (result) => finish.byCallback(null, result, false),
  };
  return context;
}

function finisher(id, next) {
  let isOver = false;
  const send = (result) => {
    let text;
    try {
      text = JSON.stringify(result === undefined ? null : result);
      if (text === undefined) text = 'null';
    } catch (error) {
      fail(error);
      return;
    }
    ask('POST', `invocation/${id}/response`, '', text, next);
  };
  const fail = (error) => {
    logError('Invoke Error', error);
    ask('POST', `invocation/${id}/error`,
      `Lambda-Runtime-Function-Error-Type: ${failureType(error)}\r\n`,
      JSON.stringify(described(error)), next);
  };
  const once = (then) => {
    if (isOver) return;
    isOver = true;
    whenEmpty = null;
    then();
  };
  // The first word counts, whichever way it comes, as in AWS's runtime: many functions call back a
  // second time, or go on behind it and throw.
  let isSaid = false;
  const first = (then) => (...said) => {
    if (isSaid) return;
    isSaid = true;
    then(...said);
  };
  const self = {
    context: null,
    resolved: first((result) => once(() => send(result))),
    rejected: first((error) => once(() => fail(error))),
    byCallback: first((error, result, mayWait) => {
      const end = () => once(() => (error === undefined || error === null ? send(result) : fail(error)));
      if (mayWait && (error === undefined || error === null)
          && self.context.callbackWaitsForEmptyEventLoop) {
        whenEmpty = end;
      } else {
        // Not within the handler: what it does after its callback is still its own.
        setImmediate(end);
      }
    }),
  };
  return self;
}

function call(handler, answer, next) {
  const id = answer.headers['lambda-runtime-aws-request-id'];
  const deadline = Number(answer.headers['lambda-runtime-deadline-ms']);
  requestId = id;
  if (answer.headers['lambda-runtime-trace-id']) {
    env._X_AMZN_TRACE_ID = answer.headers['lambda-runtime-trace-id'];
  }
  // What is left to do belongs to the code alone: once that is nothing, `whenEmpty` is called.
  socket.unref();
  const finish = finisher(id, next);
  const context = contextOf(answer.headers, deadline, finish);
  finish.context = context;
  // A handler that never calls back answers null when nothing is left to do.
  whenEmpty = () => finish.resolved(null);
  let event;
  try {
    event = JSON.parse(answer.body.toString('utf8'));
  } catch (error) {
    finish.rejected(error);
    return;
  }
  let result;
  try {
    result = handler(event, context, (error, value) => finish.byCallback(error, value, true));
  } catch (error) {
    finish.rejected(error);
    return;
  }
  if (result !== null && typeof result === 'object' && typeof result.then === 'function') {
    result.then(finish.resolved, finish.rejected);
  }
}

function serve(handler) {
  const next = () => ask('GET', 'invocation/next', '', null, (answer) => {
    if (answer.status !== 200) realExit(0);
    call(handler, answer, next);
  });
  next();
}

// ---- the end of a worker ----

function uncaught(type, label, code) {
  return (error) => {
    const failure = type === null ? error : new RuntimeFailure(type, String(error), error);
    logError(label, failure);
    const where = requestId === undefined ? 'init/error' : `invocation/${requestId}/error`;
    const kind = type === null ? 'Unhandled' : type;
    waiting = null;
    ask('POST', where, `Lambda-Runtime-Function-Error-Type: ${kind}\r\n`,
      JSON.stringify(described(failure)), () => realExit(code));
  };
}
process.on('uncaughtException', uncaught(null, 'Uncaught Exception', 129));
process.on('unhandledRejection', uncaught('Runtime.UnhandledPromiseRejection', 'Unhandled Promise Rejection', 128));

// Another version may lack what the code uses, or have what AWS's has not.
const wanted = String(env.AWS_EXECUTION_ENV).replace('AWS_Lambda_', '');
if (wanted !== `nodejs${process.versions.node.split('.')[0]}.x`) {
  process.stderr.write(`foreshore: ${wanted} is wanted, and Node.js ${process.versions.node} is what there is\n`);
}
patchConsole();
// `require` in this text would look beside this text.
process.argv[1] = path.join(env.LAMBDA_TASK_ROOT, 'index.js');
find(env.LAMBDA_TASK_ROOT, env._HANDLER).then(serve, failInit);
