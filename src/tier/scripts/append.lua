-- APPEND epoch id number chain next payload most members [change name incarnation kept]: gives a
-- record the next number, if the log still ends where its caller thinks; `next` is the chain with
-- the record. Of what all members keep alike it is [`kept` after most octets, then for each thing
-- its name, 1 if it is there, and what it says].
if ARGV[1] ~= epoch then return {'refused', 'other_epoch'} end
local id, change, name, incarnation = ARGV[2], ARGV[9], ARGV[10], ARGV[11]
local at = redis.call('HGET', IDS, id)
if at then return {'appended', at, chain_at(tonumber(at))} end
if tonumber(ARGV[3]) ~= number or ARGV[4] ~= chain then return {'head', digits(number), chain} end

-- What all keep alike: refused if something changed since its writer decided.
local kept_octets = tonumber(known[11] or 0)
if change == 'kept' then
  if ARGV[10] ~= digits(last_kept) then return {'refused', 'overtaken'} end
  local octets, is_more = 0, false
  for at = 13, #ARGV, 3 do
    octets = octets + #ARGV[at] + #ARGV[at + 2]
    is_more = is_more or ARGV[at + 1] == '1'
  end
  local things = redis.call('HLEN', KEPT) + (#ARGV - 12) / 3
  local is_full = things > tonumber(ARGV[11]) or kept_octets + octets > tonumber(ARGV[12])
  if is_more and is_full then return {'refused', 'full'} end
  name = nil
end

local listed = name and redis.call('HGET', EDGES, name)
local leaves = change == 'leave' and listed and string.match(listed, '^(%S+)') == incarnation
if number - floor >= tonumber(ARGV[7]) and not leaves then return {'refused', 'full'} end
if change == 'join' and not listed and redis.call('HLEN', EDGES) >= tonumber(ARGV[8]) then
  return {'refused', 'full'}
end
local n = digits(number + 1)
redis.call('XADD', LOG, n .. '-0', 'id', id, 'epoch', epoch, 'payload', ARGV[6], 'chain', ARGV[5])
redis.call('HSET', IDS, id, n)
redis.call('HSET', HEAD, 'number', n, 'chain', ARGV[5])

local function let_go(thing)
  local old = redis.call('HGET', KEPT, thing)
  if not old then return end
  local _, _, said = held_of(old)
  kept_octets = kept_octets - #thing - #said
  redis.call('HDEL', KEPT, thing)
end

if change == 'kept' then
  for at = 13, #ARGV, 3 do
    local thing, said = ARGV[at], ARGV[at + 2]
    let_go(thing)
    if ARGV[at + 1] == '1' then
      redis.call('HSET', KEPT, thing, n .. ' ' .. id .. ' ' .. said)
      kept_octets = kept_octets + #thing + #said
    elseif string.find(thing, '^[^/]*/[^/]*$') then
      -- It is whole: with it goes all that is named below it.
      local below = thing .. '/'
      for _, other in ipairs(redis.call('HKEYS', KEPT)) do
        if string.sub(other, 1, #below) == below then let_go(other) end
      end
    end
  end
  redis.call('HSET', HEAD, 'last_kept', n, 'kept', redis.call('HLEN', KEPT),
    'kept_octets', digits(kept_octets))
end
if change == 'join' then
  redis.call('HSET', EDGES, name, ARGV[12] .. ' 0')
  redis.call('HSET', HEAD, 'last_join', n, 'members', redis.call('HLEN', EDGES))
elseif leaves then
  redis.call('HDEL', EDGES, name)
  redis.call('HDEL', SEEN, name)
  redis.call('HSET', HEAD, 'members', redis.call('HLEN', EDGES))
end
return {'appended', n, ARGV[5]}
