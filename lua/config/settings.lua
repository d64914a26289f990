-- Every setting that there is: its name (the environment's; --listen-addr and cchost.lua's LISTEN_ADDR are the same), its kind
-- (config/kinds.lua), its default, and what it means. `unit`: of a plain number. `secret`: its value is shown nowhere.
-- `like`, `wanted`: of a word, its pattern and how that is called.
-- `holds_secret`: a file that has one in it; no fault quotes the value, for it may be what belongs into the file.
-- `later`: declared and checked, and nothing reads it yet.

local day = 86400

return {
  { "ENVIRONMENT", "enum", "development", one_of = { "development", "production" },
    doc = "production refuses what is only fit for trying out" },
  { "LISTEN_ADDR", "address", "127.0.0.1:8080", doc = "host:port, [v6]:port, or unix:/path" },
  { "BASE_URL", "url", nil, doc = "where clients reach this server; the listener's own address when absent" },
  { "FRONTEND_URL", "url", nil, doc = "where the dashboard is when it is not here: the one page that CORS lets in" },
  { "DATA_DIR", "string", "./data", doc = "everything that must survive" },
  { "POLICIES_DIR", "string", "./policies", doc = "the policies that operators edit; the shipped ones for what is not there" },
  { "LOG_LEVEL", "enum", "info", one_of = { "debug", "info", "warn", "error" }, doc = "least level written" },

  -- who may come in
  { "API_KEY", "string", nil, secret = true, least = 16,
    doc = "the operator's key (X-API-Key); made once into DATA_DIR/api_key when absent" },
  { "ADMIN_EMAIL", "email", nil, doc = "who signs in with this address is an admin; admin@localhost in development" },
  { "JWT_SECRET", "string", nil, secret = true, least = 32,
    doc = "signs sessions; made once into DATA_DIR/jwt_secret when absent" },
  { "JWT_SECRET_PREVIOUS", "string", nil, secret = true, least = 32, doc = "one whose sessions are still good" },
  { "MASTER_KEY", "key", nil, secret = true, doc = "seals secrets at rest; made once into DATA_DIR/master_key when absent" },
  { "MASTER_KEY_FILE", "file", nil, holds_secret = true, doc = "a file that holds it instead" },
  { "MASTER_KEY_PREVIOUS", "key", nil, secret = true, doc = "one that still opens what it sealed (cchost rekey)" },
  { "SIGNUP", "enum", "open", one_of = { "open", "closed" }, doc = "whether an unknown address makes an account" },
  { "DEV_LOGIN", "enum", nil, one_of = { "on", "off" },
    doc = "whoever is on this host signs in as anybody; on in development, by TCP, where none else reach us and without mail" },
  { "SESSION_HOURS", "int", 24, min = 1, max = 8760, unit = "hours", doc = "how long a session lasts" },
  { "MAGIC_LINK_MINUTES", "int", 15, min = 1, max = 1440, unit = "minutes", doc = "how long a link to sign in is good" },
  { "RATE_LIMIT_API", "int", 60, min = 0, max = 1000000, unit = "a minute", doc = "requests per caller; 0: no limit" },
  { "RATE_LIMIT_AUTH", "int", 5, min = 0, max = 1000000, unit = "a minute", doc = "attempts to sign in per caller; 0: no limit" },
  { "TRUSTED_PROXIES", "cidrs", "", doc = "addresses and networks whose X-Forwarded-For and -Proto are believed" },

  -- TLS
  { "TLS_CERT", "files", nil, doc = "PEM files with a certificate and its chain each; the first is the default" },
  { "TLS_KEY", "files", nil, holds_secret = true, doc = "PEM files with their keys, in the same order" },

  -- mail
  { "SMTP_HOST", "string", nil, doc = "the mail server" },
  { "SMTP_PORT", "int", 587, min = 1, max = 65535, doc = "its port" },
  { "SMTP_USERNAME", "string", nil, doc = "who we are there" },
  { "SMTP_PASSWORD", "string", nil, secret = true, doc = "and the password" },
  { "SMTP_FROM", "sender", nil, doc = "the sender of our mails, an address or 'Name <address>'; noreply@ BASE_URL's host" },
  { "SMTP_TLS", "enum", "starttls", one_of = { "starttls", "tls", "none" }, doc = "how the way there is protected" },
  { "SMTP_CA", "file", nil, doc = "authorities that its certificate may come from; the system's when absent" },

  -- the server
  { "DRAIN_SECONDS", "int", 30, min = 0, max = 3600, unit = "seconds", doc = "how long running requests may take at the end" },
  { "HTTP_CONNECTIONS", "int", 10000, min = 1, max = 1000000, doc = "bound on open client connections" },
  { "HTTP_HEAD_SECONDS", "int", 10, min = 1, max = 3600, unit = "seconds",
    doc = "a whole request head must arrive in this time" },
  { "HTTP_IDLE_SECONDS", "int", 15, min = 1, max = 3600, unit = "seconds", doc = "a kept connection may be idle for this long" },
  { "HTTP_BODY_RATE", "int", 1024, min = 1, max = 1e9, unit = "bytes a second", doc = "a request body must keep it after 10 s" },

  -- machines
  { "PROVIDER", "enum", "local", one_of = { "docker", "local", "mock" }, doc = "where machines are made when a request does not say" },
  { "PROVIDER_SECONDS", "int", 60, min = 1, max = 3600, unit = "seconds", doc = "deadline of one provider call" },
  { "PROVIDER_THREADS", "int", 32, min = 1, max = 256, doc = "bound on one provider's concurrent calls" },
  { "PROVIDER_REQUESTS_PER_HOUR", "table", nil, numbers = true,
    doc = "what a provider allows, as a table: {hetzner=3600}; sweeps keep to half of it" },
  { "STOP_GRACE_SECONDS", "int", 5, min = 0, max = 300, unit = "seconds",
    doc = "time between TERM and KILL when a local machine stops" },
  { "TERMINAL_COMMAND", "string", nil, doc = "what a terminal runs; zellij, else tmux, else the login shell when absent" },
  { "SSH_PORTS", "ports", "20000-29999", doc = "ports of 127.0.0.1 at which local machines are reached over ssh" },
  { "SWEEP_SECONDS", "int", 30, min = 1, max = day, unit = "seconds", doc = "between two comparisons of records and providers" },
  { "ORPHANS", "enum", "report", one_of = { "report", "delete" },
    doc = "what becomes of machines labelled ours that no record knows" },
  { "ORPHAN_GRACE_SECONDS", "int", 3600, min = 0, max = 30 * day, unit = "seconds",
    doc = "how long one must have been seen before it is deleted" },
  { "STATUS_SECONDS", "table", nil, numbers = true,
    doc = "how long a status may last, as a table: {STARTING=900, STOPPING=600, DELETING=1800}" },
  { "QUOTA_INSTANCES", "int", 10, min = 0, max = 1000000, doc = "machines that a user may have; 0: any number" },
  { "ACTIVITY_CHECK_INTERVAL", "duration", "5m", min = 1, max = day, unit = "seconds",
    doc = "between two looks for idle machines" },
  { "IDLE_THRESHOLD", "duration", "2h", min = 60, max = 365 * day, unit = "seconds",
    doc = "after which an unused machine is stopped, where its plan does not say" },
  { "MOCK", "table", nil, doc = "the mock provider's faults and latencies, as a table" },

  -- what is kept
  { "LOG_DAYS", "int", 365, min = 0, max = 36500, unit = "days",
    doc = "how long the log keeps what billing does not need; 0: for ever" },
  { "TOMBSTONE_DAYS", "int", 30, min = 1, max = 36500, unit = "days", doc = "how long a deleted machine can still be read" },
  { "OPERATION_DAYS", "int", 30, min = 1, max = 36500, unit = "days", doc = "how long a finished operation can still be read" },

  -- others' services
  { "HCLOUD_TOKEN", "string", nil, secret = true, later = true, doc = "Hetzner's API token" },
  { "HCLOUD_ENDPOINT", "url", nil, path = true, later = true, doc = "Hetzner's API, when it is elsewhere" },
  { "DOCKER_HOST", "string", "unix:///var/run/docker.sock", doc = "where dockerd is: unix:///path or tcp://host:port" },
  { "DOCKER_TLS_VERIFY", "string", nil, doc = "anything but 0: dockerd is spoken to by TLS (it is always verified)" },
  { "DOCKER_CERT_PATH", "string", nil, doc = "the folder of ca.pem, cert.pem and key.pem for that; ~/.docker when absent" },
  { "DOCKER_IMAGE", "string", "claude-instance", doc = "what machines on docker are made from when nobody says it" },
  { "DOCKER_SUBNETS", "string", "10.201.0.0/16", doc = "one IPv4 network, of which each owner with machines gets a /26" },
  { "DOCKER_PORTS_ADDRESS", "string", "127.0.0.1", doc = "the address of the host at which machines' ports are published" },
  { "DOCKER_PIDS", "int", 4096, min = 16, max = 4000000, doc = "processes that a machine on docker may have" },
  { "DOCKER_FIREWALL", "enum", "on", one_of = { "on", "off" },
    doc = "whether this host's firewall keeps machines on docker from what listens on the host" },
  { "NETBIRD_API_URL", "url", "https://api.netbird.io", path = true, later = true, doc = "Netbird's API" },
  { "NETBIRD_API_TOKEN", "string", nil, secret = true, later = true, doc = "and the token for it" },
  { "STRIPE_SECRET_KEY", "word", nil, secret = true, like = "^[sr]k_[%w_]+$", wanted = "a key that begins with sk_ or rk_",
    doc = "Stripe's key, secret or restricted; billing is on when it is set" },
  { "STRIPE_WEBHOOK_SECRET", "word", nil, secret = true, like = "^whsec_[%w+/=_-]+$",
    wanted = "a secret that begins with whsec_", doc = "signs what Stripe tells us" },
  { "STRIPE_WEBHOOK_SECRET_PREVIOUS", "word", nil, secret = true, like = "^whsec_[%w+/=_-]+$",
    wanted = "a secret that begins with whsec_", doc = "one that is being rolled, and still signs" },
  { "STRIPE_API_URL", "url", nil, path = true, doc = "Stripe's API, when it is elsewhere" },
  { "STRIPE_API_VERSION", "word", "2026-10-28.endive", like = "^%d%d%d%d%-%d%d%-%d%d[%l.]*$",
    wanted = "a version like 2026-10-28.endive", doc = "the version of its API that we ask for" },
  { "STRIPE_PRICE_STARTER", "word", nil, like = "^%w[%w_.-]*$", wanted = "a price's id, like price_1Nxyz",
    doc = "its price that is the plan starter" },
  { "STRIPE_PRICE_PRO", "word", nil, like = "^%w[%w_.-]*$", wanted = "a price's id, like price_1Nxyz",
    doc = "its price that is the plan pro" },
  { "STRIPE_PRICE_USAGE", "word", nil, like = "^%w[%w_.-]*$", wanted = "a price's id, like price_1Nxyz",
    doc = "its metered price for what goes beyond the included hours; nothing is reported when absent" },
  { "STRIPE_USAGE", "enum", "meter", one_of = { "meter", "records" },
    doc = "how usage is reported: by meter events, or by usage records, which versions since 2025-03-31 have no more" },
  { "STRIPE_METER", "word", "cchost_usage", like = "^[%w_.-]+$", wanted = "a meter's event name",
    doc = "the event name of the meter that STRIPE_PRICE_USAGE is billed by" },
  { "ANTHROPIC_API_KEY", "string", nil, secret = true, later = true, doc = "for machines whose user has given none" },
  { "OTEL_EXPORTER_OTLP_ENDPOINT", "url", nil, path = true, later = true, doc = "where traces and metrics are sent" },
}
