-- What every script of a fleet's log begins with: where the log stands, and whether it is whole.
-- KEYS: head, log, ids, edges, seen, kept, all under one hash tag. Nothing here reads the time of day to
-- decide anything.
local HEAD, LOG, IDS, EDGES, SEEN, KEPT = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5], KEYS[6]

-- Which life of which primary this is: a restart has another run_id, a promotion another
-- master_replid. What comes after either may lack what came before.
local function told(section, name)
  local text = redis.pcall('INFO', section)
  return type(text) == 'string' and string.match(text, name .. ':(%w+)') or 'untold'
end
local run = told('server', 'run_id') .. '/' .. told('replication', 'master_replid')

local known = redis.call('HMGET', HEAD,
  'epoch', 'number', 'chain', 'run', 'floor', 'floor_chain', 'last_join', 'members',
  'kept', 'last_kept', 'kept_octets')
local epoch, chain, floor_chain = known[1], known[3], known[6]
local number, floor = tonumber(known[2] or 0), tonumber(known[5] or 0)
local last_join = tonumber(known[7] or 0)
local last_kept = tonumber(known[10] or 0)

-- An engine that evicts takes keys one by one: a log of which a part is gone is none.
local is_whole = epoch and redis.call('XLEN', LOG) == number - floor
  and redis.call('HLEN', IDS) == number - floor
  and redis.call('HLEN', EDGES) == tonumber(known[8] or -1)
  and redis.call('HLEN', KEPT) == tonumber(known[9] or 0)

local function digits(n) return string.format('%.0f', n) end

-- What is kept under a name: the number and the id of its record, and what it says.
local function held_of(text)
  local first = string.find(text, ' ', 1, true)
  local second = string.find(text, ' ', first + 1, true)
  return string.sub(text, 1, first - 1), string.sub(text, first + 1, second - 1),
    string.sub(text, second + 1)
end

local function row(n)
  local id = digits(n) .. '-0'
  return redis.call('XRANGE', LOG, id, id)[1]
end

-- Fields of a row: id, epoch, payload, chain, each behind its name.
local function chain_at(n)
  if n == floor then return floor_chain end
  if n == number then return chain end
  if n < floor or n > number then return nil end
  local found = row(n)
  return found and found[2][8]
end

if not is_begin and (not is_whole or known[4] ~= run) then return {'begin', epoch or ''} end
