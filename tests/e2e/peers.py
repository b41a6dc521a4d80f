"""Whom the load meets in tests: a web server that remembers, the same behind TLS, proxies, and nginx where it is
installed. Loopback only, standard library only."""
import collections
import contextlib
import gzip
import http.server
import json
import pathlib
import shutil
import socket
import socketserver
import ssl
import subprocess
import threading
import time
import urllib.parse

from harness import unused_port, wait_for

Seen = collections.namedtuple("Seen", "client method path headers tls")


class Web(http.server.BaseHTTPRequestHandler):
    """/ok, /gzip, /trailers, /redirect/N, /slow-redirect/N, /cookie, /big; anything else is /ok."""

    protocol_version = "HTTP/1.1"

    def log_message(self, *args):
        pass

    def address_string(self):  # a unix socket's client has none
        return "client"

    def say(self, status, body=b"ok", **headers):
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def remember(self):
        c, tls = self.connection, None
        if isinstance(c, ssl.SSLSocket):
            subject = dict(x[0] for x in (c.getpeercert() or {}).get("subject", ()))
            tls = {"version": c.version(), "reused": c.session_reused, "sni": getattr(c, "asked_name", None),
                   "client": subject.get("commonName")}
        self.server.seen.append(Seen(self.client_address, self.command, self.path, dict(self.headers), tls))

    def do_GET(self):
        self.remember()
        word, _, rest = self.path[1:].partition("/")
        if word.endswith("redirect"):
            time.sleep(0.15 if word.startswith("slow") else 0)
            self.say(302, b"", Location="/ok" if rest == "0" else f"/{word}/{int(rest) - 1}")
        elif word == "gzip" and "gzip" in self.headers.get("Accept-Encoding", ""):
            self.say(200, gzip.compress(b"plain words " * 500), Content_Encoding="gzip")
        elif word == "gzip":
            self.say(200, b"plain words " * 500)
        elif word == "trailers":
            self.send_response(200)
            self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            self.wfile.write(b"2\r\nok\r\n0\r\nX-Sum: 1\r\n\r\n")
        elif word == "cookie" and "sid=" not in self.headers.get("Cookie", ""):
            self.say(200, Set_Cookie=f"sid={len(self.server.seen)}; Path=/")
        else:
            self.say(200)


class WebServer(http.server.ThreadingHTTPServer):
    request_queue_size = 128  # the default of 5 loses connects


class Web6(WebServer):
    address_family = socket.AF_INET6


class WebUnix(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    request_queue_size = 128


@contextlib.contextmanager
def serving(address=("127.0.0.1", 0), kind=WebServer, handler=Web, context=None):
    server = kind(address, handler)
    server.daemon_threads = True
    server.seen = []
    server.refuse = 0
    if context:
        server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    server.handle_error = lambda *args: None  # broken handshakes are what some tests are about
    server.port = address if isinstance(address, str) else server.server_address[1]
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()


# ---- TLS ----

def openssl(folder, *args):
    subprocess.run(["openssl", *args], cwd=folder, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def make_certificates(folder):
    """ca.pem, and signed by it: server.pem (127.0.0.1, ::1, localhost, shop.test), client.pem."""
    new = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    openssl(folder, "req", "-x509", *new, "-keyout", "ca.key", "-out", "ca.pem", "-subj", "/CN=test ca", "-days", "2")
    for name, san in (("server", "DNS:shop.test,DNS:localhost,IP:127.0.0.1,IP:::1"), ("client", "DNS:me.test")):
        (folder / "ext").write_text(f"subjectAltName={san}\n")
        openssl(folder, "req", *new, "-keyout", f"{name}.key", "-out", f"{name}.csr", "-subj", f"/CN={name}")
        openssl(folder, "x509", "-req", "-in", f"{name}.csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial",
                "-days", "2", "-extfile", "ext", "-out", f"{name}.pem")


def tls_context(folder, want_client=False, version=None):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "server.pem", folder / "server.key")
    if version:
        context.minimum_version = context.maximum_version = version
    if want_client:
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_verify_locations(folder / "ca.pem")

    def remember_name(sock, name, _):
        sock.asked_name = name
    context.sni_callback = remember_name
    return context


NGINX = """daemon off; master_process off; pid {d}/pid; events {{ worker_connections 256; }}
http {{
  client_body_temp_path {d}/b; proxy_temp_path {d}/p; fastcgi_temp_path {d}/f; uwsgi_temp_path {d}/u; scgi_temp_path {d}/s;
  log_format told '{{"protocol":"$server_protocol","connection":"$connection","tls":"$ssl_protocol","resumed":"$ssl_session_reused"}}';
  access_log {d}/access.log told;
  ssl_certificate {d}/server.pem; ssl_certificate_key {d}/server.key; ssl_protocols TLSv1.2 TLSv1.3; ssl_session_cache shared:s:1m;
  server {{ listen 127.0.0.1:{port} ssl http2; location / {{ default_type text/plain; return 200 "from nginx"; }} }}
}}
"""


@contextlib.contextmanager
def nginx(folder):
    """Speaks HTTP/2 over TLS; yields (port, function that tells what it saw)."""
    port = unused_port()
    (folder / "nginx.conf").write_text(NGINX.format(d=folder, port=port))
    log = folder / "access.log"
    command = [shutil.which("nginx") or "/usr/sbin/nginx", "-c", folder / "nginx.conf", "-p", folder, "-e", folder / "error.log"]
    process = subprocess.Popen([str(x) for x in command])
    try:
        def is_up():
            with socket.socket() as s:
                return s.connect_ex(("127.0.0.1", port)) == 0
        wait_for(is_up, what="nginx")
        yield port, lambda: [json.loads(line) for line in log.read_text().splitlines()]
    finally:
        process.terminate()
        process.wait()


def has_nginx():
    return bool(shutil.which("nginx")) or pathlib.Path("/usr/sbin/nginx").exists()


# ---- proxies ----

def pump(a, b):
    try:
        while data := a.recv(65536):
            b.sendall(data)
    except OSError:
        pass
    with contextlib.suppress(OSError):
        b.shutdown(socket.SHUT_WR)


def join(a, b):
    back = threading.Thread(target=pump, args=(b, a), daemon=True)
    back.start()
    pump(a, b)
    back.join()
    b.close()


class HttpProxy(Web):
    def do_GET(self):
        self.remember()
        self.say(200, b"from " + urllib.parse.urlsplit(self.path).netloc.encode())

    def do_CONNECT(self):
        self.remember()
        self.close_connection = True
        if self.server.refuse:
            self.say(self.server.refuse, b"")
            return
        host, port = self.path.rsplit(":", 1)
        with socket.create_connection((host, int(port))) as there:
            self.send_response(200)
            self.end_headers()
            join(self.connection, there)


class SocksProxy(socketserver.BaseRequestHandler):
    """SOCKS5 without authentication; *.test is this machine."""

    def handle(self):
        s = self.request
        s.recv(262)
        s.sendall(b"\5\0")
        asked = s.recv(262)
        name = asked[5:5 + asked[4]].decode() if asked[3] == 3 else socket.inet_ntoa(asked[4:8])
        self.server.seen.append(name)
        s.sendall(bytes([5, self.server.refuse, 0, 1]) + bytes(6))
        if self.server.refuse:
            return
        there = "127.0.0.1" if name.endswith(".test") else name
        with socket.create_connection((there, int.from_bytes(asked[-2:], "big"))) as up:
            join(s, up)
