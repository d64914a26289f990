-- The settings of the service: man cchost.lua, or `cchost config`, tells all that there are. A change is taken by
--   systemctl restart cchost     or, dropping nobody, by     cd /etc/cchost && runuser -u cchost -- cchost upgrade

return {
  DATA_DIR = "/var/lib/cchost",
  POLICIES_DIR = "/etc/cchost/policies",

  LISTEN_ADDR = "127.0.0.1:8080",
  -- BASE_URL = "https://machines.example.org",
  -- ENVIRONMENT = "production", -- refuses what is only fit for trying out; needs secrets of yours (man cchost.lua)

  -- Without mail nobody but the operator can sign in: his key is in /var/lib/cchost/api_key. "on" lets whoever is on this host be
  -- anybody, by a link.
  DEV_LOGIN = "off",

  -- Where machines are made: local (on this host), docker, libvirt, hetzner.
  PROVIDER = "local",
  LOCAL_SPAWNER = "/run/cchost-spawner.sock", -- machines on this host have a unit of their own each
}
