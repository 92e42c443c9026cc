"""How many threads compute a batch, by a clock that the tests set."""

import itertools

import numpy as np
import pytest
import threadpoolctl
import torch

from skgeo_embed import SatCLIPEncoder
from skgeo_embed.nn.inference import thread_choice
from skgeo_embed.nn.inference.thread_choice import (
    ALL,
    ONE,
    BatchCosts,
    ThreadChoice,
    worthwhile_threads,
)


@pytest.fixture(autouse=True)
def _new_process(monkeypatch):
    monkeypatch.setattr(BatchCosts, "_latest", ALL)
    monkeypatch.setattr(thread_choice, "_probed", [])


@pytest.fixture
def several_threads():
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    with threadpoolctl.threadpool_limits(2):
        yield
    torch.set_num_threads(before)


def run_batches(costs, seconds_of, n_batches, now=0.0):
    """Choices of so many batches, and the time after them; costs are per batch, in seconds."""
    choices = []
    for number in range(n_batches):
        alone = costs.choose(now)
        seconds = seconds_of(alone, number)
        now += seconds
        costs.note(alone, seconds, seconds, now)
        choices.append(alone)
    return choices, now


def test_quiet_machine_keeps_all_threads_and_looks_seldom():
    choices, _ = run_batches(BatchCosts(), lambda alone, _: 0.018 if alone else 0.010, 2000)
    assert choices[0] == ALL
    assert 2 <= choices.count(ONE) <= 12  # 1.01 of the time with all threads


def test_busy_machine_takes_one_thread_and_costs_little_more():
    choices, total = run_batches(BatchCosts(), lambda alone, _: 0.018 if alone else 0.15, 1000)
    assert choices[-1] == ONE
    assert total < 1.1 * 1000 * 0.018


def test_a_machine_that_becomes_busy_and_quiet_again_is_noticed():
    costs = BatchCosts()
    _, now = run_batches(costs, lambda alone, _: 0.018 if alone else 0.010, 200)
    busy, now = run_batches(costs, lambda alone, _: 0.020 if alone else 0.15, 400, now)
    assert busy[-1] == ONE
    assert busy.count(ALL) < 20
    quiet, _ = run_batches(costs, lambda alone, _: 0.018 if alone else 0.010, 2000, now)
    assert quiet[-1] == ALL


def test_one_slow_batch_on_a_quiet_machine_changes_nothing():
    def seconds(alone, number):
        return 0.018 if alone else 0.2 if number % 50 == 30 else 0.010

    choices, _ = run_batches(BatchCosts(), seconds, 1000)
    assert choices.count(ONE) < 20


def test_a_new_kind_of_batch_begins_with_what_was_best_last():
    run_batches(BatchCosts(), lambda alone, _: 0.018 if alone else 0.15, 10)
    assert BatchCosts().choose(0.0) == ONE


def test_the_choice_holds_for_the_batch_alone(several_threads, monkeypatch):
    alone = iter(itertools.cycle([ONE, ALL]))
    monkeypatch.setattr(BatchCosts, "choose", lambda self, now: next(alone))
    threads, choice = [], ThreadChoice()
    for _ in range(4):
        with choice.batch("kind", 100):
            threads.append(torch.get_num_threads())
        assert torch.get_num_threads() == 2
    assert threads == [1, 2, 1, 2]


def test_other_python_threads_keep_theirs(several_threads, monkeypatch):
    from concurrent.futures import ThreadPoolExecutor

    monkeypatch.setattr(BatchCosts, "choose", lambda self, now: ONE)
    with ThreadPoolExecutor(1) as pool, ThreadChoice().batch("kind", 100):
        assert torch.get_num_threads() == 1
        assert pool.submit(torch.get_num_threads).result() == 2


@pytest.mark.parametrize("layer", ["hidden", "embedding"])
@pytest.mark.parametrize("n_places", [1, 300, 9000])
def test_features_are_the_same_to_the_last_bit(several_threads, monkeypatch, layer, n_places):
    rng = np.random.RandomState(0)
    lonlat = np.column_stack([rng.uniform(-180, 180, n_places), rng.uniform(-90, 90, n_places)])
    encoder = SatCLIPEncoder(layer=layer).fit()
    found = {}
    for alone in (ONE, ALL):
        monkeypatch.setattr(BatchCosts, "choose", lambda self, now, alone=alone: alone)
        found[alone] = encoder.transform(lonlat)
    np.testing.assert_array_equal(found[ONE], found[ALL])


@pytest.mark.parametrize(("together", "expected"), [(100.0, 1), (190.0, 2)])
def test_fits_use_one_thread_where_several_wait(several_threads, monkeypatch, together, expected):
    rates = iter([100.0, together])  # alone, then with all threads
    monkeypatch.setattr(thread_choice, "_steps_a_second", lambda *_: next(rates))
    for _ in range(2):  # the second asks nothing anew
        with worthwhile_threads():
            assert torch.get_num_threads() == expected
        assert torch.get_num_threads() == 2
