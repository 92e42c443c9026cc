"""Parquet files: what their columns are, and what they are not."""

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as parquet
import pytest

from skgeo_embed import PositionalEncoder, encode_table
from skgeo_embed.streaming.files import check_arrow
from skgeo_embed.streaming.parquet_file import ParquetFile

SMALL = PositionalEncoder(legendre_polys=3)


@pytest.mark.parametrize("batch", [10_000, 2])
def test_coordinates_in_the_index_of_a_frame(tmp_path, batches_of, batch):
    batches_of(batch)
    frame = pd.DataFrame({"lon": [1.0, 2.0] * 3, "lat": [3.0, 4.0] * 3, "a": range(6)})
    frame.set_index(["lon", "lat"]).to_parquet(tmp_path / "in.parquet")
    encode_table(SMALL, tmp_path / "in.parquet", tmp_path / "out.parquet", verbose=False)
    found = pd.read_parquet(tmp_path / "out.parquet")
    assert found.index.names == ["lon", "lat"]
    assert (found.iloc[:, 1:].to_numpy() == SMALL.fit_transform(frame[["lon", "lat"]])).all()


def test_lists_are_no_degrees(tmp_path):
    table = pa.table({"lon": [[1.0]], "lat": [2.0]})
    parquet.write_table(table, tmp_path / "in.parquet")
    with pytest.raises(
        ValueError, match=r"column 'lon' must hold numbers in degrees, it holds list<"
    ):
        encode_table(SMALL, tmp_path / "in.parquet", tmp_path / "out.parquet")


def test_names_of_any_case_need_pyarrow(tmp_path, monkeypatch):
    monkeypatch.setattr("skgeo_embed.streaming.files.find_spec", lambda name: None)
    check_arrow(tmp_path / "in.csv", tmp_path / "OUT.CSV.GZ")
    with pytest.raises(ImportError, match=r"OUT\.CSV\.ZST, as Parquet"):
        check_arrow(tmp_path / "in.csv", tmp_path / "OUT.CSV.ZST")


def test_damaged_metadata_of_pandas_are_not_asked(tmp_path):
    table = pa.table({"lon": [1.0, 2.0], "lat": [3.0, 4.0]})
    for text in (b"x", b"[" * 100_000):
        parquet.write_table(
            table.replace_schema_metadata({b"pandas": text}), tmp_path / "a.parquet"
        )
        written = encode_table(
            PositionalEncoder(legendre_polys=3),
            tmp_path / "a.parquet",
            tmp_path / "b.parquet",
            overwrite=True,
        )
        assert written.rows == 2


def test_long_values_come_in_smaller_batches(tmp_path, monkeypatch):
    """A value that all rows share is in the file once: a megabyte becomes gigabytes."""
    monkeypatch.setattr("skgeo_embed.streaming.parquet_file.MOST_BYTES", 20_000)
    frame = pd.DataFrame({"lon": range(90), "lat": 5, "note": "x" * 3000})
    frame.to_parquet(tmp_path / "in.parquet", row_group_size=40)
    table = ParquetFile(tmp_path / "in.parquet")
    sizes = [len(rows) for rows, _ in table.batches(50, skip=2)]
    assert sum(sizes) == 88
    assert 2 <= max(sizes) <= 12
    encoder = PositionalEncoder(legendre_polys=3)
    encode_table(encoder, tmp_path / "in.parquet", tmp_path / "out.parquet")
    found = pd.read_parquet(tmp_path / "out.parquet")
    pd.testing.assert_frame_equal(found.iloc[:, :3], frame)
