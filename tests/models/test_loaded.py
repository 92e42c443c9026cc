"""What encoders of one process share, what copies and pickles carry, what saving again keeps."""

import copy
import json
import multiprocessing
import os
import pickle
import subprocess
import sys
import textwrap
import threading
from pathlib import Path

import numpy as np
import pytest
import torch
from joblib import Parallel, delayed
from sklearn.base import clone

from skgeo_embed import (
    GeoCLIPEncoder,
    Recipe,
    SatCLIPEncoder,
    SatCLIPImageEncoder,
    SatCLIPPretrainer,
)
from skgeo_embed._errors import ModelAccessError
from skgeo_embed._files import file_sha256
from skgeo_embed.models import opening
from skgeo_embed.models.folder import CONFIG_NAME, WEIGHTS_NAME, write_folder
from skgeo_embed.models.hub import HubOptions, fetch
from skgeo_embed.nn.inference.locks import ForkSafeLock
from skgeo_embed.nn.location import LocationEncoder
from tests.hub_server import Repository
from tests.third_party_recipe import geoclip_weights

POINTS = np.array([[7.83, 36.83], [-122.3, 38.5]])


class Doubled(LocationEncoder):
    """A user's own class, with a forward of its own."""

    def forward(self, lonlat, layer="embedding"):
        return 2 * super().forward(lonlat, layer)


def test_a_subclass_runs_its_own_forward(tmp_path):
    torch.manual_seed(0)
    own = Doubled(6, 8, 16)
    plain = LocationEncoder(6, 8, 16)
    plain.load_state_dict(own.state_dict())
    expected = 2 * SatCLIPEncoder(plain, dtype="float64").fit().transform(POINTS)
    encoder = SatCLIPEncoder(own, dtype="float64").fit()
    np.testing.assert_allclose(encoder.transform(POINTS), expected, atol=1e-12)
    grid = encoder.transform_grid(POINTS[:, 0], POINTS[:, 1])
    np.testing.assert_allclose(grid[[0, 1], [0, 1]], expected, atol=1e-12)
    again = pickle.loads(pickle.dumps(encoder))
    np.testing.assert_allclose(again.transform(POINTS), expected, atol=1e-12)
    with pytest.raises(TypeError, match="Doubled is a class of your own"):
        encoder.save_pretrained(tmp_path / "own")
    with pytest.raises(ValueError, match="a class of your own"):
        SatCLIPEncoder(own, harmonics="published").fit()


def test_another_licence_while_the_older_encoder_lives(tmp_path, small_location):
    first = SatCLIPEncoder(small_location).fit()
    folder = first.save_pretrained(tmp_path / "mine", licence="MIT")
    older = SatCLIPEncoder(folder).fit()
    first.save_pretrained(folder, licence="CC-BY-4.0", trained_on="clouds")
    newer = SatCLIPEncoder(folder).fit()
    assert newer.encoder_info_["licence"] == "CC-BY-4.0"
    assert newer.encoder_info_["trained_on"] == "clouds"
    assert older.encoder_info_["licence"] == "MIT"
    assert older._encoder.engine is newer._encoder.engine


def test_saving_again_keeps_what_is_known(tmp_path):
    encoder = SatCLIPEncoder("bluemarble-l10").fit()
    saved = encoder.save_pretrained(tmp_path / "once")
    again = SatCLIPEncoder(saved).fit().save_pretrained(tmp_path / "twice")
    config = json.loads((again / "config.json").read_text())
    assert config["training"]["batch_size"] > 0
    assert config["made_from"]["name"] == "once"
    assert config["made_from"]["made_from"]["name"] == "bluemarble-l10"
    assert config["licence"] == encoder.encoder_info_["licence"]
    np.testing.assert_array_equal(
        SatCLIPEncoder(again).fit().transform(POINTS), encoder.transform(POINTS)
    )


@pytest.mark.parametrize("network", ["siren", "mlp", "fcnet", "linear"])
def test_every_network_can_be_saved(tmp_path, network):
    torch.manual_seed(0)
    encoder = SatCLIPEncoder(LocationEncoder(4, 8, 16, 3, network=network)).fit()
    again = SatCLIPEncoder(encoder.save_pretrained(tmp_path / network)).fit()
    np.testing.assert_array_equal(again.transform(POINTS), encoder.transform(POINTS))


class TwoParts(torch.nn.Module):
    """A user's tower whose children are named like those of our wrapper."""

    def __init__(self, width=16):
        super().__init__()
        self.tower = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(192, 10))
        self.head = torch.nn.Linear(10, width)

    def forward(self, images):
        return self.head(self.tower(images))


