import json
import signal
import subprocess
import sys

import numpy as np
import pandas as pd
import pyarrow.parquet as parquet
import pytest

from skgeo_embed import SatCLIPEncoder
from skgeo_embed.cli import main
from skgeo_embed.streaming import parts


@pytest.fixture
def table(tmp_path, batches_of):
    """A table of 1,000 rows in row groups of 130; batches are 300 rows."""
    batches_of(300)
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
    encode, calls = SatCLIPEncoder.encode_places, []

    def interrupted(self, places):
        calls.append(len(places.valid))
        if len(calls) == 3:
            raise KeyboardInterrupt
        return encode(self, places)

    monkeypatch.setattr(SatCLIPEncoder, "encode_places", interrupted)
    assert run(tmp_path, source) == 130
    assert "interrupted; 600 rows are kept in" in capsys.readouterr().err
    assert not (tmp_path / "out.parquet").exists()

    assert run(tmp_path, source, "out.parquet", "--layer", "embedding") == 1
    assert "run with another layer; pass restart=True (--restart)" in capsys.readouterr().err

    assert run(tmp_path, source) == 0
    assert "continuing after 600 rows" in capsys.readouterr().out
    assert calls == [300, 300, 300, 300, 100]
    written = pd.read_parquet(tmp_path / "out.parquet")
    np.testing.assert_allclose(written.iloc[:, 4:], features, atol=1e-5)


def test_a_killed_run_goes_on(table, features, tmp_path):
    code = (
        "import os, signal\n"
        "from skgeo_embed.cli import main\n"
        "from skgeo_embed.streaming import parts, table\n"
        "table.MIN_BATCH_ROWS, table.BATCH_BYTES = 300, 1\n"
        "save, count = parts.Parts._save, []\n"
        "def kill(self):\n"
        "    count.append(1)\n"
        "    if len(count) == 4: os.kill(os.getpid(), signal.SIGKILL)\n"
        "    save(self)\n"
        "parts.Parts._save = kill\n"
        f"main(['encode', {str(tmp_path / 'in.parquet')!r}, {str(tmp_path / 'out.parquet')!r}, "
        "'--model', 'bluemarble-l10'])"
    )
    killed = subprocess.run([sys.executable, "-c", code])
    assert killed.returncode == -signal.SIGKILL
    folder = tmp_path / "out.parquet.parts"
    kept = json.loads((folder / "progress.json").read_text())["parts"]
    assert [part["rows"] for part in kept] == [300, 300]
    assert run(tmp_path) == 0
    written = pd.read_parquet(tmp_path / "out.parquet")
    np.testing.assert_allclose(written.iloc[:, 4:], features, atol=1e-5)
    assert not folder.exists()


def test_restart_forgets(table, tmp_path, monkeypatch, capsys):
    parts = tmp_path / "out.parquet.parts"
    parts.mkdir()
    (parts / "progress.json").write_text('{"of": {}, "parts": [], "first_bad": []}')
    assert run(tmp_path) == 1
    assert run(tmp_path, "in.parquet", "out.parquet", "--restart") == 0
    assert "going on" not in capsys.readouterr().out


def test_bad_rows(table, features, tmp_path, capsys):
    table.loc[[3, 650], "lat"] = np.nan
    table.loc[999, "lon"] = 999.0
    table.to_parquet(tmp_path / "in.parquet", index=False)
    assert run(tmp_path) == 1
    shown = capsys.readouterr().err
    assert "(first: row 3)" in shown
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
    assert run(tmp_path) == 2
    assert "name them with lon=... and lat=... (--lon and --lat on the command line)" in (
        capsys.readouterr().err
    )
    assert run(tmp_path, "in.parquet", "out.parquet", "--lon", "x", "--lat", "y") == 0
    assert run(tmp_path, "in.parquet", "out2.parquet", "--lon", "z", "--lat", "y") == 2
    assert "lon='z': there is no such column" in capsys.readouterr().err
    table.assign(longitude=1.0).to_parquet(tmp_path / "in.parquet")
    assert run(tmp_path, "in.parquet", "out2.parquet", "--lon", "lat", "--lat", "lat") == 2
    assert "lon='lat' and lat='lat' are the same column" in capsys.readouterr().err
    assert run(tmp_path, "in.parquet", "out2.parquet") == 2
    assert "several columns could be the longitude: 'lon', 'longitude'" in capsys.readouterr().err


