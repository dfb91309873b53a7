-- READ number chain most octets: the records after a place, and then nothing beyond so many octets;
-- the first is told whatever its length.
local from = tonumber(ARGV[1])
if from < floor then return {'refused', 'trimmed'} end
if chain_at(from) ~= ARGV[2] then return {'refused', 'unknown_place'} end
local answer, octets, left = {'records'}, 0, tonumber(ARGV[3])
while left > 0 do
  local some = redis.call('XRANGE', LOG, digits(from + 1) .. '-0', '+', 'COUNT', math.min(left, 20))
  for _, found in ipairs(some) do
    local fields = found[2]
    octets = octets + #fields[6] + 200
    if octets > tonumber(ARGV[4]) and #answer > 1 then return answer end
    for field = 2, 8, 2 do answer[#answer + 1] = fields[field] end
    from = from + 1
  end
  if #some < math.min(left, 20) then return answer end
  left = left - #some
end
return answer