@pytest.mark.parametrize("width", [16, 12])
def test_a_tower_with_a_tower_and_a_head_opens_again(tmp_path, pairs, width):
    torch.manual_seed(0)
    trained = SatCLIPPretrainer(
        Recipe(legendre_polys=4, embed_dim=16, hidden_dim=16),
        vision_tower=TwoParts(width),
        max_epochs=1,
        batch_size=16,
        verbose=0,
        feature_cache=None,
    ).fit(*pairs)
    folder = trained.save_pretrained(tmp_path / "own")
    opened = SatCLIPImageEncoder(folder, vision_tower=TwoParts(width)).fit()
    np.testing.assert_allclose(
        opened.transform(pairs[0]), trained.image_encoder_.transform(pairs[0]), atol=1e-6
    )


def test_opening_an_image_tower_leaves_the_random_state_alone():
    torch.manual_seed(7)
    expected = torch.rand(3)
    torch.manual_seed(7)
    SatCLIPImageEncoder("bluemarble-l10").fit()
    assert torch.equal(torch.rand(3), expected)


def test_bundled_image_towers_travel_by_name():
    encoder = SatCLIPImageEncoder("bluemarble-l10").fit()
    data = pickle.dumps(encoder)
    assert len(data) < 3000
    images = np.random.RandomState(0).rand(3, 3, 16, 16).astype(np.float32)
    np.testing.assert_array_equal(pickle.loads(data).transform(images), encoder.transform(images))


# --- the hub


@pytest.fixture
def private(hub, tmp_path, small_location):
    """A repository that only those with a token may read."""
    folder = tmp_path / "made"
    weights = {f"location.{k}": v for k, v in small_location.state_dict().items()}
    write_folder(folder, {"location": small_location.config, "licence": "MIT"}, weights, "card")
    files = {name: (folder / name).read_bytes() for name in (CONFIG_NAME, WEIGHTS_NAME)}
    hub.repositories["me/private"] = Repository(files, access="gated")
    return hub


def _fit_and_say(encoder):
    return encoder.fit().transform(POINTS), os.getpid()


def test_tokens_reach_copies_and_workers_and_no_pickle(private, tmp_path):
    encoder = SatCLIPEncoder("me/private", token="hf_accepted", cache_dir=tmp_path / "cache")
    assert b"hf_accepted" not in pickle.dumps(encoder)
    assert copy.deepcopy(encoder).token == "hf_accepted"
    assert clone(encoder).token == "hf_accepted"
    results = Parallel(n_jobs=2)(delayed(_fit_and_say)(encoder) for _ in range(2))
    assert os.getpid() not in {process for _, process in results}
    encoder.fit()
    np.testing.assert_array_equal(results[0][0], encoder.transform(POINTS))
    assert b"hf_accepted" not in pickle.dumps(encoder)
    with pytest.raises(ModelAccessError, match="gated"):
        SatCLIPEncoder("me/private", cache_dir=tmp_path / "other").fit()


def test_a_lent_token_is_for_this_user_and_goes_with_the_process(tmp_path):
    code = """
        import pickle, sys
        from pathlib import Path
        from skgeo_embed import SatCLIPEncoder
        data = pickle.dumps(SatCLIPEncoder("x/y", token="hf_secret"))
        Path(sys.argv[1]).write_bytes(data)
        from skgeo_embed.models import tokens
        (folder,) = tokens._folders.values()
        (file,) = folder.iterdir()
        print(oct(folder.stat().st_mode)[-3:], oct(file.stat().st_mode)[-3:], file)
    """
    out = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code), str(tmp_path / "pickle")],
        capture_output=True, text=True, check=True,
    ).stdout.split()  # fmt: skip
    assert out[:2] == ["700", "600"]
    assert not Path(out[2]).exists()
    assert pickle.loads((tmp_path / "pickle").read_bytes()).token is None


def test_a_token_that_is_not_there(hub, tmp_path):
    with pytest.raises(ModelAccessError, match=r"token=True, but you are not logged in"):
        SatCLIPEncoder("me/private", token=True, cache_dir=tmp_path).fit()


def test_geoclip_of_the_hub_travels(hub, tmp_path):
    from safetensors.torch import save

    files = {
        "config.json": b'{"model_type": "geoclip-location-encoder"}',
        "model.safetensors": save(geoclip_weights()),
    }
    hub.repositories["me/geoclip"] = Repository(files)
    encoder = GeoCLIPEncoder("me/geoclip").fit()
    expected = encoder.transform(POINTS)
    assert encoder.encoder_info_["revision"] == "a" * 40
    data = pickle.dumps(encoder)
    assert len(data) < 4000
    del encoder
    hub.repositories["me/geoclip"].commit = "c" * 40  # the branch moved on
    np.testing.assert_array_equal(pickle.loads(data).transform(POINTS), expected)


def test_config_and_weights_are_of_one_commit(hub, private, tmp_path):
    repository = private.repositories["me/private"]
    repository.access = "public"
    encoder = SatCLIPEncoder("me/private", cache_dir=tmp_path / "cache").fit()
    asked = [path for method, path in hub.requests_seen if method == "GET"]
    assert asked[0].endswith("main/config.json")
    assert asked[-1].endswith(f"{'a' * 40}/model.safetensors")
    assert encoder.encoder_info_["revision"] == "a" * 40


