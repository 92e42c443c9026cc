import fcntl
import os
import pickle
import pty
import stat
import struct
import subprocess
import sys
import termios
import traceback

import numpy as np
import pytest

from skgeo_embed import Recipe, SatCLIPEncoder, SatCLIPImageEncoder, SatCLIPPretrainer
from skgeo_embed._errors import (
    ModelAccessError,
    ModelDownloadError,
    ModelFormatError,
    ModelNotFoundError,
)
from skgeo_embed.models.opening import open_backbone, open_location_encoder
from skgeo_embed.models.registry import BACKBONES, SATCLIP_CHECKPOINTS
from tests.hub_server import WRITE_TOKEN, Repository
from tests.satclip_checkpoint import checkpoint, to_bytes, without_vision

NAME = "microsoft/SatCLIP-ResNet18-L10"
FILE = "satclip-resnet18-l10.ckpt"


@pytest.fixture(scope="module")
def content():
    return to_bytes(checkpoint("resnet18_l10", keep=without_vision))


@pytest.fixture
def published(hub, content):
    hub.repositories[NAME] = Repository({FILE: content})
    return hub


def broken_files(folder):
    """Files of a cache that a later run could take for whole ones."""
    blobs = [p for p in folder.rglob("blobs/*") if p.is_file()]
    return [p for p in blobs if not p.name.endswith((".incomplete", ".lock"))]


@pytest.mark.parametrize("name", [NAME, "satclip-resnet18-l10", NAME.upper()])
def test_by_name(published, checkpoint_reference, name):
    points = checkpoint_reference["points_lonlat"]
    encoder = SatCLIPEncoder(name, dtype="float64").fit(points)
    np.testing.assert_allclose(
        encoder.transform(points), checkpoint_reference["resnet18_l10__location"], atol=1e-9
    )
    info = encoder.encoder_info_
    assert (info["name"], info["source"]) == ("satclip-resnet18-l10", "hub")
    assert info["revision"] == "a" * 40
    assert info["licence"] == "MIT"
    assert info["legendre_polys"] == 10
    assert info["layer"] == "embedding"


def test_second_time_comes_from_the_cache(published):
    SatCLIPEncoder(NAME).fit()
    assert published.downloads_of(FILE) == 1
    SatCLIPEncoder(NAME).fit()
    assert published.downloads_of(FILE) == 1
    published.requests_seen.clear()
    SatCLIPEncoder(NAME, local_files_only=True).fit()
    assert published.requests_seen == []


def test_first_download_shows_progress_on_a_terminal(published, tmp_path, monkeypatch):
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 100, 0, 0))
    with open(theirs, "w") as terminal:
        monkeypatch.setattr(sys, "stderr", terminal)
        SatCLIPEncoder(NAME, cache_dir=tmp_path / "elsewhere").fit()
    shown = os.read(ours, 65536).decode()
    os.close(ours)
    assert "100%" in shown
    assert list((tmp_path / "elsewhere").rglob(FILE))


def test_not_cached_and_local_only(published):
    with pytest.raises(ModelNotFoundError) as error:
        SatCLIPEncoder(NAME, local_files_only=True).fit()
    message = str(error.value)
    assert FILE in message
    assert "local_files_only=True" in message
    assert f"'path/to/{FILE}'" in message
    assert published.requests_seen == []


# what fit calls first, and all that touches network and cache: new processes need no torch for it
FETCH = f"""
from skgeo_embed.models.hub import HubOptions, fetch
print(fetch({NAME!r}, {FILE!r}, HubOptions()).sha256)
"""


def test_offline_by_environment(published, tmp_path):
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path)}
    result = subprocess.run(
        [sys.executable, "-c", FETCH], env=environment, capture_output=True, text=True
    )
    assert result.returncode == 1
    assert "HF_HUB_OFFLINE is set" in result.stderr.splitlines()[-1]


def test_pinned_revision(published, content):
    other = "b" * 40
    published.repositories[NAME].revisions["v1"] = other
    assert SatCLIPEncoder(NAME, revision="v1").fit().encoder_info_["revision"] == other
    with pytest.raises(ModelNotFoundError, match="no revision 'v9'"):
        SatCLIPEncoder(NAME, revision="v9").fit()


def test_no_such_repository(hub):
    with pytest.raises(ModelNotFoundError, match="'nobody/nothing' here, and the hub has no such"):
        SatCLIPEncoder("nobody/nothing").fit()


