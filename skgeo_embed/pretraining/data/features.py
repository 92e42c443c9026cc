"""Features of a frozen vision tower, computed once and stored in a memory-mapped file."""

from __future__ import annotations

import hashlib
import io
import json
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from filelock import FileLock
from torch import Tensor, nn
from torch.utils.data import Dataset
from tqdm.auto import tqdm

from skgeo_embed._files import write_atomically
from skgeo_embed.pretraining.data.batches import Batch, read_rows
from skgeo_embed.pretraining.data.mapped import picklable, unpickled
from skgeo_embed.pretraining.data.views import Views

CHUNK = 64  # images that are read at a time
SAMPLE = 4  # images; their features identify a tower
FORMAT = 2


class CacheError(OSError):
    """The feature cache cannot be read or written."""


@contextmanager
def errors_of_the_cache(file: Path | str) -> Iterator[None]:
    """Let errors of the system, such as a full disk, name the file of the cache."""
    try:
        yield
    except OSError as error:
        reason = f"{error.strerror or error} (pass another folder as feature_cache, or None)"
        raise CacheError(error.errno, reason, str(error.filename or file)) from error


class FeaturePairs(Dataset[Batch]):
    """Cached features with their coordinates; index ``row * n_views + view``.

    Parameters
    ----------
    features : ndarray of shape (n, n_views, d)
        A memory map. View 0 shows the image without augmentation.
    lonlat : ndarray of shape (n, 2)
        Canonical coordinates.
    """

    def __init__(self, features: np.ndarray, lonlat: np.ndarray) -> None:
        self.features = features
        self.lonlat = lonlat
        self.n_views = features.shape[1]

    def __getstate__(self) -> dict[str, Any]:
        """Leave the values out: a spawned process maps the file again."""
        return {**vars(self), "features": picklable(self.features)}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update({**state, "features": unpickled(state["features"])})

    def __len__(self) -> int:
        return len(self.features) * self.n_views

    def __getitems__(self, indices: Sequence[int]) -> Batch:
        rows, views = np.divmod(np.asarray(indices), self.n_views)
        return {
            "image": torch.from_numpy(self.features[rows, views]),
            "point": torch.from_numpy(self.lonlat[rows]),
        }


