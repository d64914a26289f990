-- cchost users: the accounts, and what an operator does to them.

local closing = require "accounts.closing"
local command = require "command"
local instances = require "instances"
local json = require "json"
local store = require "store"
local users = require "accounts.users"

local M = {}

M.help = [[
usage: cchost users [--json]
       cchost users show|suspend|resume|export USER
       cchost users add EMAIL
       cchost users admin|user USER
       cchost users delete USER [--machines]

Lists the accounts, or does something to one; USER is a uuid, a number or an email address. A running server follows
within a second: whoever is suspended or deleted is signed out, and his terminals close.

  add        makes an account; its owner signs in by a link like everybody
  admin      makes the account an admin's; `user` takes that back
  suspend    signs him out and lets him do nothing; his machines go on
  export     all that is his, as JSON, secrets left out
  delete     prints that export, then deletes the account; with --machines his machines, too
  --json     one JSON object a line
]]

local operator = instances.operator

local function say(user)
  command.tell(user, "%6d  %s  %-9s  %-5s  %s", user.number, user.id, user.status, user.role, user.email)
end

local actions = {
  show = function(key) command.out("%s", json.encode(command.must(users.find(key)))) end,
  suspend = function(key) say(command.must(users.suspend(operator, key))) end,
  resume = function(key) say(command.must(users.resume(operator, key))) end,
  admin = function(key) say(command.must(users.patch(operator, key, { role = "admin" }))) end,
  user = function(key) say(command.must(users.patch(operator, key, { role = "user" }))) end,
  export = function(key) command.out("%s", command.must(closing.export(command.must(users.find(key))))) end,
  add = function(email)
    local address = command.must(users.address(email))
    say(command.must(store.update(function(tx) return users.create(tx, { email = address }, "operator") end)))
  end,
  delete = function(key, options)
    local done = command.must(closing.delete(operator, key, options.machines))
    command.out("%s", done.export)
  end,
}

local function list()
  local after
  repeat
    local page = command.must(users.list(after, 500))
    for _, u in ipairs(page.users) do say(u) end
    after = page.after
  until not after
end

function M.run(argv)
  local options, words, settings = command.read(argv, {
    usage = "cchost users [ACTION USER] [--json] [--machines]", options = { machines = "flag" }, words = { 0, 2 },
  })
  local action = words[1] and actions[words[1]]
  if words[1] and not (action and words[2]) then
    command.usage("users: an action (show, suspend, resume, export, add, admin, user, delete) and a user expected")
  end
  command.open(settings)
  if not action then return list() end
  action(words[2], options)
end

return M