def test_no_such_file(hub):
    hub.repositories[NAME] = Repository({"README.md": b"hello"})
    with pytest.raises(ModelNotFoundError, match=f"has no file '{FILE}'"):
        SatCLIPEncoder(NAME).fit()
    hub.repositories["me/other"] = Repository({"README.md": b"hello"})
    with pytest.raises(ModelNotFoundError, match=r"has no file 'config\.json'"):
        SatCLIPEncoder("me/other").fit()


def test_gated(published, tmp_path):
    published.repositories[NAME].access = "gated"
    with pytest.raises(ModelAccessError, match=r"HTTP 401.*hf auth login"):
        SatCLIPEncoder(NAME).fit()
    with pytest.raises(PermissionError, match=r"HTTP 403.*Accept the terms"):
        SatCLIPEncoder(NAME, token="hf_other").fit()
    encoder = SatCLIPEncoder(NAME, token="hf_accepted").fit()
    assert b"hf_accepted" not in pickle.dumps(encoder)
    assert encoder.token == "hf_accepted"
    assert broken_files(tmp_path)


@pytest.mark.parametrize("token", ["hf_secret\n", "hf_s\0cret", "hf_sécret", " hf_secret", ""])
def test_a_token_that_no_request_can_carry_is_not_quoted(published, pretrainer, caplog, token):
    caplog.set_level("DEBUG")
    encoder = SatCLIPEncoder(NAME, token=token)
    for call in (encoder.fit, lambda: pretrainer.push_to_hub("me/colours", token=token)):
        with pytest.raises(ValueError, match=r"unlike any access token.*token\.strip") as caught:
            call()
        told = "".join(traceback.format_exception(caught.value)) + caplog.text
        assert not [line for line in told.splitlines() if "cret" in line]


def test_busy_hub(published):
    published.repositories[NAME].fault = "busy"
    with pytest.raises(ModelDownloadError, match=r"the hub answered HTTP 418.*try again later"):
        SatCLIPEncoder(NAME).fit()


def test_connection_refused(hub, monkeypatch):
    monkeypatch.setattr("huggingface_hub.utils._http.time.sleep", lambda _: None)  # its back-off
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", "http://127.0.0.1:9")
    template = "http://127.0.0.1:9/{repo_id}/resolve/{revision}/{filename}"
    for module in ("constants", "file_download"):  # the latter: before huggingface_hub 1.0
        name = f"huggingface_hub.{module}.HUGGINGFACE_CO_URL_TEMPLATE"
        monkeypatch.setattr(name, template, raising=False)
    with pytest.raises(ModelDownloadError, match=r"cannot be reached.*path/to/satclip") as error:
        SatCLIPEncoder(NAME).fit()
    assert isinstance(error.value, ConnectionError)


def test_truncated_body(published, tmp_path, monkeypatch):
    monkeypatch.setattr("huggingface_hub.file_download.time.sleep", lambda _: None)  # its retries
    published.repositories[NAME].fault = "truncated"
    with pytest.raises(ModelDownloadError, match=r"could not be fetched.*try again"):
        SatCLIPEncoder(NAME).fit()
    assert broken_files(tmp_path) == []
    published.repositories[NAME].fault = None
    SatCLIPEncoder(NAME).fit()


def test_hash_differs(published, tmp_path):
    published.repositories[NAME].fault = "corrupted"
    with pytest.raises(ModelDownloadError, match=r"arrived damaged.*was removed"):
        SatCLIPEncoder(NAME).fit()
    assert broken_files(tmp_path) == []
    published.repositories[NAME].fault = None
    SatCLIPEncoder(NAME).fit()


def test_read_only_cache(published, tmp_path):
    folder = tmp_path / "file-not-folder"
    folder.write_text("in the way")
    with pytest.raises(ModelDownloadError, match=r"cache_dir=\.\.\. chooses another"):
        SatCLIPEncoder(NAME, cache_dir=folder / "hub").fit()
    if os.geteuid():  # root writes everywhere
        locked = tmp_path / "locked"
        locked.mkdir()
        locked.chmod(stat.S_IRUSR | stat.S_IXUSR)
        with pytest.raises(ModelDownloadError, match="cache folder can be written"):
            SatCLIPEncoder(NAME, cache_dir=locked).fit()


