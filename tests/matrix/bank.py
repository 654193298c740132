"""A neighbour that speaks TLS: bank.py PORT CERTIFICATE KEY"""

import http.server
import ssl
import sys

port, certificate, key = sys.argv[1:]
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain(certificate, key)


class Bank(http.server.BaseHTTPRequestHandler):
    timeout = 5

    def setup(self):
        # In the connection's own thread: a silent caller keeps nobody waiting.
        self.request.settimeout(self.timeout)
        self.request = context.wrap_socket(self.request, server_side=True)
        super().setup()

    def do_GET(self):
        self.send_response(200)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"{}")

    def log_message(self, *_):
        pass


class Server(http.server.ThreadingHTTPServer):
    def handle_error(self, *_):
        pass


Server(("127.0.0.1", int(port)), Bank).serve_forever()
