-- What an entry of the ledger posts: lists of {account, amount}, made on the balances of an account. Pure.
--
--   postings.add(list, account, micro)            unless it is nothing
--   postings.hours(list, from, to, ms)            from one account of hours to another
--   postings.take(list, balances, micro, rest)    from the credit as far as it goes, what is missing from the account `rest`
--   postings.give(list, balances, micro)          what is owed becomes less, the rest is credit
-- `micro` of take and give is not negative.

local M = {}

local min = math.min

local function add(list, account, micro)
  if micro ~= 0 then list[#list + 1] = { account, micro } end
end
M.add = add

function M.hours(list, from, to, ms)
  add(list, from, -ms)
  add(list, to, ms)
end

function M.take(list, balances, micro, rest)
  local credit = min(micro, balances.credit or 0)
  add(list, "credit", -credit)
  add(list, rest, credit - micro)
end

function M.give(list, balances, micro)
  local owed = min(micro, -(balances.owed or 0))
  add(list, "owed", owed)
  add(list, "credit", micro - owed)
end

return M