@pytest.mark.skipif(not os.geteuid(), reason="root writes everywhere")
def test_cached_file_in_a_read_only_cache_is_used(published, tmp_path):
    SatCLIPEncoder(NAME, cache_dir=tmp_path / "cache").fit()
    for path in (tmp_path / "cache").rglob("*"):
        if path.is_dir():
            path.chmod(stat.S_IRUSR | stat.S_IXUSR)
    SatCLIPEncoder(NAME, cache_dir=tmp_path / "cache").fit()
    for path in (tmp_path / "cache").rglob("*"):
        if path.is_dir():
            path.chmod(stat.S_IRWXU)


def test_two_processes_at_once(published, tmp_path):
    environment = {**os.environ, "HF_HOME": str(tmp_path)}
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    processes = [
        subprocess.Popen([sys.executable, "-c", FETCH], env=environment, **pipes) for _ in range(2)
    ]
    results = [process.communicate() for process in processes]
    assert [process.returncode for process in processes] == [0, 0], results
    assert results[0][0] == results[1][0] != ""


def test_published_encoder_is_pickled_by_name(published):
    encoder = SatCLIPEncoder(NAME, token="hf_secret").fit()
    data = pickle.dumps(encoder)
    assert len(data) < 5000
    np.testing.assert_array_equal(
        pickle.loads(data).transform([[1, 2]]), encoder.transform([[1, 2]])
    )


def test_the_registry_holds_the_six(hub):
    assert len(SATCLIP_CHECKPOINTS) == 6
    for name, model in SATCLIP_CHECKPOINTS.items():
        assert model.file == f"{name}.ckpt"
        assert model.repository.lower() == f"microsoft/{name}"
        assert (model.harmonics == "published") == (model.legendre_polys == 40)


@pytest.mark.parametrize("repository", BACKBONES)
def test_backbones(hub, repository):
    import torch

    backbone = BACKBONES[repository]
    torch.manual_seed(0)
    tower = open_backbone(backbone.architecture)
    weights = {
        key: value
        for key, value in tower.state_dict().items()
        if not key.startswith(("fc.", "head."))
    }
    hub.repositories[repository] = Repository(
        {backbone.file: to_bytes(weights)}, commit=backbone.revision
    )
    opened = open_backbone(repository, embed_dim=7)
    for key, value in weights.items():
        assert torch.equal(opened.state_dict()[key], value)
    assert opened(torch.zeros(1, 13, 224, 224)).shape == (1, 7)
    assert opened.config["architecture"] == backbone.architecture


def test_unknown_backbone():
    with pytest.raises(ModelNotFoundError, match="torchgeo/resnet18_sentinel2_all_moco"):
        open_backbone("resnet1000")


@pytest.fixture(scope="module")
def pretrainer(pairs):
    return SatCLIPPretrainer(
        Recipe(legendre_polys=4, embed_dim=16, hidden_dim=32),
        max_epochs=1,
        batch_size=16,
        random_state=0,
        verbose=0,
    ).fit(*pairs)


def test_push_and_open_elsewhere(hub, pretrainer, pairs):
    images, coords = pairs
    url = pretrainer.push_to_hub(
        "me/colours", token=WRITE_TOKEN, licence="CC-BY-4.0", trained_on="colours"
    )
    assert url.startswith(hub.url)
    assert set(hub.repositories["me/colours"].files) == {
        "README.md",
        "config.json",
        "model.safetensors",
    }
    card = hub.repositories["me/colours"].files["README.md"].decode()
    assert "SatCLIPEncoder('me/colours')" in card
    assert "license: cc-by-4.0" in card
    encoder = SatCLIPEncoder.from_pretrained("me/colours")
    np.testing.assert_array_equal(
        encoder.transform(coords), pretrainer.location_encoder_.transform(coords)
    )
    assert encoder.encoder_info_["revision"] == hub.repositories["me/colours"].commit
    assert encoder.encoder_info_["trained_on"] == "colours"
    towers = SatCLIPImageEncoder.from_pretrained("me/colours", batch_size=7)
    np.testing.assert_allclose(
        towers.transform(images), pretrainer.image_encoder_.transform(images), atol=1e-6
    )


def test_push_needs_a_token_that_may_write(hub, pretrainer):
    with pytest.raises(ModelAccessError, match=r"me/colours was not written.*may write"):
        pretrainer.push_to_hub("me/colours", token="hf_reader")
    assert "me/colours" not in hub.repositories


