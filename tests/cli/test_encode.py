import json
import signal
import subprocess
import sys

import numpy as np
import pandas as pd
import pyarrow.parquet as parquet
import pytest

from skgeo_embed import SatCLIPEncoder
from skgeo_embed.cli import encode, main


@pytest.fixture
def table(tmp_path, monkeypatch):
    """A table of 1,000 rows in row groups of 130; batches are 300 rows."""
    monkeypatch.setattr(encode, "MIN_BATCH_ROWS", 300)
    monkeypatch.setattr(encode, "BATCH_BYTES", 1)
    rng = np.random.RandomState(0)
    frame = pd.DataFrame(
        {
            "city": rng.choice(["a", "b", None], 1000),
            "lat": rng.uniform(-90, 90, 1000),
            "lon": rng.uniform(-180, 360, 1000),
            "when": pd.date_range("2020-01-01", periods=1000),
        }
    )
    frame.to_parquet(tmp_path / "in.parquet", row_group_size=130, index=False)
    frame.to_csv(tmp_path / "in.csv", index=False)
    return frame


@pytest.fixture
def features(table):
    return SatCLIPEncoder("bluemarble-l10").fit().transform(table[["lon", "lat"]])


def run(folder, source="in.parquet", output="out.parquet", *more):
    paths = [str(folder / source), str(folder / output)]
    return main(["encode", *paths, "--model", "bluemarble-l10", *more])


@pytest.mark.parametrize("source", ["in.parquet", "in.csv"])
@pytest.mark.parametrize("output", ["out.parquet", "out.csv"])
def test_features_are_added(table, features, tmp_path, capsys, source, output):
    assert run(tmp_path, source, output) == 0
    shown = capsys.readouterr()
    assert f"wrote 1,000 rows with {features.shape[1]} features" in shown.out
    assert shown.err == ""  # no progress bar where nobody looks
    read = pd.read_csv if output.endswith("csv") else pd.read_parquet
    written = read(tmp_path / output)
    assert list(written.columns[:4]) == list(table.columns)
    assert written["city"].isna().tolist() == table["city"].isna().tolist()
    np.testing.assert_allclose(written.iloc[:, 4:], features, atol=1e-5)
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted(["in.parquet", "in.csv", output])


def test_batches_do_not_depend_on_row_groups(table, tmp_path):
    assert run(tmp_path) == 0
    assert [
        parquet.ParquetFile(tmp_path / "out.parquet").metadata.row_group(i).num_rows
        for i in range(4)
    ] == [300, 300, 300, 100]


@pytest.mark.parametrize("source", ["in.parquet", "in.csv"])
def test_an_interrupted_run_goes_on(table, features, tmp_path, capsys, monkeypatch, source):
    transform, calls = SatCLIPEncoder.transform, []

    def interrupted(self, X):
        calls.append(len(X))
        if len(calls) == 3:
            raise KeyboardInterrupt
        return transform(self, X)

    monkeypatch.setattr(SatCLIPEncoder, "transform", interrupted)
    assert run(tmp_path, source) == 130
    assert "interrupted; 600 rows are kept in" in capsys.readouterr().err
    assert not (tmp_path / "out.parquet").exists()

    assert run(tmp_path, source, "out.parquet", "--layer", "embedding") == 1
    assert "run with another --layer; add --restart" in capsys.readouterr().err

    assert run(tmp_path, source) == 0
    assert "going on after 600 rows" in capsys.readouterr().out
    assert calls == [300, 300, 300, 300, 100]
    written = pd.read_parquet(tmp_path / "out.parquet")
    np.testing.assert_allclose(written.iloc[:, 4:], features, atol=1e-5)


