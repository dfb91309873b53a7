-- APPEND epoch id number chain next payload most members [change name incarnation kept]: gives a
-- record the next number, if the log still ends where its caller thinks; `next` is the chain with
-- the record.
if ARGV[1] ~= epoch then return {'refused', 'other_epoch'} end
local id, change, name, incarnation = ARGV[2], ARGV[9], ARGV[10], ARGV[11]
local at = redis.call('HGET', IDS, id)
if at then return {'appended', at, chain_at(tonumber(at))} end
if tonumber(ARGV[3]) ~= number or ARGV[4] ~= chain then return {'head', digits(number), chain} end
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
if change == 'join' then
  redis.call('HSET', EDGES, name, ARGV[12] .. ' 0')
  redis.call('HSET', HEAD, 'last_join', n, 'members', redis.call('HLEN', EDGES))
elseif leaves then
  redis.call('HDEL', EDGES, name)
  redis.call('HDEL', SEEN, name)
  redis.call('HSET', HEAD, 'members', redis.call('HLEN', EDGES))
end
return {'appended', n, ARGV[5]}
