"""Odd files of GPS2Vec's zones."""

import h5py
import numpy as np
import pytest

from skgeo_embed import GPS2VecEncoder
from tests.odd_inputs.checking import by_name, check_file
from tests.odd_inputs.encoders import PLACES, write_zone

pytestmark = pytest.mark.slow


def set_kernel(layer, **dataset):
    def change(file):
        name = f"{layer}/{layer}/kernel:0"
        del file[name]
        file.create_dataset(name, **dataset)

    return change


def set_link(link):
    def change(file):
        del file["layer1"]
        file["layer1"] = link

    return change


BAD_ZONES = {
    "no dimension": set_kernel("layer1", data=1.0),
    "one dimension": set_kernel("layer1", data=np.zeros(400, "f4")),
    "three dimensions": set_kernel("layer1", data=np.zeros((1, 400, 8), "f4")),
    "other inputs": set_kernel("layer1", data=np.zeros((399, 8), "f4")),
    "other outputs": set_kernel("object", data=np.zeros((8, 999), "f4")),
    "texts": set_kernel("layer2", data=np.array([[b"x"] * 8] * 8)),
    "references": set_kernel("layer2", shape=(8, 8), dtype=h5py.ref_dtype),
    "structures": set_kernel("layer2", data=np.zeros((8, 8), "f4,f4")),
    "complex": set_kernel("layer2", data=np.zeros((8, 8), "c8")),
    "NaN": set_kernel("layer2", data=np.full((8, 8), np.nan)),
    "1e300": set_kernel("layer2", data=np.full((8, 8), 1e300)),
    "16 TB that are not there": set_kernel(
        "layer1", shape=(400, 10**10), dtype="f4", chunks=(1, 1000)
    ),
    "another file's bytes": set_kernel(
        "layer2", shape=(8, 8), dtype="f4", external=[("/etc/passwd", 0, 256)]
    ),
    "no layer": lambda file: file.pop("layer3"),
    "no names": lambda file: file["layer1"].attrs.pop("weight_names"),
    "names of numbers": lambda file: file["layer1"].attrs.update({"weight_names": [1, 2]}),
    "a name alone": lambda file: file["layer1"].attrs.update({"weight_names": "kernel"}),
    "a layer that is a table": lambda file: (file.pop("layer1"), file.update({"layer1": [1.0]})),
    "a link to nothing": set_link(h5py.SoftLink("/nothing")),
    "a link to itself": set_link(h5py.SoftLink("/layer1")),
    "a link to another file": set_link(h5py.ExternalLink("../zones/model_31 N.h5", "/layer1")),
    "model_weights a table": lambda file: file.update({"model_weights": [1.0]}),
}


@by_name("change", BAD_ZONES)
def test_zones(change, tmp_path):
    path = write_zone(tmp_path / "model_31 N.h5")
    with h5py.File(path, "r+") as file:
        change(file)
    check_file(path, lambda: GPS2VecEncoder(tmp_path).fit_transform(PLACES))
