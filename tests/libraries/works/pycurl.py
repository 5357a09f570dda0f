"""pycurl: libcurl, which calls for each part that arrives, against a server here."""

import io
import threading
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pycurl
from hosts import pause

DISTRIBUTION = "pycurl"


class _Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        body = self.path.encode() * int(self.path.rpartition("/")[2])
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


@cache
def _address():
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return f"http://127.0.0.1:{server.server_port}"


_address()


def _get(path, write=None, **options):
    body = io.BytesIO()
    curl = pycurl.Curl()
    curl.setopt(pycurl.URL, _address() + path)
    curl.setopt(pycurl.NOPROXY, "*")
    curl.setopt(pycurl.TIMEOUT, 60)
    curl.setopt(pycurl.WRITEFUNCTION, write or body.write)
    for name, value in options.items():
        curl.setopt(getattr(pycurl, name), value)
    curl.perform()
    curl.close()
    return body.getvalue()


def small():
    return _get("/small/2")


def heavy():
    parts = [_get(f"/large/{size}") for size in (1, 1000, 200_000)]
    multi, handles = pycurl.CurlMulti(), []
    for number in range(10):
        handle = pycurl.Curl()
        body = io.BytesIO()
        handle.setopt(pycurl.URL, f"{_address()}/multi/{number}")
        handle.setopt(pycurl.NOPROXY, "*")
        handle.setopt(pycurl.WRITEFUNCTION, body.write)
        multi.add_handle(handle)
        handles.append((handle, body))
    running = True
    while running:
        _, running = multi.perform()
        multi.select(0.1)
    return [len(part) for part in parts] + [body.getvalue() for _, body in handles]


def callback(number):
    parts = []
    heads = []
    _get(
        f"/c{number}/9",
        write=lambda data: pause() or parts.append(bytes(data)),
        HEADERFUNCTION=lambda data: pause() or heads.append(data.split(b":")[0]),
        XFERINFOFUNCTION=lambda *_: None,
        NOPROGRESS=False,
    )
    return [b"".join(parts), heads]


def exception():
    curl = pycurl.Curl()
    curl.setopt(pycurl.URL, "no-such-scheme://x")
    curl.perform()
