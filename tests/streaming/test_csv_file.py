"""CSV files: their text comes out as it went in, and what is no table is named."""

import csv
import gzip
import shutil
import subprocess
import sys
from decimal import Decimal

import numpy as np
import pandas as pd
import pytest

from skgeo_embed import PositionalEncoder, encode_table
from skgeo_embed.streaming.csv_file import CsvFile, write_csv

SMALL = PositionalEncoder(legendre_polys=3)
WITHOUT_PYARROW = """
import sys
sys.modules["pyarrow"] = None
from skgeo_embed.cli import main
sys.exit(main(["encode", *sys.argv[1:], "--model", "bluemarble-l10"]))
"""


def encode_without_pyarrow(*paths):
    command = [sys.executable, "-W", "error::UserWarning", "-c", WITHOUT_PYARROW]
    return subprocess.run([*command, *map(str, paths)], capture_output=True, text=True)


@pytest.mark.parametrize("suffix", [".csv", ".csv.gz"])
def test_csv_to_csv_needs_no_pyarrow(tmp_path, suffix):
    frame = pd.DataFrame({"zip": ["00123", "7"], "lon": [7.5, 8.5], "lat": [50, 51]})
    frame.to_csv(tmp_path / f"in{suffix}", index=False)
    done = encode_without_pyarrow(tmp_path / f"in{suffix}", tmp_path / f"out{suffix}")
    assert done.returncode == 0, done.stderr
    found = pd.read_csv(tmp_path / f"out{suffix}", dtype={"zip": str})
    pd.testing.assert_frame_equal(found.iloc[:, :3], frame, check_dtype=False)
    assert found.shape[1] > 3
    assert found.notna().all(axis=None)


@pytest.mark.parametrize("output", ["out.parquet", "out.csv.zst"])
def test_what_needs_pyarrow_says_so(tmp_path, output):
    (tmp_path / "in.csv").write_text("lon,lat\n1,2\n")
    done = encode_without_pyarrow(tmp_path / "in.csv", tmp_path / output)
    assert done.returncode == 1
    assert f"{output}, as Parquet and .zst files, needs pyarrow" in done.stderr
    assert 'pip install "skgeo-embed[tables]"' in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["in.csv"]


TEXTS = ['two\nlines, "quoted"', " spaces ", "Köln", "NA", "1e5", "", "'", "\r", "007"]


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_any_text_comes_back(tmp_path, delimiter):
    frame = pd.DataFrame({"lon": "7.50", "note": TEXTS, "lat": "50"})
    frame.to_csv(
        tmp_path / "in.csv", sep=delimiter, index=False, encoding="utf-8-sig", quoting=csv.QUOTE_ALL
    )
    encode_table(SMALL, tmp_path / "in.csv", tmp_path / "out.csv", delimiter=delimiter)
    found = pd.read_csv(tmp_path / "out.csv", sep=delimiter, dtype=str, keep_default_na=False)
    pd.testing.assert_frame_equal(found.iloc[:, :3], frame)
    assert found.shape == (len(TEXTS), 12)


@pytest.mark.parametrize("suffix", [".csv", ".csv.gz"])
@pytest.mark.parametrize(
    ("encoding", "written"), [("cp1252", "cp1252"), ("utf-16", "utf-8"), ("UTF8", "utf-8")]
)
def test_text_of_another_encoding(tmp_path, encoding, written, suffix):
    frame = pd.DataFrame({"Ort": ["Köln", "Besançon"], "lon": "7,5", "lat": "50,5"})
    frame.to_csv(tmp_path / f"in{suffix}", sep=";", index=False, encoding=encoding)
    options = {"decimal": ",", "encoding": encoding}
    encode_table(SMALL, tmp_path / f"in{suffix}", tmp_path / f"out{suffix}", **options)
    found = pd.read_csv(tmp_path / f"out{suffix}", sep=";", dtype=str, encoding=written)
    pd.testing.assert_frame_equal(found.iloc[:, :3], frame)
    assert found.shape == (2, 12)


