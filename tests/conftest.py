import os
import shutil
import signal
import tempfile
from pathlib import Path

# Read when an OpenMP library is loaded, here and in processes that tests start: threads that wait
# for each other sleep. By default they spin, and beside any other work on the machine that makes
# a fit of small layers twenty times as long.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import numpy as np
import pytest
import threadpoolctl
import torch

from tests.hub_server import HubServer

# read once, when huggingface_hub is imported: no test may reach the real hub
HUB = HubServer().start()
os.environ["HF_ENDPOINT"] = HUB.url
os.environ["HF_HUB_DISABLE_TELEMETRY"] = "1"
os.environ["HF_HUB_DISABLE_XET"] = "1"  # the server on loopback speaks the plain protocol
os.environ.pop("HF_TOKEN", None)
os.environ["NVIDIA_TF32_OVERRIDE"] = "0"  # on a card, parity is that of float32
CACHE = tempfile.TemporaryDirectory()
os.environ["SKGEO_EMBED_CACHE"] = CACHE.name  # no test may touch the user's

# Folders of tests are in memory where there is room: to remove a file from a disk takes 4 ms and to
# flush it 9 ms, which tests do thousands of times.
MEMORY = Path("/dev/shm")
if os.access(MEMORY, os.W_OK) and shutil.disk_usage(MEMORY).free > 4 * 2**30:
    os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", str(MEMORY))

from skgeo_embed import SatCLIPEncoder  # noqa: E402
from skgeo_embed.nn.location import LocationEncoder  # noqa: E402
from tests.recipe import REFERENCE  # noqa: E402


@pytest.fixture(scope="session", autouse=True)
def _two_threads_in_all():
    threads = 2 // min(2, int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1")))
    torch.set_num_threads(threads)
    with threadpoolctl.threadpool_limits(threads):
        yield


@pytest.fixture(scope="session")
def held_default():
    """The default encoder, so that fits of others find its weights open."""
    return SatCLIPEncoder().fit()


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """The hub on loopback, empty, with a cache of its own for the test."""
    HUB.repositories.clear()
    HUB.requests_seen.clear()
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr("huggingface_hub.constants.HF_TOKEN_PATH", str(tmp_path / "token"))
    return HUB


@pytest.fixture(scope="session")
def positional_reference():
    with np.load(REFERENCE / "positional_encodings.npz") as file:
        return dict(file)


@pytest.fixture(scope="session")
def checkpoint_reference():
    with np.load(REFERENCE / "satclip_checkpoints.npz") as file:
        return dict(file)


@pytest.fixture(scope="session")
def sphere_points():
    """500 points uniform on the sphere, and the awkward ones."""
    rng = np.random.RandomState(0)
    lon, lat = rng.uniform(-180, 180, 500), np.rad2deg(np.arcsin(rng.uniform(-1, 1, 500)))
    special = [[0, 90], [77, -90], [-180, 0], [180, 0], [10, 89.9999], [10, -89.9999], [0, 0]]
    return np.concatenate([np.column_stack([lon, lat]), special])


@pytest.fixture
def small_location():
    torch.manual_seed(0)
    return LocationEncoder(legendre_polys=6, embed_dim=8, hidden_dim=16)


@pytest.fixture(scope="session")
def pairs():
    """120 images whose colours follow their coordinates, so that matching can be learned."""
    rng = np.random.RandomState(0)
    lon, lat = rng.uniform(-180, 180, 120), rng.uniform(-60, 80, 120)
    colours = np.column_stack([lat / 90, np.cos(np.deg2rad(lon)), np.sin(np.deg2rad(lon))])
    images = colours[:, :, None, None] + 0.05 * rng.standard_normal((120, 3, 8, 8))
    return images.astype(np.float32), np.column_stack([lon, lat])


@pytest.fixture
def batches_of(monkeypatch):
    """A function that sets how many rows of a table are encoded at a time."""

    def set_rows(rows):
        monkeypatch.setattr("skgeo_embed.streaming.table.MIN_BATCH_ROWS", rows)
        monkeypatch.setattr("skgeo_embed.streaming.table.BATCH_BYTES", 1)

    return set_rows


@pytest.fixture
def unchanged_process():
    """Take back what cluster libraries do to the process: OMP_NUM_THREADS, signal handlers."""
    environment = dict(os.environ)
    handlers = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    yield
    os.environ.clear()
    os.environ.update(environment)
    for number, handler in handlers.items():
        signal.signal(number, handler)