def test_a_cache_below_a_folder_named_snapshots(private, tmp_path):
    private.repositories["me/private"].access = "public"
    cache = tmp_path / "snapshots" / "of" / "mine"
    encoder = SatCLIPEncoder("me/private", cache_dir=cache).fit()
    assert encoder.encoder_info_["revision"] == "a" * 40
    assert fetch("me/private", CONFIG_NAME, HubOptions(cache_dir=cache)).commit == "a" * 40


@pytest.mark.parametrize("commit", ["../../../outside", "/tmp/outside", "..", "a/b"])
def test_commits_with_a_path_are_refused(private, tmp_path, commit):
    """The client said "invalid pointer path" of them, and neither of which file nor of whom."""
    from skgeo_embed._errors import ModelDownloadError

    private.repositories["me/private"].access = "public"
    private.repositories["me/private"].commit = commit
    with pytest.raises(ModelDownloadError, match=r"config\.json of me/private.*by the commit '"):
        SatCLIPEncoder("me/private", cache_dir=tmp_path / "cache").fit()
    assert not [path for path in (tmp_path / "cache").rglob("*") if path.is_file()]


def test_etags_with_a_path_are_refused(private, tmp_path):
    from skgeo_embed._errors import ModelDownloadError

    private.repositories["me/private"].access = "public"
    private.repositories["me/private"].etag = "../../../../outside"
    with pytest.raises(ModelDownloadError, match=r"ETag '\.\./\.\./\.\./\.\./outside'"):
        SatCLIPEncoder("me/private", cache_dir=tmp_path / "cache").fit()
    assert not list(tmp_path.rglob("outside*"))


# --- forks


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
def test_a_child_forked_while_a_lock_is_held_can_take_it():
    lock = ForkSafeLock()
    held, done = threading.Event(), threading.Event()

    def hold():
        with lock:
            held.set()
            done.wait(30)

    holder = threading.Thread(target=hold)
    holder.start()
    held.wait(30)
    context = multiprocessing.get_context("fork")
    child = context.Process(target=_take, args=(lock,))
    child.start()
    child.join(20)
    alive = child.is_alive()
    child.kill()
    done.set()
    holder.join()
    assert not alive
    assert child.exitcode == 0


def _take(lock):
    with lock:
        pass


FORKS = """
import os, signal, threading, time, torch
torch.set_num_threads(1)  # torch itself hangs in forks of a process with several
from skgeo_embed import SatCLIPEncoder

encoder = SatCLIPEncoder("bluemarble-l10", device="cpu")
encoder.fit_transform([[3.0, 4.0]])
stopped = threading.Event()

def keep_fitting():
    while not stopped.is_set():
        encoder.fit()

thread = threading.Thread(target=keep_fitting)
thread.start()
finished = 0
for _ in range(12):
    time.sleep(0.01)
    child = os.fork()
    if not child:
        signal.alarm(10)
        SatCLIPEncoder("bluemarble-l10", device="cpu").fit_transform([[3.0, 4.0]])
        os._exit(0)
    finished += os.waitpid(child, 0)[1] == 0
stopped.set()
thread.join()
print(finished)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.slow
def test_children_of_a_process_that_is_fitting_can_fit():
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", FORKS], capture_output=True, text=True, timeout=280
    )
    assert done.stdout.strip() == "12", done.stderr


def test_a_bundled_file_is_hashed_once_and_anew_when_it_changes(tmp_path, monkeypatch):
    """A search fits its encoder hundreds of times; weights that changed must be noticed."""
    folder = tmp_path / "bundled"
    write_small(folder, seed=0)
    monkeypatch.setitem(opening.BUNDLED, "bundled-here", str(folder))
    monkeypatch.setattr(opening, "WEIGHTS_FOLDER", tmp_path)
    read = []
    monkeypatch.setattr(opening, "file_sha256", lambda path: read.append(path) or file_sha256(path))
    first = SatCLIPEncoder("bundled-here").fit()
    assert SatCLIPEncoder("bundled-here").fit().encoder_info_ == first.encoder_info_
    assert len(read) == 1
    write_small(folder, seed=1)
    other = SatCLIPEncoder("bundled-here").fit()
    assert other.encoder_info_["sha256"] != first.encoder_info_["sha256"]
    assert not np.allclose(other.transform(POINTS), first.transform(POINTS))
    SatCLIPEncoder(folder).fit()
    SatCLIPEncoder(folder).fit()
    assert len(read) == 4  # a user's folder is read each time


def write_small(folder, seed):
    torch.manual_seed(seed)
    encoder = LocationEncoder(6, 8, 16)
    weights = {f"location.{key}": value for key, value in encoder.state_dict().items()}
    config = {"name": "small", "location": encoder.config}
    write_folder(folder, config, weights, "A card")
