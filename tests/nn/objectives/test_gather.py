"""Two real processes against one: the loss over gathered rows and its gradient."""

import os

import torch
import torch.distributed as dist
import torch.multiprocessing as mp

from skgeo_embed.nn.objectives.gather import gather_rows, process_count, process_rank
from skgeo_embed.nn.objectives.loss import contrastive_loss, gathered_contrastive_loss


def _towers():
    torch.manual_seed(0)
    scale = torch.nn.Parameter(torch.tensor(1.5))
    return torch.nn.Linear(6, 4).double(), torch.nn.Linear(3, 4).double(), scale


def _data():
    generator = torch.Generator().manual_seed(1)
    return (torch.randn(8, width, generator=generator).double() for width in (6, 3))


def _embed(towers, images, places):
    normalize = torch.nn.functional.normalize
    return normalize(towers[0](images), dim=1), normalize(towers[1](places), dim=1), towers[2]


def _parameters(towers):
    return [*towers[0].parameters(), *towers[1].parameters(), towers[2]]


def _one_of_two(rank, folder):
    dist.init_process_group("gloo", init_method=f"file://{folder}/meeting", rank=rank, world_size=2)
    towers = _towers()
    images, places = (part[4 * rank : 4 * rank + 4] for part in _data())
    loss = gathered_contrastive_loss(*_embed(towers, images, places))
    loss.backward()
    gradients = [p.grad for p in _parameters(towers)]
    for gradient in gradients:  # what DistributedDataParallel does
        dist.all_reduce(gradient)
        gradient /= 2
    mean = loss.detach().clone()
    dist.all_reduce(mean)
    rows = gather_rows(torch.full((1,), float(process_rank())))
    content = {"loss": mean / 2, "gradients": gradients, "rows": rows, "count": process_count()}
    torch.save(content, os.path.join(folder, f"{rank}.pt"))
    dist.destroy_process_group()


def test_loss_and_gradients_equal_one_process(tmp_path):
    mp.spawn(_one_of_two, args=(str(tmp_path),), nprocs=2)
    towers = _towers()
    expected = contrastive_loss(*_embed(towers, *_data()))
    expected.backward()
    for rank in (0, 1):
        found = torch.load(tmp_path / f"{rank}.pt")
        torch.testing.assert_close(found["loss"], expected.detach())
        for ours, theirs in zip(found["gradients"], _parameters(towers), strict=True):
            torch.testing.assert_close(ours, theirs.grad)
        assert found["rows"].tolist() == [0.0, 1.0]
        assert found["count"] == 2


def test_alone_nothing_is_gathered():
    rows = torch.rand(3, 2)
    assert gather_rows(rows) is rows
    assert (process_rank(), process_count()) == (0, 1)