def test_an_encoding_that_is_none_of_text(tmp_path):
    (tmp_path / "in.csv").write_text("lon,lat\n1,2\n")
    with pytest.raises(ValueError, match=r"encoding 'rot13' is not known; name one such as"):
        encode_table(SMALL, tmp_path / "in.csv", tmp_path / "out.csv", encoding="rot13")


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_every_bit_of_a_number_is_written(tmp_path, dtype):
    rng = np.random.RandomState(0)
    frame = pd.DataFrame({"lon": rng.uniform(-180, 180, 600), "lat": rng.uniform(-90, 90, 600)})
    frame.round(6).to_csv(tmp_path / "in.csv", index=False)  # which all of pandas reads alike
    encoder = PositionalEncoder("wrap", dtype=np.dtype(dtype).name)
    encode_table(encoder, tmp_path / "in.csv", tmp_path / "out.csv")
    expected = encoder.fit_transform(np.loadtxt(tmp_path / "in.csv", delimiter=",", skiprows=1))
    found = np.loadtxt(tmp_path / "out.csv", delimiter=",", skiprows=1)[:, 2:]
    np.testing.assert_array_equal(found.astype(dtype), expected)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "in.csv is empty; its first line must name the columns"),
        ("lon,lat,a\n1,2,3\n1,2\n", r"line 3 has 2 column\(s\), the first line names 3"),
        ("lon,lat\n1,2\n\n3,4,5\n", r"line 4 has 3 column\(s\), the first line names 2"),
        ('lon,lat\n1,"2\n3,4\n', "comma-separated and in UTF-8: unexpected end of data"),
    ],
)
def test_what_is_no_table(tmp_path, content, message):
    (tmp_path / "in.csv").write_text(content)
    with pytest.raises(ValueError, match=message):
        encode_table(SMALL, tmp_path / "in.csv", tmp_path / "out.csv")
    assert not (tmp_path / "out.csv").exists()


def test_a_damaged_gzip_file_is_named(tmp_path):
    rows = "".join(f"{i % 180},{i % 80},{i * i % 977}\n" for i in range(5000))
    content = gzip.compress(f"lon,lat,a\n{rows}".encode())
    for place in range(1000, len(content) - 100, 997):
        damaged = content[:place] + b"\xff\x00\xff" + content[place + 3 :]
        (tmp_path / "in.csv.gz").write_bytes(damaged)
        with pytest.raises(ValueError, match=r"in.csv.gz cannot be read as CSV, comma-separated"):
            encode_table(SMALL, tmp_path / "in.csv.gz", tmp_path / "out.csv")
        shutil.rmtree(tmp_path / "out.csv.parts", ignore_errors=True)
    (tmp_path / "cut.csv.gz").write_bytes(content[:5000])
    with pytest.raises(ValueError, match=r"cut.csv.gz cannot be read as CSV"):
        encode_table(SMALL, tmp_path / "cut.csv.gz", tmp_path / "out.csv")


def test_lines_that_are_empty_are_no_rows(tmp_path):
    (tmp_path / "in.csv").write_text("\n\nlon,lat\n1,2\n\n3,4\n\n")
    assert encode_table(SMALL, tmp_path / "in.csv", tmp_path / "out.csv").rows == 2


def test_columns_of_one_name(tmp_path):
    (tmp_path / "in.csv").write_text("x,lon,lat,x\n1,2,3,4\n")
    encode_table(SMALL, tmp_path / "in.csv", tmp_path / "out.csv")
    assert (tmp_path / "out.csv").read_text().splitlines()[1].startswith("1,2,3,4,")
    with pytest.raises(ValueError, match=r"in.csv: 2 columns are named 'x'"):
        encode_table(SMALL, tmp_path / "in.csv", tmp_path / "b.csv", lon="x")
    with pytest.raises(ValueError, match="delimiter must be one character, got ', '"):
        encode_table(SMALL, tmp_path / "in.csv", tmp_path / "b.csv", delimiter=", ")


def test_outlines_longer_than_python_reads_by_itself(tmp_path):
    edge = ", ".join(f"{i / 5000} {i % 2 / 100}" for i in range(20_000))
    outline = f"POLYGON ((0 0, {edge}, 4 3, 0 3, 0 0))"
    assert len(outline) > 2**17
    pd.DataFrame({"shape": [outline]}).to_csv(tmp_path / "in.csv", index=False)
    encode_table(SMALL, tmp_path / "in.csv", tmp_path / "out.csv", geometry="shape")
    found = pd.read_csv(tmp_path / "out.csv")
    assert found.loc[0, "shape"] == outline


def test_columns_of_parquet_as_text(tmp_path):
    frame = pd.DataFrame(
        {
            "lon": [1.5, 2.5],
            "lat": [3, 4],
            "count": pd.array([2**60 + 1, None], dtype="Int64"),
            "day": pd.to_datetime(["2020-01-02", "2021-03-04"]).date,
            "price": [Decimal("1.10"), None],
            "kind": pd.Categorical(["a", "b"]),
            "new": [True, False],
        }
    )
    frame.to_parquet(tmp_path / "in.parquet", index=False)
    encode_table(SMALL, tmp_path / "in.parquet", tmp_path / "out.csv")
    lines = (tmp_path / "out.csv").read_text().splitlines()
    assert lines[1].startswith("1.5,3,1152921504606846977,2020-01-02,1.10,a,true,")
    assert lines[2].startswith("2.5,4,,2021-03-04,,b,false,")


def test_features_that_there_are_not_are_left_empty(tmp_path):
    (tmp_path / "in.csv").write_text("lon,lat\n1,2\nunknown,3\n")
    encoder = PositionalEncoder(legendre_polys=3, on_invalid="nan")
    assert encode_table(encoder, tmp_path / "in.csv", tmp_path / "out.csv").bad == 1
    assert (tmp_path / "out.csv").read_text().splitlines()[2] == "unknown,3,,,,,,,,,"


