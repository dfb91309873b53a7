-- RENEW epoch name incarnation number chain lease: notes how far a member is, and says where the log
-- ends. It writes whatever it finds: a primary that has lost its replicas refuses writes
-- (min-replicas-to-write), and so gives no lease.
local name, at = ARGV[2], tonumber(ARGV[4])
local is_here = ARGV[1] == epoch
local listed = redis.call('HGET', EDGES, name)
local time = redis.call('TIME')
-- Whoever waits for a member waits for a lease of its own: another length is taken only where no other
-- member is listed.
local lease = redis.call('HGET', HEAD, 'lease')
if ARGV[6] and lease ~= ARGV[6] then
  if lease and redis.call('HLEN', EDGES) > (listed and 1 or 0) then return {'refused', 'other_lease'} end
  redis.call('HSET', HEAD, 'lease', ARGV[6])
end
if listed then
  local kept, incarnation, applied = string.match(listed, '^((%S+) .+) (%d+)$')
  if incarnation ~= ARGV[3] then return {'refused', 'superseded'} end
  if is_here and chain_at(at) == ARGV[5] and at > tonumber(applied) then
    redis.call('HSET', EDGES, name, kept .. ' ' .. digits(at))
  end
  redis.call('HSET', SEEN, name, digits(time[1] * 1000 + math.floor(time[2] / 1000)))
else
  redis.call('HSET', HEAD, 'asked', time[1])
end
local answer = {'renewed', epoch, digits(number), chain, listed and '1' or '0'}
if not is_here then
  -- The last place, each further one twice as far back, and the first that is kept.
  local back, last = 0, nil
  while back <= number do
    local found = chain_at(number - back)
    if not found then break end
    last = number - back
    answer[#answer + 1] = digits(last)
    answer[#answer + 1] = found
    back = back == 0 and 1 or back * 2
  end
  if last ~= floor then
    answer[#answer + 1] = digits(floor)
    answer[#answer + 1] = floor_chain
  end
end
return answer
