"""Tables through any encoder: every row, once, as it is, whatever happens on the way."""

import gzip
import hashlib
import os
import shutil
import signal
import subprocess
import sys
from typing import ClassVar

import geopandas as gpd
import numpy as np
import pandas as pd
import pytest
import shapely
from sklearn.base import clone
from sklearn.pipeline import make_pipeline

from skgeo_embed import (
    CoordinateError,
    PositionalEncoder,
    SatCLIPEncoder,
    encode_grid,
    encode_table,
)
from skgeo_embed.streaming import parts as parts_module
from skgeo_embed.streaming import progress as progress_module
from skgeo_embed.streaming import table as module
from skgeo_embed.streaming.progress import Progress
from tests.encoders.zoo import GLOBAL, MAKERS


@pytest.fixture(autouse=True)
def _small_batches(batches_of):
    batches_of(100)


@pytest.fixture
def frame():
    rng = np.random.RandomState(0)
    return pd.DataFrame(
        {
            "id": [f"{i:04d}" for i in range(350)],
            "lon": rng.uniform(-180, 180, 350).round(6),
            "lat": rng.uniform(-90, 90, 350).round(6),
        }
    )


SMALL = PositionalEncoder(legendre_polys=3)


def features_of(frame, encoder=SMALL):
    return encoder.fit().transform(frame[["lon", "lat"]])


@pytest.mark.parametrize("name", [*GLOBAL])
def test_any_encoder(frame, tmp_path, name):
    frame.to_parquet(tmp_path / "in.parquet", index=False)
    encoder = MAKERS[name]()
    written = encode_table(
        encoder, tmp_path / "in.parquet", tmp_path / "out.parquet", verbose=False
    )
    expected = MAKERS[name]().fit_transform(frame[["lon", "lat"]])
    assert written == (350, expected.shape[1], 0, [])
    found = pd.read_parquet(tmp_path / "out.parquet")
    np.testing.assert_allclose(found.iloc[:, 3:], expected, atol=2e-5)
    assert not hasattr(encoder, "n_features_in_")  # the user's stays as it is


def test_a_fitted_encoder_with_columns_of_its_own(frame, tmp_path):
    renamed = frame.rename(columns={"lon": "x", "lat": "y"})
    renamed.to_parquet(tmp_path / "in.parquet")
    encoder = PositionalEncoder(legendre_polys=3, lon="x", lat="y").fit(renamed[["x", "y"]])
    encoder.set_output(transform="pandas")
    encode_table(encoder, tmp_path / "in.parquet", tmp_path / "out.parquet")
    found = pd.read_parquet(tmp_path / "out.parquet")
    np.testing.assert_allclose(found.iloc[:, 3:12], features_of(frame))
    assert list(encoder.feature_names_in_) == ["x", "y"]


def test_months(frame, tmp_path):
    frame["month"] = np.arange(350) % 12 + 1
    frame.to_csv(tmp_path / "in.csv", index=False)
    encoder = MAKERS["climplicit"](month="month")
    encode_table(encoder, tmp_path / "in.csv", tmp_path / "out.parquet")
    expected = encoder.fit_transform(frame[["lon", "lat", "month"]])
    found = pd.read_parquet(tmp_path / "out.parquet").filter(like="climplicit")
    np.testing.assert_allclose(found, expected, atol=1e-6)


@pytest.mark.parametrize("crs", [4326, 3857])
@pytest.mark.parametrize("kind", ["points", "polygons"])
def test_geoparquet(tmp_path, crs, kind):
    rng = np.random.RandomState(1)
    series = gpd.GeoSeries(shapely.points(rng.uniform(-60, 60, (250, 2))), crs=4326)
    if kind == "polygons":
        series = series.buffer(0.5)
    table = gpd.GeoDataFrame({"price": rng.rand(250)}, geometry=series.to_crs(crs))
    table.to_parquet(tmp_path / "in.parquet", index=False)
    encode_table(SMALL, tmp_path / "in.parquet", tmp_path / "out.parquet")
    found = gpd.read_parquet(tmp_path / "out.parquet")
    assert found.crs == table.crs  # and it stays GeoParquet
    expected = SMALL.fit_transform(table)
    np.testing.assert_allclose(found.filter(like="sh_l"), expected, atol=1e-12)