def test_a_killed_run_goes_on(table, features, tmp_path):
    code = (
        "import os, signal\n"
        "from skgeo_embed.cli import encode, main\n"
        "encode.MIN_BATCH_ROWS, encode.BATCH_BYTES = 300, 1\n"
        "save, count = encode.Parts._save, []\n"
        "def kill(self):\n"
        "    count.append(1)\n"
        "    if len(count) == 4: os.kill(os.getpid(), signal.SIGKILL)\n"
        "    save(self)\n"
        "encode.Parts._save = kill\n"
        f"main(['encode', {str(tmp_path / 'in.parquet')!r}, {str(tmp_path / 'out.parquet')!r}, "
        "'--model', 'bluemarble-l10'])"
    )
    killed = subprocess.run([sys.executable, "-c", code])
    assert killed.returncode == -signal.SIGKILL
    parts = tmp_path / "out.parquet.parts"
    assert json.loads((parts / "progress.json").read_text())["rows"] == [300, 300]
    assert run(tmp_path) == 0
    written = pd.read_parquet(tmp_path / "out.parquet")
    np.testing.assert_allclose(written.iloc[:, 4:], features, atol=1e-5)
    assert not parts.exists()


def test_restart_forgets(table, tmp_path, monkeypatch, capsys):
    parts = tmp_path / "out.parquet.parts"
    parts.mkdir()
    (parts / "progress.json").write_text('{"of": {}, "rows": [300], "bad": 0, "first_bad": []}')
    assert run(tmp_path) == 1
    assert run(tmp_path, "in.parquet", "out.parquet", "--restart") == 0
    assert "going on" not in capsys.readouterr().out


def test_bad_rows(table, features, tmp_path, capsys):
    table.loc[[3, 650], "lat"] = np.nan
    table.loc[999, "lon"] = 999.0
    table.to_parquet(tmp_path / "in.parquet", index=False)
    assert run(tmp_path) == 1
    shown = capsys.readouterr().err
    assert "row 3" in shown
    assert "--on-invalid nan" in shown
    assert not (tmp_path / "out.parquet.parts").exists()
    assert run(tmp_path, "in.parquet", "out.parquet", "--on-invalid", "nan") == 0
    assert "features of 3 rows null" in (out := capsys.readouterr().out)
    assert "rows 3, 650, 999 (the first row is 0)" in out
    written = parquet.read_table(tmp_path / "out.parquet")
    column = written.column(written.num_columns - 1)
    assert column.null_count == 3
    assert np.flatnonzero(column.is_null().to_numpy()).tolist() == [3, 650, 999]


def test_columns_by_name(table, tmp_path, capsys):
    table.rename(columns={"lon": "x", "lat": "y"}).to_parquet(tmp_path / "in.parquet")
    assert run(tmp_path) == 1
    assert "Recognised: none; say it with --lon. The columns are city, y, x" in (
        capsys.readouterr().err
    )
    assert run(tmp_path, "in.parquet", "out.parquet", "--lon", "x", "--lat", "y") == 0
    assert run(tmp_path, "in.parquet", "out2.parquet", "--lon", "z", "--lat", "y") == 1
    assert "--lon z" in capsys.readouterr().err
    table.assign(longitude=1.0).to_parquet(tmp_path / "in.parquet")
    assert run(tmp_path, "in.parquet", "out2.parquet") == 1
    assert "several: lon, longitude" in capsys.readouterr().err


def test_files_are_checked(table, tmp_path, capsys):
    assert run(tmp_path, "in.txt") == 1
    assert "must end with one of .parquet, .pq, .csv" in capsys.readouterr().err
    assert run(tmp_path, "gone.csv") == 1
    assert "there is no file" in capsys.readouterr().err
    assert run(tmp_path, "in.parquet", "in.parquet") == 1
    assert "is the input" in capsys.readouterr().err
    (tmp_path / "out.parquet").write_text("mine")
    assert run(tmp_path) == 1
    assert "add --overwrite" in capsys.readouterr().err
    assert (tmp_path / "out.parquet").read_text() == "mine"
    assert run(tmp_path, "in.parquet", "out.parquet", "--overwrite") == 0
    assert run(tmp_path, "out.parquet", "again.parquet") == 1
    assert "already has columns named like the features: satclip000" in capsys.readouterr().err
    assert run(tmp_path, "in.csv", "out.csv", "--lon", "city") == 1
    assert "column 'city' must hold numbers" in capsys.readouterr().err


def test_two_runs_at_once_are_refused(table, tmp_path, capsys):
    from filelock import FileLock

    parts = tmp_path / "out.parquet.parts"
    parts.mkdir()
    with FileLock(parts / ".lock"):
        assert run(tmp_path) == 1
    assert "another process is writing" in capsys.readouterr().err
