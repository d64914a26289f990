-- Private networks of users on the double that keeps files: what is refused and why, addresses, rules in force, what is in use,
-- the sweep, and a switch that does not answer.
local t = require "t"
local cidr = require "networks.cidr"
local fs = require "fs"
local groups = require "networks.groups"
local instances = require "instances"
local json = require "json"
local networks = require "networks"
local runner = require "runner"
local schema = require "schema"
local store = require "store"
local subnets = require "networks.subnets"
local sweep = require "networks.sweep"
local sys = require "sys"
local task = require "task"
local vpcs = require "networks.vpcs"

local dir = t.tmpdir()
local settings = {
  DATA_DIR = dir, STOP_GRACE_SECONDS = 1, PROVIDER_THREADS = 4, PROVIDER_SECONDS = 10, MOCK = { vpc = true }, PROVIDER = "mock",
  POLICIES_DIR = "tests/lib/policies", QUOTA_INSTANCES = 0, ORPHANS = "report", SWEEP_SECONDS = 30, ORPHAN_GRACE_SECONDS = 0,
  NETWORK_BACKEND = "mock", DEFAULT_VPC_CIDR = "10.0.0.0/16", QUOTA_VPCS = 3,
}
assert(require("setup").open(settings, { serve = true }))
local files = dir .. "/network"

local ann, bob, root = { user = "ann" }, { user = "bob" }, instances.operator

local function fault(value, err) return value == nil and ("%s %s %s"):format(err.code, err.field or "-", err.message) or value end

-- ---- what is made, as a user has it

local function vpc_of(actor, spec)
  local rec, op = assert(vpcs.create(actor, spec))
  t.eq(assert(runner.wait(op, 10)).state, "done")
  return vpcs.objects:get(actor, rec.id)
end

local function settled(rec, op)
  t.eq(assert(runner.wait(assert(op), 10)).state, "done")
  return rec
end

local function subnet_of(actor, vpc, name, block)
  return settled(assert(subnets.create(actor,
    { vpc_id = vpc.id, name = name, cidr_block = block })), store.get("vpc", vpc.id).operation)
end

local function machine_of(actor, spec)
  local rec, op = assert(instances.create(actor, spec))
  t.eq(assert(instances.operation(actor, op, 10)).state, "done")
  return assert(instances.get(actor, rec.id))
end

local function flows(vpc) return assert(fs.read(("%s/%s/flows"):format(files, vpc.id))) end
local function has(vpc, part) return flows(vpc):find(part, 1, true) ~= nil end

-- Until nothing is under way for it.
local function quiet(vpc)
  t.wait_until(function()
    local rec = store.get("vpc", vpc.id)
    return not rec or not runner.busy("vpc", vpc.id)
  end, "the VPC is quiet")
end

local function remove_all(actor)
  for _, text in ipairs(instances.list(actor, nil, 1000).texts) do assert(instances.move(actor, json.decode(text).id,
    "delete")) end
  for _, text in ipairs(assert(groups.objects:list(actor, nil, 1000)).texts) do
    local group = json.decode(text)
    for _, rule in ipairs(group.rules) do assert(groups.remove_rule(actor, group.id, rule.id)) end
  end
  for _, text in ipairs(assert(groups.objects:list(actor, nil, 1000)).texts) do
    assert(groups.delete(actor, json.decode(text).id))
  end
  for _, text in ipairs(assert(subnets.objects:list(actor, nil, 1000)).texts) do
    assert(subnets.delete(actor, json.decode(text).id))
  end
  for _, text in ipairs(assert(vpcs.objects:list(actor, nil, 1000)).texts) do
    t.eq(vpcs.delete(actor, json.decode(text).id), true)
  end
end