def test_another_geometry_of_geoparquet_has_its_own_crs(tmp_path):
    table = gpd.GeoDataFrame({"a": [1]}, geometry=[shapely.Point(8, 47)], crs=4326)
    table["there"] = gpd.GeoSeries([shapely.Point(30, -20)], crs=4326).to_crs(3857)
    table.to_parquet(tmp_path / "in.parquet", index=False)
    encode_table(SMALL, tmp_path / "in.parquet", tmp_path / "out.parquet", geometry="there")
    found = pd.read_parquet(tmp_path / "out.parquet").filter(like="sh_l")
    np.testing.assert_allclose(found, SMALL.fit_transform([[30, -20]]), atol=1e-8)
    with pytest.raises(ValueError, match=r"'geometry' holds binary, which a CSV file cannot hold"):
        encode_table(SMALL, tmp_path / "in.parquet", tmp_path / "out.csv")


@pytest.mark.parametrize("kind", ["wkt", "h3", "wkb"])
def test_batches_without_any_geometry(tmp_path, kind):
    value = {"wkt": "POINT (1 2)", "h3": "85283473fffffff", "wkb": shapely.Point(1, 2).wkb}[kind]
    frame = pd.DataFrame({"place": [value] * 120 + [None] * 130 + [value]})
    frame.to_parquet(tmp_path / "in.parquet")
    encoder = PositionalEncoder(legendre_polys=3, on_invalid="nan")
    paths = tmp_path / "in.parquet", tmp_path / "out.parquet"
    assert encode_table(encoder, *paths, geometry="place").bad == 130
    frame.loc[240, "place"] = b"\x01\x01" if kind == "wkb" else "POINT (1"
    frame.to_parquet(tmp_path / "in.parquet")
    with pytest.raises(CoordinateError, match=r"'place' .* neither a geometry|not an H3 cell"):
        encode_table(encoder, *paths, geometry="place", overwrite=True)


def test_columns_of_texts_and_cells(tmp_path):
    cells = ["85283473fffffff", "8029fffffffffff"]
    areas = [shapely.box(1, 2, 3, 4), shapely.Point(5, 6)]
    pd.DataFrame({"cell": cells, "shape": shapely.to_wkt(areas)}).to_csv(tmp_path / "in.csv")
    encode_table(SMALL, tmp_path / "in.csv", tmp_path / "a.parquet", geometry="shape")
    found = pd.read_parquet(tmp_path / "a.parquet").filter(like="sh_l")
    np.testing.assert_allclose(found, SMALL.fit_transform(areas))
    encode_table(SMALL, tmp_path / "in.csv", tmp_path / "b.parquet", geometry="cell")
    found = pd.read_parquet(tmp_path / "b.parquet").filter(like="sh_l")
    np.testing.assert_allclose(found, SMALL.fit_transform(cells))
    with pytest.raises(ValueError, match=r"in.csv has no column 'outline'"):
        encode_table(SMALL, tmp_path / "in.csv", tmp_path / "c.parquet", geometry="outline")


def test_cells_as_numbers_and_other_spellings_of_geometries(tmp_path):
    # that differ in their last digit, which a float has not
    cells = [0x85283473FFFFFFF, None, 0x85283473FFFFFFF - (1 << 30), 0x85283473FFFFFFF] * 60
    table = pd.DataFrame({"cell": pd.array(cells, dtype="Int64"), "year": range(240)})
    table.to_parquet(tmp_path / "cells.parquet")
    table.to_csv(tmp_path / "cells.csv")
    encoder = PositionalEncoder(legendre_polys=3, on_invalid="nan")
    expected = encoder.fit_transform(cells)
    assert not np.allclose(expected[0], expected[2], atol=1e-6)
    for name in ("cells.parquet", "cells.csv"):
        written = encode_table(encoder, tmp_path / name, tmp_path / "a.parquet", geometry="cell")
        assert written.bad == 60
        found = pd.read_parquet(tmp_path / "a.parquet").filter(like="sh_l")
        np.testing.assert_allclose(found, expected)
        (tmp_path / "a.parquet").unlink()
    shapes = shapely.points([[1, 2], [3, 4]])
    pd.DataFrame({"shape": shapely.to_wkb(shapes, hex=True)}).to_csv(tmp_path / "hex.csv")
    encode_table(SMALL, tmp_path / "hex.csv", tmp_path / "b.parquet", geometry="shape")
    found = pd.read_parquet(tmp_path / "b.parquet").filter(like="sh_l")
    np.testing.assert_allclose(found, SMALL.fit_transform(shapes))
    for wrong, message in (
        (["SRID=3857;POINT (1 2)"], r"column 'shape' holds EWKT.*without SRID"),
        (["here"], r"column 'shape' holds .* neither a geometry \(WKB or WKT\) nor an H3 cell"),
        ([[1.0, 2.0]], r"column 'shape' holds list<.*>, as GeoArrow does.*geometry_encoding"),
    ):
        pd.DataFrame({"shape": wrong}).to_parquet(tmp_path / "wrong.parquet")
        with pytest.raises(ValueError, match=message):
            encode_table(
                SMALL, tmp_path / "wrong.parquet", tmp_path / "c.parquet", geometry="shape"
            )


