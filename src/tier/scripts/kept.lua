-- KEPT after most: what all members keep alike, from behind a name on, as far as so many octets
-- hold it; the first is told whatever its length.
local names = {}
for _, name in ipairs(redis.call('HKEYS', KEPT)) do
  if name > ARGV[1] then names[#names + 1] = name end
end
table.sort(names)
local answer, octets = {'kept', epoch, digits(last_kept), '1'}, 0
for at, name in ipairs(names) do
  local held, id, said = held_of(redis.call('HGET', KEPT, name))
  octets = octets + #name + #said
  if octets > tonumber(ARGV[2]) and at > 1 then
    answer[4] = '0'
    return answer
  end
  for _, field in ipairs({name, held, id, said}) do answer[#answer + 1] = field end
end
return answer