local function nothing_left()
  remove_all(root)
  for _, kind in ipairs { "vpc", "subnet", "security_group", "security_group_use", "address", "address_pool", "vpc_held" } do
    t.eq(#assert(store.list(kind, { limit = 10 })), 0, kind)
  end
  for _, index in ipairs {
    "vpc_name", "vpc_owner", "vpc_all", "subnet_name", "subnet_owner", "subnet_all", "security_group_name",
      "security_group_owner",
    "security_group_all", "instance_vpc", "instance_subnet", "instance_group",
  } do t.eq(#assert(store.scan(index, { limit = 10 })), 0, index) end
  t.eq(#fs.list(files), 0)
  t.ok(store.verify())
end

-- ---- the tests

t.test("networks as text: what is none, and the right one where it can be told", function()
  t.eq(cidr.vpc_fault("10.0.0.0/16"), nil)
  t.eq(cidr.vpc_fault("10.0.0.0"), "a network like 10.0.0.0/16 expected")
  t.eq(cidr.vpc_fault("10.0.1.0/16"), "nothing set behind the prefix expected: 10.0.0.0/16")
  t.eq(cidr.vpc_fault("10.0.0.0/7"), "a network of /8 to /28 expected, not /7")
  t.match(cidr.vpc_fault("8.8.0.0/16"), "^a private network expected: in 10%.0%.0%.0/8")
  t.match(cidr.vpc_fault("172.0.0.0/8"), "^a private network expected")
  t.eq(cidr.subnet_fault("10.0.0.0/30"), "a network of /16 to /29 expected, not /30")
  t.eq(cidr.any_fault("0.0.0.0/0"), nil)
  t.eq(cidr.any_fault("10.256.0.0/16"), "a network like 10.0.0.0/16 expected")
  t.eq(cidr.within("10.0.1.0/24", "10.0.0.0/16"), true)
  t.eq(cidr.within("10.0.0.0/8", "10.0.0.0/16"), false)
  t.eq(cidr.gateway("10.0.1.0/24"), "10.0.1.1")
  local pool = cidr.pool("x", "10.0.1.0/29")
  t.eq(("%d %d"):format(pool.first, pool.last), "2 6")
end)

t.test("without a switch there are no networks, and everything says so", function()
  networks.setup {}
  for _, answer in ipairs {
    fault(vpcs.create(ann, { name = "a" })), fault(subnets.create(ann,
      { vpc_id = "a", name = "a", cidr_block = "10.0.0.0/24" })),
    fault(groups.create(ann, { vpc_id = "a", name = "a" })), fault(instances.create(ann, { subnet_id = "a" })),
  } do t.match(answer, "^unsupported %- this server has no private networks of users: NETWORK_BACKEND is not set$") end
  assert(require("setup").use(settings))
end)

t.test("a VPC: made, found by its id and its name by its owner alone, told by pages, deleted", function()
  local one = vpc_of(ann, { name = "one" })
  t.eq(one.status, "AVAILABLE"); t.eq(one.cidr_block, "10.0.0.0/16"); t.eq(one.bridge, "mock-" .. one.id:sub(1, 8))
  t.eq(vpcs.objects:find(ann, "one"), one.id)
  t.eq(fault(vpcs.objects:find(bob, one.id)), "not_found - no such VPC")
  t.eq(fault(vpcs.objects:find(bob, "one")), "not_found - no such VPC")
  t.eq(vpcs.objects:find(root, one.id), one.id)
  t.eq(fault(vpcs.create(ann, { name = "one" })), "exists name name: there is a VPC called 'one' already")
  vpc_of(bob, { name = "one", cidr_block = "10.0.0.0/16" })
  vpc_of(ann, { name = "two" }); vpc_of(ann, { name = "three" })
  t.eq(fault(vpcs.create(ann, { name = "four" })), "quota - 3 VPCs are all that you may have; delete one first")
  local first = vpcs.objects:list(ann, nil, 2)
  local rest = vpcs.objects:list(ann, first.after, 2)
  t.eq(("%d %d %s"):format(#first.texts, #rest.texts, tostring(rest.after)), "2 1 nil")
  t.eq(#vpcs.objects:list(bob, nil, 10).texts, 1)
  t.eq(#vpcs.objects:list(root, nil, 10).texts, 4)
  t.eq(fault(vpcs.delete({ user = "ann", expects = 1 }, one.id)):match("^%S+"), "precondition")
  t.eq(vpcs.delete(ann, one.id), true)
  t.eq(fault(vpcs.delete(ann, one.id)), "not_found - no such VPC")
  vpc_of(ann, { name = "one" })
  local kinds = {}
  for _, e in ipairs(store.history("vpc", one.id, {})) do table.insert(kinds, 1, e.type) end
  t.eq(table.concat(kinds, " "), "created vpc_create_running available delete_asked deleted")
  nothing_left()
end)

t.test("subnets: inside of the VPC, beside each other, and no two of those that are asked for at once overlap", function()
  local vpc = vpc_of(ann, { name = "net", cidr_block = "10.1.0.0/16" })
  local function try(block, actor) return fault(subnets.create(actor or ann, { vpc_id = vpc.id, name = "s" .. block:gsub("/",
    "-"), cidr_block = block })) end
  t.eq(try("10.2.0.0/24"), "invalid cidr_block cidr_block: a part of the VPC's network 10.1.0.0/16 expected")
  t.eq(try("10.1.0.0/24", bob), "invalid vpc_id vpc_id: no such VPC")
  local a = subnet_of(ann, vpc, "a", "10.1.0.0/24")
  t.eq(a.gateway, "10.1.0.1"); t.eq(a.owner, "ann")
  t.eq(try("10.1.0.128/25"), "conflict cidr_block cidr_block: it overlaps with the subnet 'a' (10.1.0.0/24)")
  t.eq(fault(subnets.create(ann, { vpc_id = "net", name = "a", cidr_block = "10.1.9.0/24" })),
    "exists name name: there is a subnet called 'a' already")
  local made, refused, tasks = 0, 0, {}
  for i = 1, 8 do
    tasks[i] = task.spawn(function()
      local rec, err = subnets.create(ann, { vpc_id = vpc.id, name = "b" .. i, cidr_block = "10.1.1.0/24" })
      if rec then made = made + 1 elseif err.code == "conflict" then refused = refused + 1 end
      return true
    end)
  end
  for _, h in ipairs(tasks) do h:join() end
  t.eq(("%d %d"):format(made, refused), "1 7")
  t.match(fault(vpcs.delete(ann, vpc.id)), "^conflict %- the VPC 'net' has the subnets a, b%d; delete them first$")
  t.eq(#subnets.of(ann, "net"), 2)
  t.eq(fault(subnets.of(bob, vpc.id)), "invalid vpc_id vpc_id: no such VPC")
  quiet(vpc)
  nothing_left()
end)

t.test("a machine's address is taken in the commit that makes it, is its own, and free again when it is gone", function()
  local vpc = vpc_of(ann, { name = "net" })
  local subnet = subnet_of(ann, vpc, "s", "10.0.0.0/29")
  local all, tasks = {}, {}
  for i = 1, 7 do
    tasks[i] = task.spawn(function()
      local rec, err = instances.create(ann, { name = "m" .. i, subnet_id = subnet.id })
      all[i] = rec and rec.address or fault(nil, err)
      return true
    end)
  end
  for _, h in ipairs(tasks) do h:join() end
  table.sort(all)
  local full = "conflict subnet_id subnet_id: all addresses of the subnet 's' (10.0.0.0/29) are taken"
  t.eq(table.concat(all, "|"), "10.0.0.2/29|10.0.0.3/29|10.0.0.4/29|10.0.0.5/29|10.0.0.6/29|" .. full .. "|" .. full)
  local one
  for _, text in ipairs(instances.list(ann, nil, 100).texts) do
    local rec = json.decode(text)
    t.wait_until(function() return store.get("instance", rec.id).status == "RUNNING" end, "it runs")
    if rec.address == "10.0.0.4/29" then one = rec end
  end
  t.eq(one.network, "vpc"); t.eq(one.vpc_id, vpc.id); t.eq(one.subnet_id, subnet.id)
  t.ok(has(vpc, "dl_src=52:54:0a:00:00:04,ip,nw_src=10.0.0.4"), "it may send as itself")
  t.match(fault(subnets.delete(ann, subnet.id)),
    "^conflict %- the machines [m%d, and more]+ have addresses in the subnet 's'; delete them first$")
  assert(instances.move(ann, one.id, "delete"))
  quiet(vpc)
  t.ok(not has(vpc, "10.0.0.4"), "nothing is in force for it any more")
  local again = machine_of(ann, { subnet_id = subnet.id:upper(), vpc_id = vpc.id:upper() })
  t.eq(again.address, "10.0.0.4/29"); t.eq(again.subnet_id, subnet.id)
  nothing_left()
end)

t.test("what a machine may not ask for", function()
  local vpc, other = vpc_of(ann, { name = "net" }), vpc_of(ann, { name = "other" })
  local subnet = subnet_of(ann, vpc, "s", "10.0.0.0/24")
  local theirs = assert(groups.create(ann, { vpc_id = other.id, name = "g" }))
  local mine = assert(groups.create(ann, { vpc_id = vpc.id, name = "g" }))
  local function try(spec, actor) return fault(instances.create(actor or ann, spec)) end
  t.eq(try({ subnet_id = subnet.id }, bob), "invalid subnet_id subnet_id: no such subnet")
  t.eq(try({ subnet_id = subnet.id }, root), "invalid subnet_id subnet_id: no such subnet")
  t.eq(try { vpc_id = vpc.id }, "invalid subnet_id subnet_id: a subnet of that VPC expected beside vpc_id")
  t.eq(try { subnet_id = subnet.id, vpc_id = other.id }, "invalid vpc_id vpc_id: the subnet is of another VPC: " .. vpc.id)
  t.eq(try { security_groups = { mine.id } },
    "invalid security_groups security_groups: they are of a network: a subnet_id expected beside them")
  t.eq(try { subnet_id = subnet.id, security_groups = { mine.id, theirs.id } },
    "invalid security_groups[1] security_groups[1]: it is of another VPC than the machine's")
  t.eq(try { subnet_id = subnet.id, security_groups = { mine.id, mine.id } },
    "invalid security_groups[1] security_groups[1]: it is there for the second time")
  t.eq(try { subnet_id = subnet.id, network = "nat" },
    "invalid network network: none expected beside subnet_id: the machine is in its owner's network and in no other")
  t.eq(try { subnet_id = subnet.id, provider = "local" },
    "conflict subnet_id subnet_id: the provider 'local' has no private networks of users")
  t.eq(fault(instances.patch(ann, machine_of(ann, {}).id, { security_groups = { mine.id } })),
    "conflict security_groups security_groups: the machine is in no network of its owner's")
  t.eq(#assert(store.list("address", { limit = 10 })), 0, "what was refused took no address")
  quiet(vpc); quiet(other)
  nothing_left()
end)

t.test("rules: what makes no sense is refused by its field, what does is in force for machines that run", function()
  local vpc = vpc_of(ann, { name = "net" })
  local subnet = subnet_of(ann, vpc, "s", "10.0.0.0/24")
  local group = assert(groups.create(ann,
    { vpc_id = "net", name = "web", rules = { { direction = "egress", cidr = "10.0.0.0/24" } } }))
  local m = machine_of(ann, { subnet_id = subnet.id, security_groups = { group.id } })
  local function try(rule) return fault(groups.add_rule(ann, group.id, rule)) end
  t.eq(try { direction = "in" }, "invalid direction direction: one of ingress, egress expected, not 'in'")
  t.eq(try { direction = "ingress", protocol = "icmp", port_min = 1 },
    "invalid port_min port_min: only with the protocol tcp or udp")
  t.eq(try { direction = "ingress", protocol = "tcp", port_max = 1 }, "invalid port_min port_min: expected beside port_max")
  t.eq(try { direction = "ingress", protocol = "tcp", port_min = 9, port_max = 8 },
    "invalid port_max port_max: port_min (9) or more expected, not 8")
  t.eq(try { direction = "ingress", protocol = "tcp", port_min = 65536 },
    "invalid port_min port_min: a number from 1 to 65535 expected")
  t.eq(try { direction = "ingress", cidr = "10.0.0.1/24" },
    "invalid cidr cidr: nothing set behind the prefix expected: 10.0.0.0/24")
  t.eq(try { direction = "ingress", cidr = "10.0.0.0/24", group_id = group.id },
    "invalid group_id group_id: not beside cidr: a rule is for one of them")
  t.eq(try { direction = "ingress", group_id = subnet.id }, "invalid group_id group_id: no such security group in this VPC")
  t.match(fault(groups.create(ann, { vpc_id = "net", name = "x", rules = { { direction = "ingress", port_min = 1 } } })),
    "^invalid rules%[0%]%.port_min ")
  t.eq(fault(schema.check(groups.fields, { vpc_id = "", name = "x" })), "invalid vpc_id vpc_id: at least 1 character expected")
  t.match(fault(schema.check(groups.fields, { vpc_id = "net", name = "x", rules = { {} } })), "^invalid rules%[0%]%.direction ")
  t.ok(not has(vpc, "tp_dst=0x50"))
  local rule, op = assert(groups.add_rule(ann, group.id, { direction = "ingress", protocol = "tcp", port_min = 80 }))
  settled(rule, op)
  t.ok(has(vpc, "tp_dst=0x50/0xffff"), "it is in force")
  t.match(try { direction = "ingress", protocol = "tcp", port_min = 80, port_max = 80 },
    "^exists %- the group has this rule already: " .. rule.id)
  local own = assert(groups.add_rule(ann, group.id, { direction = "ingress", group_id = group.id:upper() }))
  t.eq(own.group_id, group.id); t.eq(own.priority, 100); t.eq(own.action, "allow"); t.eq(own.protocol, "all")
  settled(true, assert(groups.remove_rule(ann, group.id, rule.id)))
  t.ok(not has(vpc, "tp_dst=0x50"), "it is not any more")
  t.eq(fault(groups.remove_rule(ann, group.id, rule.id)), "not_found - no such rule in the security group")
  t.eq(fault(groups.delete(ann, group.id)), ("conflict - 1 machine has the security group 'web': %s"):format(m.name))
  local second = assert(groups.create(ann,
    { vpc_id = "net", name = "db", rules = { { direction = "ingress", group_id = group.id } } }))
  assert(instances.patch(ann, m.id, { security_groups = { second.id:upper() } }))
  t.eq(store.get("instance", m.id).security_groups[1], second.id)
  quiet(vpc)
  t.eq(fault(groups.delete(ann, group.id)), "conflict - rules of db name the security group 'web'")
  assert(instances.patch(ann, m.id, { security_groups = json.array {} }))
  settled(true, assert(groups.delete(ann, second.id)))
  settled(true, assert(groups.delete(ann, group.id)))
  nothing_left()
end)

t.test("the sweep puts right what others did to the switch, and takes away what no record knows", function()
  local vpc = vpc_of(ann, { name = "net" })
  local subnet = subnet_of(ann, vpc, "s", "10.0.0.0/24")
  local m = machine_of(ann, { subnet_id = subnet.id })
  local function swept(repaired, orphans)
    local done = assert(sweep.run())
    t.eq(("%d %d"):format(done.repaired, done.orphans), ("%d %d"):format(repaired, orphans))
    quiet(vpc)
  end
  swept(0, 0)
  local right = flows(vpc)
  assert(fs.write(("%s/%s/flows"):format(files, vpc.id), "everything passes\n"))
  swept(1, 0)
  t.eq(flows(vpc), right)
  sys.run { "rm", "-r", files .. "/" .. vpc.id }
  swept(1, 0)
  t.eq(flows(vpc), right)
  local nobody = ("%s/%s/port.%s"):format(files, vpc.id, "01234567-89ab-4cde-8f01-23456789abcd")
  assert(fs.write(nobody, ""))
  assert(fs.write(("%s/%s/port.%s"):format(files, vpc.id, m.id), ""))
  swept(1, 0)
  t.eq(fs.stat(nobody), nil)
  t.ok(fs.stat(("%s/%s/port.%s"):format(files, vpc.id, m.id)), "of a machine that runs it stays")
  assert(instances.move(ann, m.id, "stop"))
  quiet(vpc)
  t.eq(fs.stat(("%s/%s/port.%s"):format(files, vpc.id, m.id)), nil)
  assert(fs.mkdir(files .. "/01234567-89ab-4cde-8f01-23456789abcd"))
  swept(0, 1)
  nothing_left()
end)

t.test("a switch that does not answer: what was asked for waits, comes when it is back, and gives way to a deletion", function()
  local away = dir .. "/away"
  assert(fs.rename(files, away))
  assert(fs.write(files, ""))
  local one, op = assert(vpcs.create(ann, { name = "one" }))
  t.wait_until(function() return (store.get("operation", op).attempts or 0) > 1 end, "a try has failed")
  t.eq(store.get("vpc", one.id).status, "CREATING")
  t.match(store.get("operation", op).last_error.message, "^network mock: ")
  local subnet, sop = assert(subnets.create(ann, { vpc_id = one.id, name = "s", cidr_block = "10.0.0.0/24" }))
  t.match(fault(instances.create(ann, { subnet_id = subnet.id })), "^state %- the VPC 'one' is CREATING$")
  t.ok(not sweep.run())
  assert(fs.remove(files))
  assert(fs.rename(away, files))
  t.eq(assert(runner.wait(sop, 20)).state, "done")
  t.eq(store.get("vpc", one.id).status, "AVAILABLE")
  t.ok(fs.stat(("%s/%s/flows"):format(files, one.id)))
  assert(fs.rename(files, away))
  assert(fs.write(files, ""))
  local two, top = assert(vpcs.create(ann, { name = "two" }))
  t.wait_until(function() return (store.get("operation", top).attempts or 0) > 1 end, "a try has failed")
  local rec, dop = assert(vpcs.delete(ann, two.id, 0))
  t.eq(rec.desired, "DELETED")
  t.match(fault(subnets.create(ann, { vpc_id = two.id, name = "s", cidr_block = "10.0.0.0/24" })),
    "^state %- the VPC 'two' is being deleted$")
  t.eq(select(2, assert(vpcs.delete(ann, two.id, 0))), dop, "a repeat is the same")
  assert(fs.remove(files))
  assert(fs.rename(away, files))
  t.eq(assert(runner.wait(dop, 20)).state, "done")
  t.eq(store.get("vpc", two.id), nil)
  nothing_left()
end)


return t.done()