def test_files_are_checked(table, tmp_path, capsys):
    assert run(tmp_path, "in.txt") == 2
    assert "must end with .parquet or .pq or .csv or .csv.gz or .csv.zst" in capsys.readouterr().err
    assert run(tmp_path, "gone.csv") == 1
    assert "there is no file" in capsys.readouterr().err
    assert run(tmp_path, "in.parquet", "in.parquet", "--overwrite") == 2
    assert "is the input" in capsys.readouterr().err
    assert run(tmp_path, "in.parquet", "gone/out.parquet") == 2
    assert "make it first" in capsys.readouterr().err
    (tmp_path / "folder.csv").mkdir()
    assert run(tmp_path, "in.parquet", "folder.csv") == 2
    assert "is a folder" in capsys.readouterr().err
    (tmp_path / "bad.parquet").write_text("no parquet")
    assert run(tmp_path, "bad.parquet") == 1
    assert "bad.parquet cannot be read as Parquet" in capsys.readouterr().err
    (tmp_path / "latin.csv").write_bytes("lon,lat,name\n1,2,Köln\n".encode("latin-1"))
    assert run(tmp_path, "latin.csv") == 1
    error = capsys.readouterr().err
    assert "latin.csv is not encoded in UTF-8: it holds the byte 0xf6" in error
    assert "--encoding cp1252" in error
    assert run(tmp_path, "latin.csv", "latin_out.csv", "--encoding", "cp-none") == 2
    assert "encoding 'cp-none' is not known" in capsys.readouterr().err
    (tmp_path / "empty.csv").write_text("lon,lat\n")
    assert run(tmp_path, "empty.csv") == 1
    assert "empty.csv has no rows" in capsys.readouterr().err
    (tmp_path / "out.parquet").write_text("mine")
    assert run(tmp_path) == 1
    assert "--overwrite" in capsys.readouterr().err
    assert (tmp_path / "out.parquet").read_text() == "mine"
    assert run(tmp_path, "in.parquet", "out.parquet", "--overwrite") == 0
    assert run(tmp_path, "out.parquet", "again.parquet") == 1
    assert "already has columns named like the features: satclip000" in capsys.readouterr().err
    assert run(tmp_path, "in.csv", "out.csv", "--lon", "city") == 1
    assert "column 'city' must hold numbers" in capsys.readouterr().err


def test_bad_rows_are_numbered_in_the_file(table, tmp_path, capsys):
    table.loc[650, "lon"] = 999.0
    table.to_parquet(tmp_path / "in.parquet", index=False)
    assert run(tmp_path) == 1
    assert "row 650: lon=999" in capsys.readouterr().err


def test_lines_within_quotes(tmp_path):
    rows = [f'{i % 180},{i % 80},"one\ntwo {i}"' for i in range(2000)]
    (tmp_path / "in.csv").write_text("\n".join(["lon,lat,note", *rows]))
    assert run(tmp_path, "in.csv") == 0
    notes = parquet.read_table(tmp_path / "out.parquet").column("note").to_pylist()
    assert notes == [f"one\ntwo {i}" for i in range(2000)]


def test_text_among_coordinates(table, tmp_path, capsys):
    text = table["lat"].astype(str)
    text[[400, 407]] = "unknown"
    table.assign(lat=text).to_csv(tmp_path / "in.csv", index=False)
    assert run(tmp_path, "in.csv") == 1
    assert "must hold numbers in degrees, got 'unknown' in row 400." in capsys.readouterr().err
    assert run(tmp_path, "in.csv", "out.parquet", "--on-invalid", "nan", "--restart") == 0
    assert "rows 400, 407 (the first row is 0)" in capsys.readouterr().out


