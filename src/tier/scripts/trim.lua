-- TRIM epoch upto most: lets go of records that every member has applied, so many at once.
if ARGV[1] ~= epoch then return {'refused', 'other_epoch'} end
local upto = math.min(tonumber(ARGV[2]), number, floor + tonumber(ARGV[3]))
for _, listed in ipairs(redis.call('HVALS', EDGES)) do
  upto = math.min(upto, tonumber(string.match(listed, ' (%d+)$')))
end
if upto > floor then
  local rows = redis.call('XRANGE', LOG, '-', digits(upto) .. '-0')
  for _, found in ipairs(rows) do redis.call('HDEL', IDS, found[2][2]) end
  floor_chain = chain_at(upto)
  floor = upto
  redis.call('XTRIM', LOG, 'MINID', digits(floor + 1) .. '-0')
  redis.call('HSET', HEAD, 'floor', digits(floor), 'floor_chain', floor_chain)
end
return {'trimmed', digits(floor), floor_chain}
