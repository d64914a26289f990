-- How many requests are being answered that an update would cut (agent/main.lua counts, agent/update.lua asks).
return { n = 0 }
