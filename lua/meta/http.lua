---@meta http
-- luacheck: ignore 212 241
-- What `require "http"` gives (host/script/bind_http*.c, bind_ws*.c, bind_proxy.c, bind_pass.c). [yields] marks what waits.

---@class http
local http = {}

---@class http.limits
---@field head? integer            bytes of a request's head (16384; at most 65535)
---@field headers? integer         header lines (100; at most 100)
---@field body? integer            bytes of a body where the route does not say (1 MiB)
---@field connections? integer     16384; one more is told 503
---@field head_seconds? number     for the whole head (10)
---@field idle_seconds? number     between requests (15)
---@field body_rate? integer       bytes a second that a body, or the reader of a reply, must keep (1024)
---@field rate_seconds? number     the window in which that is asked (10)
---@field linger_seconds? number   for a peer to read our last words (2)

---@class http.serve_options
---@field handler fun(req: http.request)   runs in a task of its own
---@field host? string             an address, "localhost", or "" for all of v6 and v4 (default 127.0.0.1)
---@field port? integer            0: any
---@field unix? string             path of a socket; with port or instead of it
---@field mode? integer            of the socket (0600)
---@field headers? table<string, string>   put into every reply that does not set them; at most 16
---@field trusted? string[]        address ranges, or "unix", whose X-Forwarded-For is believed
---@field limits? http.limits
---@field tls? http.certificate[]   what comes by TCP must speak TLS; the first is the default

---@class http.certificate
---@field cert string   path of a PEM file: the server's certificate and the chain behind it
---@field key string    path of its private key

---@param o http.serve_options
---@return http.server|nil, table|nil err   codes: invalid, exists, denied, io, ...
function http.serve(o) end

---Whether a server could take these certificates; doubts are sentences, one of them that none bears the name. [yields]
---@param certificates http.certificate[]
---@param name? string             a DNS name
---@return string[]|nil doubts, table|nil err
function http.tls_check(certificates, name) end

---@class http.server
local server = {}
---@return string host, integer port
function server:addr() end
---Connections, upgraded, running, accepted, requests, refused, turned_away, given_up, timed_out; of TLS: handshakes,
---handshakes_failed, handshakes_waiting, truncated.
---@return table<string, integer>
function server:stats() end
---Stops listening, closes what idles, sends WebSockets 1001, waits for requests. [yields]
---@param seconds? number   30
---@param gently? boolean   who idles may ask once more
---@return true|nil, table|nil err   code timeout: the rest was cut
function server:drain(seconds, gently) end
---Descriptors of its listeners, for a process that listens on.
---@return integer[]|nil, table|nil err
function server:copy_fds() end
---Another process listens on: the files of its unix sockets stay.
function server:leave_files() end
---New connections get these certificates; on an error the old ones stay. [yields]
---@param certificates http.certificate[]
---@return true|nil, table|nil err
function server:tls_reload(certificates) end
function server:close() end

-- A request lives until it is answered; afterwards its methods return nil or do nothing.
---@class http.request
local req = {}
---@return string|nil
function req:method() end
---Percent-decoded once; "%2F" stays as it came.
---@return string|nil
function req:path() end
---As it came, percent-encoded.
---@return string|nil
function req:raw_path() end
---Raw, without the question mark; nil when there is none.
---@return string|nil
function req:query() end
---@param ... string   one to eight names, in any case
---@return string|nil ...   of each the first value
function req:header(...) end
---@return table<string, string>   by name in lower case
function req:headers() end
---The peer, or what a trusted proxy says; "unix" for a peer on a unix socket.
---@return string|nil
function req:remote() end
---Over https; also when a trusted proxy says so (X-Forwarded-Proto).
---@return boolean
function req:secure() end
---Which route it is of (nil: as said before), and whose; its task carries that from here on.
---@param route integer|nil
---@param user? string
---@param machine? string
---@param plan? string
function req:of(route, user, machine, plan) end
---The client's X-Request-Id when it is sane, else 16 random hex digits; every reply carries it.
---@return string|nil
function req:id() end
---@return "1.1"|"1.0"|nil
function req:version() end
---True once the client has gone or half-closed.
---@return boolean
function req:gone() end
---@return boolean
function req:wants_upgrade() end
---The whole body, "" when there is none. [yields unless it is there]
---@param max? integer
---@return string|nil, table|nil err   codes: limit, timeout, invalid, io; the connection ends with the reply
function req:body(max) end
---The body as it comes; nil alone at its end. Not together with req:body. [yields]
---@param max? integer   bytes of the whole body
---@return string|nil, table|nil err   codes as of req:body
function req:read(max) end
---Content-Type is JSON unless `headers` says otherwise. Raises on headers that cannot be sent.
---@param status integer
---@param body? string
---@param headers? table<string, string|string[]>
---@return boolean   false: it had been answered
function req:reply(status, body, headers) end
---@param status integer
---@param headers? table<string, string|string[]>
---@param length? integer   of the body; more raises, less cuts the connection
---@return true|nil, table|nil err
function req:start(status, headers, length) end
---[yields while the client reads slowly]
---@param chunk string
---@return true|nil, table|nil err   code io: the client has gone
function req:write(chunk) end
function req:finish() end

---@class http.way
---@field unix? string             or host (an address) and port
---@field host? string
---@field port? integer
---@field tunnel? string           the target of a request with "Upgrade: tcp" that comes first: a port of the machine
---@field secret? string           Authorization of that
---@field path? string             the target to ask for; default: the client's path, without its query
---@field authority? string        Host; "localhost"
---@field headers? table<string, string>   in the place of the client's
---@field id? string               for http.streams and http.close_streams; at most 39 bytes
---@field who? string              whose it is and by which credential, for http.close_streams_of; at most 95 bytes
---@field timeout? number          seconds to connect (5)