def cache_features(
    pairs: Dataset[Any],
    body: nn.Module,
    *,
    views: Views,
    n_views: int,
    folder: Path,
    device: torch.device,
    progress: bool = False,
) -> FeaturePairs:
    """Return the features of every image and view, from the cache or computed.

    The file's name is a hash of images, weights and augmentation, and of the features of a few
    images, because two towers may have the same description and weights. While it is computed, the
    file has another name and records the progress, so that an interrupted run continues. A file
    of the same data and tower with other contents is outdated and removed. Other processes wait.

    Parameters
    ----------
    pairs : Dataset
        Images and coordinates.
    body : torch.nn.Module
        The frozen part of the tower.
    views : Views
        Cuts and augments images.
    n_views : int
        Views of an image; the first is not augmented.
    folder : Path
        Folder of the cache.
    device : torch.device
        Where the tower runs.
    progress : bool, default=False
        Show a bar.
    """
    with errors_of_the_cache(folder):
        folder.mkdir(parents=True, exist_ok=True)
    lonlat, images_hash = _identify(pairs)
    structure = repr(body)
    slot = _hash(type(pairs).__name__, len(lonlat), structure)[:12]
    weights = [
        part
        for name, tensor in body.state_dict().items()
        for part in (name, tensor.detach().cpu().contiguous().numpy().tobytes())
    ]
    shown = _describe_features(pairs, body, views)
    key = _hash(FORMAT, n_views, views.describe(), images_hash, structure, shown, *weights)[:24]
    path = folder / f"features-{slot}-{key}.npy"
    if not path.is_file():  # a cache that is complete may be read-only
        with _locked(folder / f"features-{slot}.lock"):
            if not path.is_file():
                of_slot = set(folder.glob(f"features-{slot}-*"))
                for stale in of_slot - set(folder.glob(f"*{key}*")):
                    with errors_of_the_cache(stale):
                        stale.unlink()
                _compute(pairs, len(lonlat), body, views, n_views, path, device, progress)
    with errors_of_the_cache(path):
        return FeaturePairs(np.load(path, mmap_mode="r"), lonlat)


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Hold a lock, while other processes wait."""
    lock = FileLock(path)
    with errors_of_the_cache(path):
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


def _describe_features(pairs: Dataset[Any], body: nn.Module, views: Views) -> bytes:
    """Return features of the first images to two digits, which every machine agrees on."""
    images = views(read_rows(pairs, range(min(SAMPLE, len(pairs))))["image"], random=False)  # type: ignore[arg-type]
    with torch.no_grad():
        found = body.cpu().eval()(images).float().numpy()
    return np.round(found / max(np.abs(found).max(), 1e-12), 2).tobytes()


def _hash(*parts: Any) -> str:
    digest = hashlib.blake2b()
    for part in parts:
        content = part if isinstance(part, bytes) else str(part).encode()
        digest.update(len(content).to_bytes(8, "little") + content)
    return digest.hexdigest()


def _identify(pairs: Dataset[Any]) -> tuple[np.ndarray, str]:
    """Return coordinates and a hash of the pairs: their own fingerprint, or of all contents."""
    if hasattr(pairs, "fingerprint") and hasattr(pairs, "lonlat"):
        return pairs.lonlat, pairs.fingerprint()
    digest, points = hashlib.blake2b(), []
    n_pairs = len(pairs)  # type: ignore[arg-type]
    for start in range(0, n_pairs, CHUNK):
        batch = read_rows(pairs, range(start, min(start + CHUNK, n_pairs)))
        digest.update(batch["image"].contiguous().numpy().tobytes())
        points.append(batch["point"].numpy())
    return np.concatenate(points), digest.hexdigest()


def _compute(
    pairs: Dataset[Any],
    n_pairs: int,
    body: nn.Module,
    views: Views,
    n_views: int,
    path: Path,
    device: torch.device,
    progress: bool,
) -> None:
    part, state = path.with_suffix(".part"), path.with_suffix(".json")
    body = body.to(device).eval()
    sample = read_rows(pairs, range(1))["image"].to(device)
    shape = (n_pairs, n_views, features_of_views(body, views, n_views, sample, 0).shape[2])
    header = io.BytesIO()
    described = {"descr": "<f4", "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(header, described)
    start_of_rows, row_bytes = len(header.getvalue()), 4 * shape[1] * shape[2]
    done = _rows_done(part, state, start_of_rows, row_bytes)
    if not done:
        _write(part, header.getvalue(), 0)
    bar = tqdm(
        total=n_pairs,
        initial=done,
        desc="caching image features",
        unit="image",
        disable=not progress,
    )
    with bar:
        for start in range(done, n_pairs, CHUNK):
            images = read_rows(pairs, range(start, min(start + CHUNK, n_pairs)))["image"].to(device)
            stop = start + len(images)
            found = features_of_views(body, views, n_views, images, start)
            rows = np.ascontiguousarray(found.float().cpu().numpy(), dtype="<f4")
            _write(part, rows.data, start_of_rows + start * row_bytes)
            with errors_of_the_cache(state):
                write_atomically(state, json.dumps({"rows_done": stop}).encode())
            bar.update(stop - start)
    with errors_of_the_cache(path):
        os.replace(part, path)
        state.unlink()


def _rows_done(part: Path, state: Path, start_of_rows: int, row_bytes: int) -> int:
    """Return how many rows an interrupted run has written: those it says, if the file has them."""
    try:
        said = int(json.loads(state.read_bytes())["rows_done"])
        in_file = (part.stat().st_size - start_of_rows) // row_bytes
    # none, or damaged: all are computed again
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return 0
    return max(min(said, in_file), 0)


def _write(part: Path, content: bytes | memoryview, position: int) -> None:
    """Write bytes to the disk at a position, 0 for a new file.

    Written, not mapped: where the disk is full, a memory map kills the process.
    """
    with errors_of_the_cache(part), part.open("r+b" if position else "wb") as file:
        file.seek(position)
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def features_of_views(
    body: nn.Module, views: Views, n_views: int, images: Tensor, start: int
) -> Tensor:
    """Return features of all views, (n, n_views, d); the draws depend only on the rows."""
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(start)
        shown = (views(images, random=view > 0) for view in range(n_views))
        return torch.stack([body(view) for view in shown], dim=1)
