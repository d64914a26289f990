-- sorted_keys(map) -> a list of the map's keys, in order. The keys are all strings, or all numbers.
return function(map)
  local keys = {}
  for key in pairs(map) do keys[#keys + 1] = key end
  table.sort(keys)
  return keys
end