def test_cells_with_a_month(tmp_path):
    cells = ["85283473fffffff", "8029fffffffffff"] * 60
    table = pd.DataFrame({"cell": cells, "month": np.arange(120) % 12 + 1})
    table.to_csv(tmp_path / "in.csv")
    encoder = MAKERS["climplicit"]().set_params(month="month")
    encode_table(encoder, tmp_path / "in.csv", tmp_path / "a.parquet", geometry="cell")
    expected = clone(encoder).fit_transform(table)
    found = pd.read_parquet(tmp_path / "a.parquet").iloc[:, 3:]
    np.testing.assert_allclose(found, expected, atol=2e-5)
    for month in (1, 8):
        rows = (table["month"] == month).to_numpy()
        alone = clone(encoder).set_params(month=month).fit_transform(table["cell"][rows])
        np.testing.assert_allclose(expected[rows], alone, atol=2e-5)


class Counting(PositionalEncoder):
    """Writes down how many rows it was given."""

    asked: ClassVar[list[int]] = []

    def encode_places(self, places):
        self.asked.append(len(places.valid))
        return super().encode_places(places)


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
@pytest.mark.parametrize("kind", ["degrees", "text", "cells", "wkb", "months"])
def test_places_that_repeat_are_encoded_once(frame, tmp_path, monkeypatch, suffix, kind):
    monkeypatch.setattr("skgeo_embed.streaming.repeats.COUNTED_ROWS", 70)
    places = frame.iloc[:110].drop(columns="id").assign(month=1)
    encoder, geometry = Counting(legendre_polys=3, on_invalid="nan"), None
    if kind == "degrees":
        places.loc[[3, 50], "lat"] = np.nan
        places.loc[60, "lon"] = 999
        places.loc[61, "lon"], places.loc[62, "lon"] = 0.0, -0.0
    elif kind == "text":
        places = places.astype(str)
        places.loc[4, "lon"] = "unknown"
        places.loc[5, "lat"] = None
    elif kind == "months":
        encoder, places["month"] = MAKERS["climplicit"]().set_params(month="month"), 3
        places.loc[30:, "month"] = 9
    else:
        geometry = "cell"
        cells = ["85283473fffffff", "8029fffffffffff", None, "85283447fffffff"]
        shapes = shapely.box(*(np.arange(4) * [[1], [2], [1], [2]] + [[0], [0], [1], [1]]))
        values = cells if kind == "cells" else shapely.to_wkt(shapes)
        if kind == "wkb" and suffix == ".parquet":
            values = list(shapely.to_wkb(shapes))
        places = pd.DataFrame({"cell": values})
    order = np.random.RandomState(0).randint(0, len(places), 1000)
    table = places.iloc[order].assign(id=np.arange(1000)).reset_index(drop=True)
    source, output = tmp_path / f"in{suffix}", tmp_path / "out.parquet"
    table.to_csv(source, index=False) if suffix == ".csv" else table.to_parquet(source)
    Counting.asked.clear()
    once = encode_table(encoder, source, output, geometry=geometry, verbose=False)
    if kind != "months":
        assert sum(Counting.asked) == len(places)
    found = pd.read_parquet(output)
    output.unlink()
    monkeypatch.setattr("skgeo_embed.streaming.repeats.MOST_PLACES", 0)
    batches = encode_table(encoder, source, output, geometry=geometry, verbose=False)
    assert once == batches
    assert found["id"].astype(int).tolist() == list(range(1000))
    pd.testing.assert_frame_equal(found, pd.read_parquet(output), rtol=1e-5, atol=1e-6)


def test_a_table_that_changes_while_it_is_read(frame, tmp_path, monkeypatch):
    table = pd.concat([frame.iloc[:50]] * 6, ignore_index=True)
    table.to_csv(tmp_path / "in.csv", index=False)
    encode = module.encode_places

    def then_changed(*arguments):
        frame.iloc[::-1].to_csv(tmp_path / "in.csv", index=False)
        return encode(*arguments)

    monkeypatch.setattr(module, "encode_places", then_changed)
    with pytest.raises(RuntimeError, match="the table changed while it was read"):
        encode_table(SMALL, tmp_path / "in.csv", tmp_path / "out.csv")