def test_published_checkpoint_becomes_a_small_folder(published, tmp_path):
    encoder = SatCLIPEncoder(NAME, dtype="float64").fit()
    folder = encoder.save_pretrained(tmp_path / "small")
    again = SatCLIPEncoder(folder, dtype="float64").fit()
    np.testing.assert_array_equal(again.transform([[1, 2]]), encoder.transform([[1, 2]]))
    assert again.encoder_info_["licence"] == "MIT"
    assert "spherical harmonics, L = 10" in (folder / "README.md").read_text()


def test_location_tower_alone_is_shared(published):
    first = open_location_encoder(NAME)
    assert open_location_encoder("satclip-resnet18-l10").engine is first.engine
    assert open_location_encoder(NAME, harmonics="published").engine is not first.engine


def test_pickle_opens_the_commit_it_was_made_with(published, content):
    encoder = SatCLIPEncoder(NAME).fit()
    data = pickle.dumps(encoder)
    expected = encoder.transform([[1, 2]])
    del encoder
    published.repositories[NAME].commit = "c" * 40
    published.repositories[NAME].files[FILE] = content[:100]
    np.testing.assert_array_equal(pickle.loads(data).transform([[1, 2]]), expected)


def test_foreign_repository_is_refused_before_its_weights(hub):
    files = {"config.json": b'{"model_type": "bert"}', "model.safetensors": b"gigabytes"}
    hub.repositories["me/bert"] = Repository(files)
    with pytest.raises(ModelFormatError, match="not written by skgeo_embed"):
        SatCLIPEncoder("me/bert").fit()
    assert hub.downloads_of("model.safetensors") == 0


def test_read_only_cache_with_the_file_is_enough(published, monkeypatch):
    SatCLIPEncoder(NAME).fit()
    import huggingface_hub

    def refuse(*_, **__):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", refuse)
    SatCLIPEncoder(NAME).fit()
    with pytest.raises(ModelDownloadError, match="cache folder can be written"):
        SatCLIPEncoder("satclip-vit16-l10").fit()


def test_damaged_cache_without_network(published, tmp_path):
    SatCLIPEncoder(NAME).fit()
    (blob,) = broken_files(tmp_path)
    blob.write_bytes(b"damaged")
    with pytest.raises(ModelDownloadError, match=r"cached copy is damaged.*with the network"):
        SatCLIPEncoder(NAME, local_files_only=True).fit()


def test_hub_id_that_leads_nowhere_lists_the_known_ones(hub):
    with pytest.raises(ModelNotFoundError, match=r"no such repository.*'satclip-vit16-l40'"):
        SatCLIPEncoder("microsoft/SatCLIP-ViT16-L41").fit()


def test_bad_repository_name(pretrainer):
    with pytest.raises(ModelNotFoundError, match="cannot be the name of a repository"):
        pretrainer.push_to_hub("bad name!", token=WRITE_TOKEN)


def test_training_from_moco_weights(hub, pairs):
    import torch

    repository = "torchgeo/resnet18_sentinel2_all_moco"
    torch.manual_seed(0)
    weights = {
        key: value
        for key, value in open_backbone("resnet18").state_dict().items()
        if not key.startswith("fc.")
    }
    backbone = BACKBONES[repository]
    hub.repositories[repository] = Repository(
        {backbone.file: to_bytes(weights)}, commit=backbone.revision
    )
    images = np.repeat(pairs[0][:40], 4, axis=1)  # 12 bands
    trained = SatCLIPPretrainer(
        Recipe(legendre_polys=4, hidden_dim=16, embed_dim=8),
        vision_tower=repository,
        max_epochs=1,
        batch_size=16,
        verbose=0,
    ).fit(images, pairs[1][:40])
    state = trained.model_.visual.state_dict()
    for key, value in weights.items():  # running statistics of frozen norms included
        assert torch.equal(state[key], value), key
    assert trained.image_encoder_.transform(images).shape == (40, 8)


def test_backbone_that_runs_code_is_refused(hub, tmp_path):
    from tests.models.test_lightning_file import Hostile

    repository = "torchgeo/resnet18_sentinel2_all_moco"
    backbone = BACKBONES[repository]
    hub.repositories[repository] = Repository(
        {backbone.file: to_bytes({"x": Hostile(tmp_path / "owned")})}, commit=backbone.revision
    )
    with pytest.raises(ModelFormatError, match="was not opened"):
        open_backbone(repository)
    assert not (tmp_path / "owned").exists()
