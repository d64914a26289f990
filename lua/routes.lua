-- Every route that there is, in one place: serve answers them, `cchost routes` lists them, the matrix of rights tries them.

require "routes.auth"
require "routes.billing"
require "routes.connect"
require "routes.events"
require "routes.health"
require "routes.instances"
require "routes.networks"
require "routes.operations"
require "routes.policies"
require "routes.providers"
require "routes.stripe"
require "routes.users"
