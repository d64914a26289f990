-- The settings of the container's image; a folder of yours at /etc/cchost takes the place of this one (docs/service.md), and an
-- environment variable of a setting's name that of one of these.

return {
  DATA_DIR = "/var/lib/cchost", -- a volume
  POLICIES_DIR = "/var/lib/cchost/policies", -- there, as the rest is read-only; what is not in it is as shipped
  LISTEN_ADDR = "0.0.0.0:8080", -- inside: who gets there is decided by how the port is published
  DEV_LOGIN = "off",
  PROVIDER = "docker",
  DOCKER_FIREWALL = "off", -- rules of the host's firewall need a capability that there is none of in here
}
