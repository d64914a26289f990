-- /operations/{id}: how far a piece of work is.

local app = require "app"
local errors = require "errors"
local store = require "store"

app.get("/operations/{id}", {}, function(req)
  local text, owner
  if #req.id == 36 then text, owner = store.raw("operation", req.id) end
  if not text or not (req.actor.admin or owner == req.actor.user) then
    return errors.fail("not_found", "no such operation")
  end
  return 200, text
end)
