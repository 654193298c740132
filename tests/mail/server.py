"""aiosmtpd as a mail server: takes what it is given after STARTTLS and a sign-in, and keeps what Python
reads out of each mail as a file of JSON.

    python server.py FOLDER CERTIFICATE KEY
"""

import asyncio
import email
import email.policy
import json
import pathlib
import ssl
import sys

from aiosmtpd.smtp import SMTP, AuthResult

FOLDER, CERTIFICATE, KEY = sys.argv[1:]


class Keeper:
    count = 0

    async def handle_DATA(self, server, session, envelope):
        self.count += 1
        mail = email.message_from_bytes(envelope.original_content, policy=email.policy.default)
        part = lambda kind: mail.get_body((kind,)).get_content()  # noqa: E731
        told = {
            "sender": envelope.mail_from, "recipients": envelope.rcpt_tos, "tls": session.ssl is not None,
            "headers": {name.lower(): str(value) for name, value in mail.items()},
            "defects": [str(it) for it in mail.defects], "text": part("plain"), "html": part("html"),
        }
        # Under another name until it is whole.
        path = pathlib.Path(FOLDER, f"{self.count:04}.part")
        path.write_text(json.dumps(told))
        path.rename(path.with_suffix(".json"))
        return "250 2.0.0 kept"


def sign_in(server, session, envelope, mechanism, data):
    known = (data.login, data.password) == (b"shop", b"secret")
    return AuthResult(success=known)


async def serve():
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(CERTIFICATE, KEY)
    keeper = Keeper()
    loop = asyncio.get_running_loop()
    server = await loop.create_server(
        lambda: SMTP(keeper, hostname="localhost", tls_context=context, require_starttls=True,
                     authenticator=sign_in, auth_required=True, enable_SMTPUTF8=True),
        "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


asyncio.run(serve())