def encode_and(monkeypatch, when, happen):
    """Let something happen when the features of the so-many-th batch have been computed."""
    encode, calls = PositionalEncoder.encode_places, []

    def and_then(self, places):
        features = encode(self, places)
        calls.append(None)
        if len(calls) == when:
            happen()
        return features

    monkeypatch.setattr(PositionalEncoder, "encode_places", and_then)


CHANGES = {
    "cut": lambda path: os.truncate(path, path.stat().st_size // 2),
    "emptied": lambda path: path.write_bytes(b""),
    "other rows": lambda path: path.write_bytes(path.read_bytes().replace(b"5", b"6")),
    "more rows": lambda path: path.write_bytes(path.read_bytes() + b"x,1,2\n"),
    "replaced": lambda path: (path.rename(f"{path}.old"), shutil.copy2(f"{path}.old", path)),
    "with its time": lambda path: (
        stat := path.stat(),
        path.write_bytes(path.read_bytes().replace(b"5", b"6")),
        os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns)),
    ),
    "gone": lambda path: path.unlink(),
}


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("suffix", [".csv", ".csv.gz", ".parquet"])
@pytest.mark.parametrize("when", [1, 3])
def test_a_table_that_changes_under_a_run(frame, tmp_path, monkeypatch, change, suffix, when):
    """A table that was cut ended there, and half of its rows were reported as success."""
    source = tmp_path / f"in{suffix}"
    frame.to_parquet(source) if suffix == ".parquet" else frame.to_csv(source, index=False)
    encode_and(monkeypatch, when, lambda: CHANGES[change](source))
    with pytest.raises((RuntimeError, ValueError), match=rf"in{suffix}.*changed|in{suffix} cannot"):
        encode_table(SMALL, source, tmp_path / "out.parquet")
    assert not (tmp_path / "out.parquet").exists()
    monkeypatch.undo()
    if change in ("other rows", "with its time") and suffix == ".csv":  # still a table
        encode_table(SMALL, source, tmp_path / "out.parquet", restart=True)
        found = pd.read_parquet(tmp_path / "out.parquet")
        expected = features_of(pd.read_csv(source))
        np.testing.assert_allclose(found.filter(like="sh_l"), expected, atol=1e-6)


