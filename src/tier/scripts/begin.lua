-- NEW_EPOCH old new start: begins an epoch in the place of one that is named, so that of several
-- callers one does it. What the log still has stays, if it is whole; no position is proven in it.
if (epoch or '') ~= ARGV[1] then return {'refused', 'other_epoch'} end
if is_whole then
  local edges = redis.call('HGETALL', EDGES)
  for at = 1, #edges, 2 do
    redis.call('HSET', EDGES, edges[at], (string.gsub(edges[at + 1], ' %d+$', ' 0')))
  end
  redis.call('HSET', HEAD, 'epoch', ARGV[2], 'run', run)
else
  redis.call('DEL', HEAD, LOG, IDS, EDGES, SEEN, KEPT)
  redis.call('HSET', HEAD, 'epoch', ARGV[2], 'run', run, 'number', 0, 'chain', ARGV[3],
    'floor', 0, 'floor_chain', ARGV[3], 'last_join', 0, 'members', 0)
end
return {'begun', ARGV[2]}
