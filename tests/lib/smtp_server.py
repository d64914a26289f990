# A mail server for tests (aiosmtpd): each mail it takes is a line of JSON on stdout, {"from", "to", "data"}.
#
#   smtp_server.py OPTIONS...   prints {"port": N} when it listens; ends when its stdin does
#     --cert=FILE --key=FILE    offers STARTTLS with these          --implicit   speaks TLS from the first byte
#     --user=NAME --password=P  wants authentication, after STARTTLS
#     --refuse=CODE             answers RCPT with CODE               --stall      takes connections and says nothing
import argparse
import json
import socket
import ssl
import sys

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import AuthResult, LoginPassword

p = argparse.ArgumentParser()
for name in ("cert", "key", "user", "password", "refuse"):
    p.add_argument("--" + name)
p.add_argument("--implicit", action="store_true")
p.add_argument("--stall", action="store_true")
args = p.parse_args()


def say(value):
    print(json.dumps(value), flush=True)


class Handler:
    async def handle_RCPT(self, server, session, envelope, address, options):
        if args.refuse:
            return args.refuse + " not here"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server, session, envelope):
        say({"from": envelope.mail_from, "to": envelope.rcpt_tos, "tls": session.ssl is not None,
             "data": envelope.content.decode("utf-8")})
        return "250 taken"


def authenticate(server, session, envelope, mechanism, data):
    good = isinstance(data, LoginPassword) and (data.login, data.password) == (args.user.encode(), args.password.encode())
    return AuthResult(success=good, handled=False)


if args.stall:
    s = socket.create_server(("127.0.0.1", 0))
    say({"port": s.getsockname()[1]})
    sys.stdin.read()
    sys.exit(0)

context = None
if args.cert:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(args.cert, args.key)
options = {"hostname": "127.0.0.1", "port": 0}
if args.implicit:
    options["ssl_context"] = context
elif context:
    options["tls_context"] = context
if args.user:
    options.update(authenticator=authenticate, auth_required=True, auth_require_tls=not args.implicit)


class AnyPort(Controller):
    def _trigger_server(self):  # connects to the port that was asked for, which is 0
        self.port = self.server.sockets[0].getsockname()[1]
        super()._trigger_server()


controller = AnyPort(Handler(), **options)
controller.start()
say({"port": controller.server.sockets[0].getsockname()[1]})
sys.stdin.read()
controller.stop()
