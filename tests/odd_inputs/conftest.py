"""A closed world for every odd input: no network, limited memory, one thread."""

import contextlib
import socket
import threading
from pathlib import Path

import pytest
import torch

try:
    import resource
except ImportError:  # not on Windows
    resource = None

from tests.odd_inputs.encoders import make_small_model

MORE_MEMORY = 6 * 2**30  # bytes of address space that a test may take
PAGES = Path("/proc/self/statm")


def pytest_ignore_collect(config):
    """Leave these files closed where all their tests are left out: to open them takes seconds."""
    is_named = any("odd_inputs" in argument for argument in config.args)
    return True if config.option.markexpr == "not slow" and not is_named else None


class Loopback:
    """A web server on loopback that knows nothing, and writes down who asked it."""

    def __init__(self):
        self.server = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self.server.getsockname()[1]}"
        self.asked = []
        threading.Thread(target=self._answer, daemon=True).start()

    def _answer(self):
        while True:
            client, _ = self.server.accept()
            self.asked.append("GDAL asked the server on loopback")
            client.sendall(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")
            client.close()


@pytest.fixture(scope="session")
def loopback():
    """A server for the connections of GDAL's own client, which Python does not see."""
    return Loopback()


@pytest.fixture(autouse=True)
def _no_network(monkeypatch, loopback):
    asked = loopback.asked
    asked.clear()
    connect = socket.socket.connect

    def refuse(self, address):
        if self.family == getattr(socket, "AF_UNIX", None):
            return connect(self, address)
        asked.append(address)
        raise ConnectionRefusedError(f"a test connects to {address}")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket.socket, "connect_ex", refuse)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    yield
    assert asked == []


@pytest.fixture(autouse=True)
def _limited_memory():
    """A test that wants much more memory than it has fails instead of filling the machine."""
    with _limit(MORE_MEMORY) if resource and PAGES.exists() else contextlib.nullcontext():
        yield


@contextlib.contextmanager
def _limit(more):
    before = resource.getrlimit(resource.RLIMIT_AS)
    size = int(PAGES.read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (size + more, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)


@pytest.fixture(scope="session", autouse=True)
def _one_thread():
    """The networks meet a few places at a time."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="session")
def small_model(tmp_path_factory):
    """A folder with a location encoder of two dozen numbers, and its features of PLACES."""
    return make_small_model(tmp_path_factory.mktemp("models") / "small")
