"""Features on their way from a card; without one, its copies and events are emulated."""

from types import SimpleNamespace

import pytest
import torch

from skgeo_embed.nn.inference import transfer

PIECES = [(slice(i, i + 2), torch.full((2, 3), float(i))) for i in range(5)]


class LateEvent:
    """Values arrive when somebody waits for them, and not before."""

    late: list = []

    def record(self, stream):
        self.copies, LateEvent.late[:] = list(LateEvent.late), []

    def synchronize(self):
        for target, values in self.copies:
            target.fill_(values[0, 0])


class LateBuffer:
    def __init__(self):
        self.held = torch.empty(2, 3)

    def like(self, values):
        held = self.held

        def copy(values, non_blocking):
            assert non_blocking
            LateEvent.late.append((held, values.clone()))

        held.copy_ = copy
        return held


@pytest.fixture
def late_copies(monkeypatch):
    LateEvent.late.clear()
    monkeypatch.setattr(transfer, "_Buffer", LateBuffer)
    cuda = SimpleNamespace(Event=LateEvent, current_stream=lambda device: None)
    monkeypatch.setattr(transfer.torch, "cuda", cuda)


def test_values_are_waited_for_and_not_overwritten(late_copies):
    found = transfer.copied_from_card(iter(PIECES), SimpleNamespace(type="cuda"))
    for (where, values), (expected_where, expected) in zip(found, PIECES, strict=True):
        assert where == expected_where
        assert torch.equal(values, expected)


def test_the_card_works_on_the_next_piece_meanwhile(late_copies):
    begun = []

    def pieces():
        for number, piece in enumerate(PIECES):
            begun.append(number)
            yield piece

    found = transfer.copied_from_card(pieces(), SimpleNamespace(type="cuda"))
    next(found)
    assert begun == [0, 1]


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a card")
def test_on_a_card():
    pieces = [(i, torch.full((1 + i % 3, 4), float(i), device="cuda")) for i in range(9)]
    for number, (where, values) in enumerate(
        transfer.copied_from_card(iter(pieces), torch.device("cuda"))
    ):
        assert where == number
        assert values.is_pinned()
        assert torch.equal(values, torch.full((1 + number % 3, 4), float(number)))
