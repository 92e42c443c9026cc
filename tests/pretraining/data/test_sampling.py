"""Which pairs are held out, and which make a batch."""

from itertools import chain

import numpy as np
import pytest

from skgeo_embed.pretraining.data import sampling
from skgeo_embed.pretraining.data.arrays import ArrayPairs
from skgeo_embed.pretraining.data.sampling import SharedRows, ShuffledBatches, split_pairs


def as_process(monkeypatch, rank, count):
    monkeypatch.setattr(sampling, "process_rank", lambda: rank)
    monkeypatch.setattr(sampling, "process_count", lambda: count)


@pytest.mark.parametrize("count", [1, 2, 4])
def test_processes_share_the_batches_of_one(monkeypatch, count):
    rows = list(range(100, 150))
    alone = list(ShuffledBatches(rows, 8, 0, lambda: (0, 0)))
    assert len(alone) == 6
    shares = []
    for rank in range(count):
        as_process(monkeypatch, rank, count)
        shares.append(list(ShuffledBatches(rows, 8, 0, lambda: (0, 0))))
    together = [list(chain(*parts)) for parts in zip(*shares, strict=True)]
    assert together == alone
    seen = list(chain(*together))
    assert len(seen) == len(set(seen)) == 48
    assert set(seen) <= set(rows)


def test_resuming_goes_on_with_the_next_batch():
    position = 0, 0
    batches = ShuffledBatches(list(range(40)), 8, 3, lambda: position)
    first = list(batches)
    position = 1, 0
    second = list(batches)
    assert first != second
    position = 0, 2
    assert list(batches) == first[2:]
    position = 1, 3
    assert list(batches) == second[3:]


def test_the_same_batches_in_every_epoch():
    position = 0, 0
    batches = ShuffledBatches(list(range(40)), 8, 3, lambda: position, 4, same_batches=True)
    first = list(batches)
    position = 3, 0
    assert list(batches) == first


def test_every_epoch_shows_the_next_view():
    rows, epochs = [3, 7, 9, 11], iter(range(6))
    batches = ShuffledBatches(rows, 2, 0, lambda: (next(epochs), 0), n_views=3)
    shown = {row: [] for row in rows}
    for _ in range(6):
        for item in chain(*batches):
            shown[item // 3].append(item % 3)
    for views in shown.values():
        assert np.all(np.diff(views) % 3 == 1)
    assert len({views[0] for views in shown.values()}) > 1


@pytest.mark.parametrize(("n_rows", "count"), [(10, 1), (10, 2), (11, 2), (5, 4), (2, 3)])
def test_validation_rows_are_dealt_evenly(monkeypatch, n_rows, count):
    rows, dealt = list(range(50, 50 + n_rows)), []
    for rank in range(count):
        as_process(monkeypatch, rank, count)
        shared = SharedRows(rows, 3, n_views=2)
        batches = list(shared)
        assert len(batches) == len(shared)
        dealt.append([item // 2 for item in chain(*batches)])
    assert len({len(part) for part in dealt}) == 1
    assert set(chain(*dealt)) == set(rows)


@pytest.mark.parametrize("kind", ["random", "blocks"])
@pytest.mark.parametrize("fraction", [0.0, 0.1, 0.5])
def test_split_is_a_partition(pairs, kind, fraction):
    train, val = split_pairs(ArrayPairs(*pairs), fraction, kind, 2, seed=0)
    assert sorted(train + val) == list(range(120))
    if kind == "random":
        assert len(val) == round(120 * fraction)
    assert len(val) == pytest.approx(120 * fraction, abs=5)
    assert split_pairs(ArrayPairs(*pairs), fraction, kind, 2, seed=0) == (train, val)
    if fraction:
        assert split_pairs(ArrayPairs(*pairs), fraction, kind, 2, seed=1) != (train, val)


def test_blocks_are_held_out_whole(pairs):
    lonlat = np.random.RandomState(0).uniform([10, 40], [12, 42], (400, 2))  # a region
    held = ArrayPairs(np.zeros((400, 1, 2, 2), np.float32), lonlat)
    train, val = split_pairs(held, 0.2, "blocks", 2, seed=0)
    distance = np.abs(lonlat[val][:, None] - lonlat[train][None]).max(axis=2).min(axis=1)
    near = np.abs(lonlat[val[::2]][:, None] - lonlat[val[1::2]][None]).max(axis=2).min(axis=1)
    assert 60 < len(val) < 100
    assert np.median(near) < np.median(distance)