def test_parts_are_made_of_the_table_as_it_was(frame, tmp_path, monkeypatch):
    source = tmp_path / "in.csv"
    frame.to_csv(source, index=False)
    stat, content = source.stat(), source.read_bytes()
    encode_and(monkeypatch, 2, lambda: source.write_bytes(content.replace(b"1", b"2")))
    with pytest.raises(RuntimeError, match="the table changed"):
        encode_table(SMALL, source, tmp_path / "out.csv")
    monkeypatch.undo()
    source.write_bytes(content)  # somebody brings it back
    os.utime(source, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    encode_table(SMALL, source, tmp_path / "out.csv")
    found = pd.read_csv(tmp_path / "out.csv", dtype={"id": str})
    pd.testing.assert_frame_equal(found.iloc[:, :3], frame)
    np.testing.assert_allclose(found.filter(like="sh_l"), features_of(frame), atol=1e-6)


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_an_output_that_appears_during_a_run_stays(frame, tmp_path, monkeypatch, suffix):
    frame.to_csv(tmp_path / "in.csv", index=False)
    output = tmp_path / f"out{suffix}"
    with monkeypatch.context() as patch:
        encode_and(patch, 4, lambda: output.write_text("mine"))
        with pytest.raises(FileExistsError, match=rf"out{suffix} has appeared.*overwrite=True"):
            encode_table(SMALL, tmp_path / "in.csv", output)
    assert output.read_text() == "mine"
    with monkeypatch.context() as patch:  # nothing is computed again
        patch.setattr(PositionalEncoder, "encode_places", lambda *_: pytest.fail("again"))
        assert encode_table(SMALL, tmp_path / "in.csv", output, overwrite=True).rows == 350
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in.csv", output.name]


def test_two_runs_on_one_output(frame, tmp_path, monkeypatch):
    frame.to_csv(tmp_path / "in.csv", index=False)
    refused = []

    def second():
        with pytest.raises(RuntimeError, match=r"another process is writing .*out\.csv"):
            encode_table(SMALL, tmp_path / "in.csv", tmp_path / "out.csv", restart=True)
        refused.append(True)

    encode_and(monkeypatch, 2, second)
    assert encode_table(SMALL, tmp_path / "in.csv", tmp_path / "out.csv").rows == 350
    assert refused == [True]


@pytest.mark.parametrize("suffix", [".csv", ".csv.gz", ".parquet"])
def test_a_part_that_is_damaged_before_the_parts_are_joined(frame, tmp_path, monkeypatch, suffix):
    frame.to_csv(tmp_path / "in.csv", index=False)
    whole, output = tmp_path / f"whole{suffix}", tmp_path / f"out{suffix}"
    encode_table(SMALL, tmp_path / "in.csv", whole)
    join = parts_module.Parts.join

    def damaged(self, *arguments, **options):
        path = sorted(self.folder.glob("part-*"))[1]
        content = bytearray(path.read_bytes())
        content[len(content) // 2] ^= 4
        path.write_bytes(content)
        join(self, *arguments, **options)

    with monkeypatch.context() as patch:
        patch.setattr(parts_module.Parts, "join", damaged)
        with pytest.raises(OSError, match=r"part-000001.* was damaged.*repeat the call"):
            encode_table(SMALL, tmp_path / "in.csv", output)
    assert not output.exists()
    encode_table(SMALL, tmp_path / "in.csv", output)
    assert output.read_bytes() == whole.read_bytes()


def test_one_bit_of_a_record(frame, tmp_path, monkeypatch):
    """A bit of a number of rows left rows out, or took them twice, and success was reported."""
    frame.to_csv(tmp_path / "in.csv", index=False)
    encode_table(SMALL, tmp_path / "in.csv", tmp_path / "whole.csv")
    with monkeypatch.context() as patch:
        interrupted(patch, 3)
        with pytest.raises(KeyboardInterrupt):
            encode_table(SMALL, tmp_path / "in.csv", tmp_path / "out.csv")
    record = tmp_path / "out.csv.parts" / "progress.json"
    content = record.read_bytes()
    assert len(parts_module.Parts(tmp_path / "out.csv")._read_record()["parts"]) == 3
    for place in range(0, len(content), 3):
        damaged = bytearray(content)
        damaged[place] ^= 1
        record.write_bytes(damaged)
        assert parts_module.Parts(tmp_path / "out.csv")._read_record() is None, place
    encode_table(SMALL, tmp_path / "in.csv", tmp_path / "out.csv")
    assert (tmp_path / "out.csv").read_bytes() == (tmp_path / "whole.csv").read_bytes()


def test_progress_of_places_that_repeat(frame, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(progress_module, "SECONDS", 0.0)
    pd.concat([frame.iloc[:50]] * 6).to_csv(tmp_path / "in.csv", index=False)
    encode_table(SMALL, tmp_path / "in.csv", tmp_path / "out.csv")
    assert "encoding places" in "".join(capsys.readouterr())


def test_a_bad_place_among_those_that_repeat_is_named_by_its_row(frame, tmp_path):
    table = pd.concat([frame.iloc[:50]] * 6, ignore_index=True)
    table.loc[233, "lat"] = 91
    table.to_csv(tmp_path / "in.csv", index=False)
    with pytest.raises(CoordinateError, match="233"):
        encode_table(SMALL, tmp_path / "in.csv", tmp_path / "out.csv")
    assert len(list((tmp_path / "out.csv.parts").glob("part-*"))) == 2


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
@pytest.mark.parametrize("suffix", [".csv", ".csv.gz", ".csv.zst"])
def test_delimiters_and_compressions(frame, tmp_path, delimiter, suffix):
    source, output = tmp_path / f"in{suffix}", tmp_path / f"out{suffix}"
    compression = {".gz": "gzip", ".zst": "zstd"}.get(source.suffix)
    if compression == "zstd":
        import pyarrow as pa

        with pa.output_stream(source, compression="zstd") as stream:
            stream.write(frame.to_csv(sep=delimiter, index=False).encode())
    else:
        frame.to_csv(source, sep=delimiter, index=False, compression=compression)
    assert encode_table(SMALL, source, output).rows == 350
    again = tmp_path / "again.parquet"  # what was written can be read
    assert encode_table(MAKERS["sinr"](), output, again).rows == 350
    found = pd.read_parquet(again)
    np.testing.assert_allclose(
        found.filter(like="sh_l").astype(float), features_of(frame), atol=1e-6
    )
    assert found["id"].tolist() == frame["id"].tolist()
    if suffix == ".csv.gz":
        with gzip.open(output, "rt") as file:
            assert file.readline().split(delimiter)[0].strip('"') == "id"


def test_decimal_commas(frame, tmp_path):
    frame.to_csv(tmp_path / "in.csv", sep=";", decimal=",", index=False)
    with pytest.raises(
        CoordinateError, match=r"got '-?\d+,\d+' in row 0\. If it has a decimal comm"
    ):
        encode_table(SMALL, tmp_path / "in.csv", tmp_path / "out.parquet")
    encode_table(SMALL, tmp_path / "in.csv", tmp_path / "out.parquet", decimal=",")
    found = pd.read_parquet(tmp_path / "out.parquet").filter(like="sh_l")
    np.testing.assert_allclose(found, features_of(frame), atol=1e-6)


@pytest.mark.parametrize("delimiter", [";", ",", "\t"])
def test_decimal_commas_stay_commas(frame, tmp_path, delimiter):
    """A CSV file with both marks is read as text by whoever opens it next."""
    encoder = PositionalEncoder(legendre_polys=3, on_invalid="nan")
    frame.to_csv(tmp_path / "in.csv", sep=delimiter, decimal=",", index=False)
    encode_table(encoder, tmp_path / "in.csv", tmp_path / "out.csv", decimal=",")
    found = pd.read_csv(tmp_path / "out.csv", sep=delimiter, decimal=",")
    np.testing.assert_allclose(found[["lon", "lat"]], frame[["lon", "lat"]])
    np.testing.assert_allclose(found.filter(like="sh_l"), features_of(frame), atol=1e-6)


def test_numbers_of_parquet_have_no_decimal_mark_to_choose(frame, tmp_path):
    frame.to_parquet(tmp_path / "in.parquet")
    with pytest.raises(ValueError, match=r"in\.parquet holds numbers and no text.*leave out"):
        encode_table(SMALL, tmp_path / "in.parquet", tmp_path / "out.csv", decimal=",")


def test_the_text_of_bad_coordinates_is_kept(frame, tmp_path):
    text = frame.astype(str)
    text.loc[120, "lat"], text.loc[340, "lon"] = "unknown", "999"
    text.to_csv(tmp_path / "in.csv", index=False)
    encoder = PositionalEncoder(legendre_polys=3, on_invalid="nan")
    written = encode_table(encoder, tmp_path / "in.csv", tmp_path / "out.parquet")
    assert written == (350, 9, 2, [120, 340])
    found = pd.read_parquet(tmp_path / "out.parquet")
    assert found["lat"][120] == "unknown"
    assert found["lon"][340] == "999"
    assert found.iloc[:, -1].isna().to_numpy().nonzero()[0].tolist() == [120, 340]


def interrupted(monkeypatch, after):
    """Stop after so many parts."""
    add = parts_module.Parts.add

    def limited(self, *arguments):
        if len(self.state["parts"]) == after:
            raise KeyboardInterrupt
        add(self, *arguments)

    monkeypatch.setattr(parts_module.Parts, "add", limited)


@pytest.mark.parametrize("suffix", [".csv", ".csv.gz", ".parquet"])
@pytest.mark.parametrize("damage", ["cut", "zeros", "gone", "record", "brackets"])
def test_damaged_parts_are_made_again(frame, tmp_path, monkeypatch, capsys, suffix, damage):
    """What a loss of power leaves: parts that are cut, blank or missing, records that are."""
    frame.to_csv(tmp_path / "in.csv", index=False)
    whole, output = tmp_path / f"whole{suffix}", tmp_path / f"out{suffix}"
    encode_table(SMALL, tmp_path / "in.csv", whole)
    with monkeypatch.context() as patch:
        interrupted(patch, 3)
        with pytest.raises(KeyboardInterrupt, match="300 rows are kept"):
            encode_table(SMALL, tmp_path / "in.csv", output)
    folder = tmp_path / f"out{suffix}.parts"
    part = sorted(folder.glob("part-*"))[1]
    content = part.read_bytes()
    if damage == "gone":
        part.unlink()
    elif damage == "record":
        (folder / "progress.json").write_text('{"of": {}, "parts": [3], "first_bad": []}')
    elif damage == "brackets":  # more than Python's reader of JSON can go into
        (folder / "progress.json").write_text("[" * 100_000)
    else:
        part.write_bytes(content[:-7] if damage == "cut" else content[:-7] + bytes(7))
    capsys.readouterr()
    encode_table(SMALL, tmp_path / "in.csv", output)
    said = capsys.readouterr().out
    if damage in ("record", "brackets"):
        assert "going on" not in said
    else:
        assert "2 part(s) of an earlier run are damaged and are written again" in said
        assert "continuing after 100 rows" in said
    assert output.read_bytes() == whole.read_bytes()


class Around(PositionalEncoder):
    """An encoder with another one inside, as users write them."""

    def __init__(self, inner=None, legendre_polys=3):
        super().__init__(legendre_polys=legendre_polys)
        self.inner = inner


@pytest.mark.parametrize("nested", [False, True])
def test_a_run_goes_on_with_a_renewed_token_and_keeps_none(frame, tmp_path, monkeypatch, nested):
    def made(token, **changed):
        inner = SatCLIPEncoder(token=token, **changed)
        return Around(make_pipeline(inner)) if nested else inner

    frame.to_csv(tmp_path / "in.csv", index=False)
    with monkeypatch.context() as patch:
        interrupted(patch, 2)
        with pytest.raises(KeyboardInterrupt, match="200 rows are kept"):
            encode_table(made("hf_old_secret"), tmp_path / "in.csv", tmp_path / "out.csv")
    folder = tmp_path / "out.csv.parts"
    kept = b"".join(path.read_bytes() for path in folder.iterdir())
    assert b"secret" not in kept
    assert str(tmp_path).encode() not in kept
    with pytest.raises(FileExistsError, match=r"another (inner|normalize);"):
        encode_table(made("hf_new", normalize=True), tmp_path / "in.csv", tmp_path / "out.csv")
    renewed = made("hf_new", batch_size=64, local_files_only=True)
    assert encode_table(renewed, tmp_path / "in.csv", tmp_path / "out.csv").rows == 350


KILLED = """
import os, signal, sys
import pandas, pyarrow.csv, pyarrow.parquet  # once, not in each child
from skgeo_embed import PositionalEncoder, encode_table
from skgeo_embed.streaming import table
table.MIN_BATCH_ROWS, table.BATCH_BYTES = 100, 1
encoder = PositionalEncoder(legendre_polys=3)
encoder.fit_transform([[1.0, 2.0]])
def run_killed_at_call(number, source, output):
    calls = 0
    def count(*_):
        nonlocal calls
        calls += 1
        if calls == number:
            os.kill(os.getpid(), signal.SIGKILL)
    sys.setprofile(count)
    encode_table(encoder, source, output, verbose=False)
    os._exit(0)
paths = sys.argv[1:]
for source, output in zip(paths[::2], paths[1::2]):
    for moment in [200, 9000, *range(30000, 10**6, 7000)]:
        child = os.fork()
        if not child:
            run_killed_at_call(moment, source, output)
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        folder = output + ".parts"
        print(output, code, len(os.listdir(folder)) if os.path.exists(folder) else 0)
        if not code:
            break
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.slow
def test_killed_at_many_moments(frame, tmp_path):
    frame.to_csv(tmp_path / "in.csv", index=False)
    repeated = frame.iloc[np.arange(350) % 120]  # these places have a file of their own
    repeated.to_csv(tmp_path / "repeated.csv", index=False)
    names = [("in.csv", "out.csv"), ("repeated.csv", "out.parquet")]
    paths = [str(tmp_path / name) for pair in names for name in pair]
    command = [sys.executable, "-c", KILLED, *paths]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    lines = [line.split() for line in done.stdout.splitlines()]
    for source, output in names:
        runs = [(int(code), int(parts)) for path, code, parts in lines if path.endswith(output)]
        assert [code for code, _ in runs].count(-signal.SIGKILL) >= 4, runs
        assert max(parts for _, parts in runs) >= 3, runs  # a run went on after two parts
        assert runs[-1] == (0, 0)
        encode_table(SMALL, tmp_path / source, tmp_path / f"whole_{output}")
        assert (tmp_path / output).read_bytes() == (tmp_path / f"whole_{output}").read_bytes()


def test_outputs_are_on_the_disk_before_they_have_their_name(frame, tmp_path, monkeypatch):
    frame.to_csv(tmp_path / "in.csv", index=False)
    order = []
    fsync, replace, link = os.fsync, os.replace, os.link
    monkeypatch.setattr(os, "fsync", lambda handle: order.append("fsync") or fsync(handle))
    monkeypatch.setattr(os, "replace", lambda *names: order.append("name") or replace(*names))
    monkeypatch.setattr(os, "link", lambda *names: order.append("name") or link(*names))
    encode_table(SMALL, tmp_path / "in.csv", tmp_path / "out.csv")
    renamed = [i for i, what in enumerate(order) if what == "name"]
    assert len(renamed) == 1 + 4 + 4 + 1  # the record at first, four parts, four records, all
    assert all(order[i - 1] == "fsync" and order[i + 1] == "fsync" for i in renamed)


def test_the_same_output_whatever_the_batches(frame, tmp_path, batches_of):
    frame.to_parquet(tmp_path / "in.parquet", index=False)
    encoder = PositionalEncoder("wrap")  # point by point; sums of products may round otherwise
    encode_table(encoder, tmp_path / "in.parquet", tmp_path / "a.csv")
    batches_of(10_000)
    encode_table(encoder, tmp_path / "in.parquet", tmp_path / "b.csv")
    digests = {hashlib.sha256((tmp_path / f"{n}.csv").read_bytes()).digest() for n in "ab"}
    assert len(digests) == 1


def test_another_encoder_is_another_run(frame, tmp_path, monkeypatch):
    frame.to_csv(tmp_path / "in.csv", index=False)
    with monkeypatch.context() as patch:
        interrupted(patch, 2)
        with pytest.raises(KeyboardInterrupt):
            encode_table(SMALL, tmp_path / "in.csv", tmp_path / "out.csv")
    other = PositionalEncoder(legendre_polys=4)
    with pytest.raises(FileExistsError, match=r"another legendre_polys; pass restart=True"):
        encode_table(other, tmp_path / "in.csv", tmp_path / "out.csv")
    with pytest.raises(FileExistsError, match=r"another encoder, "):
        encode_table(SatCLIPEncoder("bluemarble-l10"), tmp_path / "in.csv", tmp_path / "out.csv")
    assert encode_table(other, tmp_path / "in.csv", tmp_path / "out.csv", restart=True).rows == 350


def test_what_is_the_users_stays(frame, tmp_path):
    frame.to_csv(tmp_path / "in.csv", index=False)
    folder = tmp_path / "out.csv.parts"
    folder.mkdir()
    (folder / "notes.txt").write_text("mine")
    with pytest.raises(FileExistsError, match=r"out.csv.parts is where parts would be kept.*move"):
        encode_table(SMALL, tmp_path / "in.csv", tmp_path / "out.csv")
    assert (folder / "notes.txt").read_text() == "mine"
    (tmp_path / "third.csv.parts").write_text("mine")
    with pytest.raises(FileExistsError, match=r"third.csv.parts is where parts would.*that file"):
        encode_table(SMALL, tmp_path / "in.csv", tmp_path / "third.csv")
    assert (tmp_path / "third.csv.parts").read_text() == "mine"
    encoder = PositionalEncoder(legendre_polys=3).fit().set_output(transform="pandas")
    encode_table(encoder, tmp_path / "in.csv", tmp_path / "other.csv")
    assert isinstance(encoder.transform(frame[["lon", "lat"]]), pd.DataFrame)


def test_what_is_no_encoder(tmp_path, frame):
    frame.to_csv(tmp_path / "in.csv", index=False)
    with pytest.raises(TypeError, match=r"encoder must be a transformer of places.*, a str"):
        encode_table("satclip", tmp_path / "in.csv", tmp_path / "out.csv")
    with pytest.raises(TypeError, match=r"encoder must be a transformer of places.*a str"):
        encode_grid("satclip", tmp_path / "out.npy")
    with pytest.raises(ValueError, match=r"decimal must be"):
        encode_table(SMALL, tmp_path / "in.csv", tmp_path / "out.parquet", decimal="x")
    frame.iloc[:120].assign(lat=lambda f: f["lat"].where(f.index != 117)).to_csv(
        tmp_path / "gap.csv", index=False
    )
    with pytest.raises(CoordinateError, match=r"\(first: row 117\).*--on-invalid nan"):
        encode_table(SMALL, tmp_path / "gap.csv", tmp_path / "out.csv")
    shutil.rmtree(tmp_path / "out.csv.parts")  # its first hundred rows are kept


def test_progress_off_a_terminal(monkeypatch, capsys):
    now = iter(range(0, 1000, 4))
    monkeypatch.setattr(progress_module.time, "monotonic", lambda: next(now))
    with Progress("encoding", "rows", 1000, done=100) as progress:
        for _ in range(6):
            progress.update(100)
    lines = capsys.readouterr().err.splitlines()
    assert lines == [
        "encoding: 400 of 1,000 (40 %) rows, 25 per second",
        "encoding: 700 of 1,000 (70 %) rows, 25 per second",
    ]
    with Progress("encoding", "rows", shown=False) as progress:
        for _ in range(6):
            progress.update(100)
    assert capsys.readouterr().err == ""
