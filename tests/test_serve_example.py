"""The service of the example answers, and explains what it refuses."""

import struct
import zlib
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("fastapi")
pytest.importorskip("httpx")
onnx = pytest.importorskip("onnx")

EXAMPLE = Path(__file__).parents[1] / "examples" / "serve.py"
SERVICE = EXAMPLE.read_text().partition('if __name__ == "__main__"')[0]  # before it fits a model


@pytest.fixture(scope="module")
def example():
    names = {"__name__": "serve"}
    exec(compile(SERVICE, str(EXAMPLE), "exec"), names)
    return names


@pytest.fixture(scope="module")
def client(example, tmp_path_factory):
    """A service whose model predicts the latitude."""
    from fastapi.testclient import TestClient
    from onnx.helper import make_graph, make_model, make_node, make_opsetid, make_tensor_value_info
    from onnx.numpy_helper import from_array

    double = onnx.TensorProto.DOUBLE
    node = make_node("Gather", ["lonlat", "second"], ["prediction"], axis=1)
    entry = make_tensor_value_info("lonlat", double, ["n", 2])
    result = make_tensor_value_info("prediction", double, ["n", 1])
    graph = make_graph([node], "latitude", [entry], [result], [from_array(np.array([1]), "second")])
    path = tmp_path_factory.mktemp("service") / "latitude.onnx"
    onnx.save(make_model(graph, opset_imports=[make_opsetid("", 20)], ir_version=10), path)
    return TestClient(example["make_app"](path))


def test_one_place_and_many(client):
    assert client.get("/place", params={"lon": 2.0, "lat": 48.0}).json() == {"prediction": 48.0}
    answer = client.post("/places", json={"lonlat": [[2.0, 48.0], [190.0, -3.0]]})
    assert answer.json() == {"prediction": [48.0, -3.0]}


@pytest.mark.parametrize(
    ("place", "message"),
    [((48.0, 122.0), "The columns look swapped"), (("nan", 1.0), "1 row(s) with NaN")],
)
def test_bad_places_are_explained(client, place, message):
    answer = client.get("/place", params=dict(zip(("lon", "lat"), place, strict=True)))
    assert answer.status_code == 422
    assert message in answer.json()["detail"]


def test_tiles(client):
    rows = np.array(client.get("/tiles/1/0/1.json").json()["prediction"])
    assert rows.shape == (64, 64)
    assert -85.06 < rows[-1, 0] < -84.8  # the southern edge of web maps
    assert -3 < rows[0, 0] < 0
    picture = client.get("/tiles/0/0/0.png").content
    assert struct.unpack(">II", picture[16:24]) == (64, 64)
    assert len(zlib.decompress(picture[41:-16])) == 64 * 65
    assert client.get("/tiles/1/2/0.png").status_code == 422