def test_csv_to_csv_keeps_the_text(tmp_path):
    (tmp_path / "in.csv").write_text('lon,lat,zip,note\n10.50,45,00123,"a, b"\n11,46,,\n')
    assert run(tmp_path, "in.csv", "out.csv") == 0
    lines = (tmp_path / "out.csv").read_text().splitlines()
    assert lines[0].split(",satclip")[0] == "lon,lat,zip,note"
    assert lines[1].startswith('10.50,45,00123,"a, b",')
    assert lines[2].startswith("11,46,,,")


def test_two_runs_at_once_are_refused(table, tmp_path, capsys):
    from filelock import FileLock

    parts = tmp_path / "out.parquet.parts"
    parts.mkdir()
    with FileLock(parts / ".lock"):
        assert run(tmp_path) == 1
    assert "another process is writing" in capsys.readouterr().err


def test_csv_columns_stay_text_in_parquet(tmp_path):
    rows = ["lon,lat,country,zip,big,note"]
    rows += ['10.5,45,NA,00123,12345678901234567890,"two', 'lines"', "11,46,DE,A7,,"]
    (tmp_path / "in.csv").write_text("\n".join(rows) + "\n")
    assert run(tmp_path, "in.csv") == 0
    table = parquet.read_table(tmp_path / "out.parquet")
    assert table.column("lon").to_pylist() == [10.5, 11.0]
    assert table.column("country").to_pylist() == ["NA", "DE"]
    assert table.column("zip").to_pylist() == ["00123", "A7"]
    assert table.column("big").to_pylist() == ["12345678901234567890", None]
    assert table.column("note").to_pylist() == ["two\nlines", None]


def test_index_and_metadata_are_kept(table, tmp_path):
    table.index = pd.Index(np.arange(1000) + 5, name="station")
    table.to_parquet(tmp_path / "in.parquet")
    assert run(tmp_path) == 0
    written = pd.read_parquet(tmp_path / "out.parquet")
    pd.testing.assert_index_equal(written.index, table.index)
    pd.testing.assert_frame_equal(written[table.columns.tolist()], table)


def test_columns_of_one_name(table, tmp_path):
    import pyarrow as pa

    arrays = [pa.array(table[name]) for name in ("lon", "lat", "when", "when")]
    parquet.write_table(
        pa.Table.from_arrays(arrays, names=["lon", "lat", "a", "a"]), tmp_path / "in.parquet"
    )
    assert run(tmp_path) == 0
    assert parquet.ParquetFile(tmp_path / "out.parquet").schema_arrow.names[:4] == [
        "lon",
        "lat",
        "a",
        "a",
    ]


@pytest.mark.parametrize("rows", [200, 1000])
def test_killed_between_renaming_and_clearing_up(table, tmp_path, monkeypatch, rows):
    table.head(rows).to_parquet(tmp_path / "in.parquet")
    with monkeypatch.context() as patch:
        patch.setattr(parts.shutil, "rmtree", lambda *_, **__: (_ for _ in ()).throw(OSError()))
        assert run(tmp_path) == 1
    assert (tmp_path / "out.parquet").exists()
    assert run(tmp_path, "in.parquet", "out.parquet", "--overwrite") == 0
    assert len(pd.read_parquet(tmp_path / "out.parquet")) == rows
    assert not (tmp_path / "out.parquet.parts").exists()


def test_times_are_no_degrees(table, tmp_path, capsys):
    assert run(tmp_path, "in.parquet", "out.parquet", "--lon", "when") == 1
    assert "column 'when' must hold numbers in degrees, it holds timestamp" in (
        capsys.readouterr().err
    )
