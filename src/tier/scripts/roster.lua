-- ROSTER id: who is a member and how far each is, the number of a record, and the last one.
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local answer = {'roster', epoch, redis.call('HGET', IDS, ARGV[1]) or '', digits(last_join),
  digits(number)}
local edges = redis.call('HGETALL', EDGES)
for at = 1, #edges, 2 do
  local seen = redis.call('HGET', SEEN, edges[at])
  answer[#answer + 1] = edges[at]
  answer[#answer + 1] = edges[at + 1]
  answer[#answer + 1] = seen and digits(math.max(0, now - tonumber(seen))) or ''
end
return answer
