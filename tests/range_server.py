"""A server on this machine that sends files, or parts of them, and counts what it sent."""

from __future__ import annotations

import threading
from contextlib import contextmanager
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path


class Handler(BaseHTTPRequestHandler):
    """Answers HEAD and GET for the files of one folder; `ranges` as a DANDI-like store does."""

    timeout = 10  # s; every request is a connection of its own (HTTP/1.0), which ends with it

    def __init__(self, *arguments, folder: Path, ranges: bool):
        self.folder, self.ranges = folder, ranges
        super().__init__(*arguments)

    def do_HEAD(self):
        self._answer(with_body=False)

    def do_GET(self):
        self._answer(with_body=True)

    def _answer(self, with_body: bool):
        file = self.folder / Path(self.path).name
        if not file.is_file():
            status = 403 if file.stem == "secret" else 404
            self.send_response(status)
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        data, asked = file.read_bytes(), self.headers.get("Range")
        if asked and self.ranges:
            first, last = asked.removeprefix("bytes=").split("-")
            part = data[int(first) : int(last or len(data)) + 1]
            self.send_response(206)
            stop = int(first) + len(part) - 1
            self.send_header("Content-Range", f"bytes {first}-{stop}/{len(data)}")
        else:
            part = data
            self.send_response(200)
        self.send_header("Content-Length", str(len(part)))
        self.end_headers()
        if with_body:
            self.server.sent += self._send(part)

    def _send(self, part: bytes) -> int:
        """Send in pieces, so that one who hangs up is noticed; return how much was sent."""
        sent = 0
        try:
            for start in range(0, len(part), 65536):
                sent += self.wfile.write(part[start : start + 65536])
        except ConnectionError:
            self.close_connection = True
        return sent

    def log_message(self, *_):
        pass


@contextmanager
def serving(folder: Path, *, ranges: bool = True):
    """Serve a folder on the loopback; yields the server, which has `address` and `sent` bytes."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, folder=folder, ranges=ranges))
    server.daemon_threads, server.sent = True, 0
    server.address = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
