"""A file server on loopback that knows range requests, and writes down which it was asked for.

It is a process of its own: GDAL waits for it while it holds Python's lock.
"""

import hashlib
import subprocess
import sys
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path


class Ranges(BaseHTTPRequestHandler):
    folder: Path
    log: Path

    def do_HEAD(self):
        self._send(head=True)

    def do_GET(self):
        self._send()

    def _send(self, head=False):
        path = self.folder / self.path.lstrip("/")
        moved = path.with_name(f"{path.name}.moved")
        if moved.is_file():
            self.send_response(302)
            self.send_header("Location", moved.read_text())
            self.end_headers()
            return
        if not path.is_file():
            with self.log.open("a") as log:
                log.write("0\n")
            self.send_error(404)
            return
        content = path.read_bytes()
        wanted = self.headers.get("Range")
        first, last = 0, len(content) - 1
        if wanted:
            start, _, stop = wanted.removeprefix("bytes=").partition("-")
            first, last = int(start), min(int(stop or last), last)
        with self.log.open("a") as log:
            log.write(f"{0 if head else last - first + 1}\n")
        self.send_response(206 if wanted else 200)
        self.send_header("Accept-Ranges", "bytes")
        self.send_header("Content-Range", f"bytes {first}-{last}/{len(content)}")
        if not path.name.startswith("unversioned"):
            self.send_header("ETag", f'"{hashlib.md5(content).hexdigest()}"')
        self.send_header("Content-Length", str(last - first + 1))
        self.end_headers()
        if not head:
            self.wfile.write(content[first : last + 1])

    def log_message(self, *_):
        pass


class RangeServer:
    """The server of a folder, and what it was asked for."""

    def __init__(self, folder, log, url):
        self.folder, self.log, self.url = folder, log, url

    @property
    def requests(self):
        return len(self.log.read_text().splitlines())

    @property
    def bytes_sent(self):
        return sum(map(int, self.log.read_text().split()))


@contextmanager
def serving(folder):
    """Serve a new folder, from a process of its own, until the block ends."""
    folder.mkdir()
    log = folder.with_suffix(".log")
    log.touch()
    command = [sys.executable, __file__, folder, log]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as running:
        yield RangeServer(folder, log, f"http://127.0.0.1:{running.stdout.readline().strip()}")
        running.kill()


if __name__ == "__main__":
    Ranges.folder, Ranges.log = map(Path, sys.argv[1:])
    with ThreadingHTTPServer(("127.0.0.1", 0), Ranges) as server:
        print(server.server_port, flush=True)
        server.serve_forever()
