#!/usr/bin/python3
"""A real mail server (Debian's aiosmtpd) for the tests; tests/lib/smtp.js starts it.

  smtp_server.py JSON
    tls       "starttls" (default), "tls" (from the first byte) or "none"
    cert,key  files, for the first two
    user,password   who may come in (LOGIN and PLAIN, only over TLS unless auth_plain); without them nobody is asked
    auth_plain      offers AUTH without TLS, too
    replies   { "MAIL" | "RCPT" | "DATA" | "greeting": "451 some text" } instead of taking it
    stall     "greeting" | "EHLO" | "MAIL" | "RCPT" | "DATA" | "QUIT": says "stalled" and never answers that
    drop      "RCPT" | "DATA" | ...: hangs up instead of answering that

Writes what happens as JSON lines: listening {port}, line {text} (a command), auth {ok}, stalled {at}, closed {open} (a
connection; how many there are still), message {from, to, data (base64), tls, user, and as Python's email package reads
it: headers, text, html, defects}. Ends when its stdin does.
"""
import asyncio
import base64
import email
import email.policy
import json
import logging
import ssl
import sys
import threading

from aiosmtpd.smtp import SMTP, AuthResult

o = json.loads(sys.argv[1])
connections = set()


def say(event, **what):
    print(json.dumps({"event": event, **what}), flush=True)


class Lines(logging.Handler):
    def emit(self, record):
        text = record.getMessage()
        if ">> " in text:
            say("line", text=text.split(">> ", 1)[1])


logging.getLogger("mail.log").addHandler(Lines())
logging.getLogger("mail.log").setLevel(logging.DEBUG)
logging.getLogger("mail.log").propagate = False


async def meet(at, server):
    """What was ordered for this command: to stall, to hang up, or an answer; None: go on."""
    if o.get("stall") == at:
        say("stalled", at=at)
        await asyncio.get_running_loop().create_future()
    if o.get("drop") == at:
        server.transport.abort()
        await asyncio.get_running_loop().create_future()
    return o.get("replies", {}).get(at)


def read(data):
    m = email.message_from_bytes(data, policy=email.policy.default)
    text, html = m.get_body(("plain",)), m.get_body(("html",))
    return {"headers": {k.lower(): str(v) for k, v in m.items()}, "names": [k for k, _ in m.items()],
            "text": text and text.get_content().replace("\r\n", "\n"),
            "html": html and html.get_content().replace("\r\n", "\n"),
            "defects": [repr(d) for p in m.walk() for d in p.defects]}


class Handler:
    async def handle_EHLO(self, server, session, envelope, hostname, responses):
        await meet("EHLO", server)
        session.host_name = hostname
        return responses

    async def handle_MAIL(self, server, session, envelope, address, options):
        reply = await meet("MAIL", server)
        if not reply:
            envelope.mail_from = address
        return reply or "250 OK"

    async def handle_RCPT(self, server, session, envelope, address, options):
        reply = await meet("RCPT", server)
        if not reply:
            envelope.rcpt_tos.append(address)
        return reply or "250 OK"

    async def handle_DATA(self, server, session, envelope):
        reply = await meet("DATA", server)
        if reply:
            return reply
        say("message", **{"from": envelope.mail_from}, to=envelope.rcpt_tos, tls=session.ssl is not None,
            user=session.auth_data, data=base64.b64encode(envelope.original_content).decode(),
            **read(envelope.original_content))
        return "250 OK: taken"

    async def handle_QUIT(self, server, session, envelope):
        await meet("QUIT", server)
        return "221 Bye"


def authenticate(server, session, envelope, mechanism, data):
    ok = (data.login.decode(), data.password.decode()) == (o.get("user"), o.get("password"))
    say("auth", ok=ok, mechanism=mechanism)
    return AuthResult(success=ok, handled=False, auth_data=data.login.decode() if ok else None)


class Server(SMTP):
    def connection_made(self, transport):
        connections.add(id(self))
        super().connection_made(transport)

    def connection_lost(self, error):
        super().connection_lost(error)
        connections.discard(id(self))
        say("closed", open=len(connections))

    async def _handle_client(self):
        reply = await meet("greeting", self)
        if reply:
            await self.push(reply)
            self.transport.close()
            return
        await super()._handle_client()


def context():
    c = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    c.load_cert_chain(o["cert"], o["key"])
    return c


def factory():
    tls = o.get("tls", "starttls")
    return Server(Handler(), hostname="localhost", tls_context=context() if tls == "starttls" else None,
                  require_starttls=tls == "starttls", auth_required="user" in o, authenticator=authenticate,
                  auth_require_tls=tls == "starttls" and not o.get("auth_plain"),
                  auth_exclude_mechanism=None if "user" in o else ["LOGIN", "PLAIN"], loop=asyncio.get_running_loop())


async def main():
    loop = asyncio.get_running_loop()
    ended = asyncio.Event()

    def wait():
        sys.stdin.read()
        loop.call_soon_threadsafe(ended.set)

    threading.Thread(target=wait, daemon=True).start()
    server = await loop.create_server(factory, "127.0.0.1", 0, ssl=context() if o.get("tls") == "tls" else None)
    say("listening", port=server.sockets[0].getsockname()[1])
    await ended.wait()
    server.close()


loop = asyncio.new_event_loop()
loop.set_exception_handler(lambda *_: None)  # of connections that were cut off on purpose
loop.run_until_complete(main())
sys.stdout.flush()
sys.exit(0)