---@class http.proxy_options: http.way
---@field kind? "terminal"|"screen"|"chat"|"other"   what of it is somebody's input ("terminal")
---@field ping? number             both sides are pinged every so many seconds

---Passes a WebSocket upgrade on. On failure the request still wants its reply. [yields]
---@param o http.proxy_options
---@return true|nil, table|nil err   codes: unavailable, timeout, invalid, unsupported, io, not_found (what a tunnel leads to)
function req:proxy(o) end

---Accepts the upgrade before there is something to pass it on to. The request has ended; of the client's input 64 KiB wait.
---@param o {protocol?: string, id?: string, who?: string, kind?: string, ping?: number}
---@return http.held|nil, table|nil err   codes: invalid, unsupported, io
function req:hold(o) end

---@class http.held
local held = {}
---A binary message.
---@param bytes string
---@return boolean
function held:say(bytes) end
---The client has gone, or it is passed on, or leaving.
---@return boolean
function held:gone() end
---@param code? integer   1011
---@param reason? string
function held:close(code, reason) end
---Passes it on. On failure it is held still, unless it is gone. [yields]
---@param o http.proxy_options
---@return true|nil, table|nil err
function held:proxy(o) end

---@class http.forward_options: http.way
---@field body_max? integer        bytes of the client's body; default: the server's own bound
---@field idle? number             seconds that the other side may neither take nor give (60)
---@field head? number             seconds from the first byte of the answer's head to its last (10)

---Passes an HTTP request on, with its body as it comes, and gives the answer's head. Behind it the request wants req:give, or a
---reply, which drops the answer. [yields]
---@param o http.forward_options
---@return {status: integer, headers: {[1]: string, [2]: string}[], length?: integer}|nil, table|nil err
---codes: unavailable, timeout, not_found, limit, invalid, io (the client has gone)
function req:forward(o) end

---Sends this head and the body that belongs to the answer, as it comes. The request has ended. [yields]
---@param status integer
---@param headers {[1]: string, [2]: string}[]
---@return true|nil, table|nil err   io: it was cut; invalid, limit: the head cannot be sent, and the request wants its reply
function req:give(status, headers) end

---@param o? {protocol?: string, max_message?: integer, ping?: number}
---@return http.websocket|nil, table|nil err   the request has been answered either way
function req:websocket(o) end

---@class http.websocket_options
---@field url string               ws, wss, http or https://HOST[:PORT][/PATH][?QUERY]; no redirects are followed
---@field unix? string             dial this socket instead of the URL's host
---@field headers? table<string, string|string[]>
---@field subprotocol? string      offered, and then demanded
---@field timeout? number          seconds until it is open (10)
---@field ca? string               a file of authorities to trust instead of the system's
---@field traced? boolean          whom it asks is ours, and is told of which trace this is a part (traceparent)
---@field max_message? integer     bytes (1 MiB)
---@field ping? number             seconds of silence until a ping, and again until we give up (30)

---Opens a WebSocket as its client. [yields]
---@param o http.websocket_options
---@return http.websocket|nil, table|nil err
---codes: invalid, unavailable, timeout, denied (also the certificate), not_found, state, limit, unsupported, cancelled;
---err.status and err.body (at most 16 KiB) when the server answered something else
function http.websocket(o) end

---@class http.websocket
local ws = {}
---[yields]
---@return string|nil data, "text"|"binary"|table kind_or_err   err.code closed, with close_code and reason
function ws:recv() end
---[yields while the peer reads slowly]
---@param data string
---@param kind? "text"|"binary"
---@return true|nil, table|nil err
function ws:send(data, kind) end
---@param code? integer
---@param reason? string
function ws:close(code, reason) end

---Ends the proxied streams of that id. Returns how many.
---@param id string
---@param code? integer   1001
---@param reason? string
---@return integer
function http.close_streams(id, code, reason) end

---The same for those whose `who` begins with `prefix`.
---@param prefix string
---@param code? integer
---@param reason? string
---@return integer
function http.close_streams_of(prefix, code, reason) end

---@return {id: string, opened: number, typed_at: number|nil, from_client: integer, from_machine: integer, typed: integer}[]
function http.streams() end

---How many of each id, but for those who only look on.
---@return table<string, integer>
function http.stream_counts() end

---Those whose user typed since it was last asked, and when last, in unix ms.
---@return table<string, integer>
function http.typed() end

---A number for a route; the same one each time.
---@param method string
---@param pattern string
---@return integer
function http.route(method, pattern) end

---@class http.request_options
---@field url string               http or https; no redirects are followed
---@field method? string           GET, or POST with a body
---@field headers? table<string, string|string[]>
---@field body? string
---@field timeout? number          seconds for all of it (30)
---@field connect_timeout? number  10
---@field unix? string             dial this socket instead of the URL's host
---@field max_body? integer        bytes of the answer (8 MiB)
---@field cut? boolean             of a longer answer that much will do
---@field public? string[]         it may lead to public addresses that are not this host's, and to these ranges; no proxy is used
---@field ca? string               a file of authorities to trust instead of the system's

---[yields]
---@param o http.request_options
---@return {status: integer, headers: table<string, string>, body: string}|nil, table|nil err
---codes: timeout, unavailable, limit, invalid, denied (the certificate), io, cancelled, unsupported (no libcurl)
function http.request(o) end

return http