@pytest.mark.parametrize("suffix", [".csv", ".csv.gz"])
def test_a_line_without_an_end(tmp_path, monkeypatch, suffix):
    """A compressed file of a megabyte holds a line of a gigabyte, which was read whole."""
    monkeypatch.setattr("skgeo_embed.streaming.csv_file.LONGEST_LINE", 1000)
    content = b"lon,lat,note\n1,2," + b"x" * 2000 + b"\n"
    opened = gzip.open if suffix == ".csv.gz" else open
    with opened(tmp_path / f"in{suffix}", "wb") as file:
        file.write(content)
    with pytest.raises(ValueError, match=r"in\.csv.*a line is longer than 1,000 characters"):
        encode_table(SMALL, tmp_path / f"in{suffix}", tmp_path / "out.csv")
    with opened(tmp_path / f"in{suffix}", "wb") as file:  # in quotes it goes on over lines
        file.write(b'lon,lat,note\n1,2,"' + (b"x" * 700 + b"\n") * 3 + b'"\n')
    with pytest.raises(ValueError, match=r"in\.csv.*field larger than field limit \(1000\)"):
        encode_table(SMALL, tmp_path / f"in{suffix}", tmp_path / "out.csv")


def test_lines_of_exactly_the_limit(tmp_path, monkeypatch):
    monkeypatch.setattr("skgeo_embed.streaming.csv_file.LONGEST_LINE", 20)
    (tmp_path / "in.csv").write_text("lon,lat,note\n" + "1,2," + "x" * 15 + "\n3,4,end\n")
    assert encode_table(SMALL, tmp_path / "in.csv", tmp_path / "out.csv").rows == 2


def test_long_rows_come_in_smaller_batches(tmp_path, monkeypatch):
    """Ten thousand rows of a megabyte each would be ten gigabytes."""
    monkeypatch.setattr("skgeo_embed.streaming.csv_file.MOST_TEXT", 1000)
    frame = pd.DataFrame({"lon": range(90), "lat": 5, "note": "x" * 300})
    frame.to_csv(tmp_path / "in.csv", index=False)
    table = CsvFile(tmp_path / "in.csv")
    assert [len(rows) for rows, _ in table.batches(50, skip=2)] == [4] * 22
    encode_table(SMALL, tmp_path / "in.csv", tmp_path / "out.csv")
    found = pd.read_csv(tmp_path / "out.csv")
    pd.testing.assert_frame_equal(found.iloc[:, :3], frame)
    np.testing.assert_allclose(found.iloc[:, 3:], SMALL.fit_transform(frame[["lon", "lat"]]))


def test_a_first_line_of_delimiters(tmp_path, monkeypatch):
    """Sixty kilobytes unpack to sixty million columns without a name."""
    monkeypatch.setattr("skgeo_embed.streaming.csv_file.MOST_COLUMNS", 100)
    with gzip.open(tmp_path / "in.csv.gz", "wb") as file:
        file.write(b"lon,lat" + b"," * 99 + b"\n1,2" + b"," * 99 + b"\n")
    with pytest.raises(ValueError, match=r"in\.csv\.gz names 101 columns; at most 100 are allowed"):
        encode_table(SMALL, tmp_path / "in.csv.gz", tmp_path / "out.csv")


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("delimiter", [",", ";"])
def test_pyarrow_writes_the_numbers_that_python_writes(tmp_path, monkeypatch, dtype, delimiter):
    features = np.random.default_rng(0).normal(size=(40, 5)).astype(dtype) / 3
    features[:, :3] *= [[1e-30, 0, 1e20]]
    features[7] = np.nan
    rows = pd.DataFrame({"name": ["a,b; c"] * 39 + ['"']})
    found = []
    for there in (True, False):
        with monkeypatch.context() as patch:
            if not there:
                patch.setattr("skgeo_embed.streaming.csv_file.find_spec", lambda name: None)
                patch.setitem(sys.modules, "pyarrow", None)  # importing it fails
            patch.setattr("skgeo_embed.streaming.csv_file.WRITTEN_ROWS", 16)
            path = tmp_path / f"{there}.csv"
            write_csv(
                rows, features, path, names=list("vwxyz"), delimiter=delimiter, compression=None
            )
        with path.open(newline="") as file:
            names, *records = csv.reader(file, delimiter=delimiter)
        assert names == ["name", *"vwxyz"]
        assert [record[0] for record in records] == rows["name"].tolist()
        assert records[7][1:] == [""] * 5
        numbers = [[float(text or "nan") for text in record[1:]] for record in records]
        np.testing.assert_array_equal(np.asarray(numbers).astype(dtype), features)
        found.append(records)
    assert dtype == "float64" or found[0] != found[1]  # pyarrow did write: shorter numbers
