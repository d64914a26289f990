-- Routes of your own, beside the built-in ones.
--
-- {method =, path = "/reports/{id}", scope = as `cchost routes` lists them | open = true, admin = true,
--  object = "instance" (then {id} is one of the caller's machines, else 404), body = schema, handle = function(req)}
-- handle(req) -> status, body (a table: JSON; or text) [, headers] | nil, err
--   req = {method, path, id, second (the path's values), query = {name = value}, body, user, admin}
-- It may call instances.get(id), .list(), .create(spec), .start(id), .stop(id), .delete(id), .patch(id, change),
-- .extend(id, hours), all under the caller's rights; policy.generation(), time.now(), log.info(text), log.warn(text).

return {
  kind = "routes", name = "none", version = 1,
  routes = {},
}
