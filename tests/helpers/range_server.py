"""A server on this machine that sends files, or parts of them, and counts what it sent."""

from __future__ import annotations

import multiprocessing
from contextlib import contextmanager
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

SPAWN = multiprocessing.get_context("spawn")  # no thread is copied in the middle of its work


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
            n = self._send(part)
            with self.server.sent.get_lock():
                self.server.sent.value += n

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
    """Serve a folder on the loopback; yields the server, with `address` and `sent` bytes.

    In a process of its own: a collection of garbage in one of its threads that met objects of
    h5py would wait for the reader's lock, and the reader for it.
    """
    there, here = SPAWN.Pipe()
    sent = SPAWN.Value("q", 0)
    process = SPAWN.Process(target=_serve, args=(folder, ranges, there, sent), daemon=True)
    process.start()
    try:
        yield Served(f"http://127.0.0.1:{here.recv()}", sent)
    finally:
        process.terminate()
        process.join()


class Served:
    """A server that runs; `sent` may be set to 0 to restart the count."""

    def __init__(self, address: str, counter):
        self.address, self.counter = address, counter

    @property
    def sent(self) -> int:
        return self.counter.value

    @sent.setter
    def sent(self, value: int):
        self.counter.value = value


def _serve(folder: Path, ranges: bool, pipe, sent):
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, folder=folder, ranges=ranges))
    server.daemon_threads, server.sent = True, sent
    pipe.send(server.server_port)
    server.serve_forever()
