"""The encoder inside Ray Data's map_batches."""

import numpy as np
import pandas as pd
import pytest

from skgeo_embed import PositionalEncoder, SatCLIPEncoder

pytest.importorskip("h3")
ray = pytest.importorskip("ray")


@pytest.fixture
def small_ray(unchanged_process):
    ray.init(
        num_cpus=2,
        include_dashboard=False,
        log_to_driver=False,
        logging_level="error",
        object_store_memory=100 * 2**20,
    )
    yield
    ray.shutdown()


@pytest.mark.slow
def test_map_batches(small_ray):
    import ray.data

    ray.data.DataContext.get_current().enable_progress_bars = False
    frame = pd.DataFrame({"id": np.arange(1000), "lon": np.linspace(-180, 180, 1000), "lat": 7.0})
    encoder = SatCLIPEncoder("bluemarble-l10").fit(frame[["lon", "lat"]])
    encoder.set_output(transform="pandas")

    def add_features(batch):
        return batch.join(encoder.transform(batch[["lon", "lat"]]))

    table = ray.data.from_pandas(frame).map_batches(
        add_features, batch_format="pandas", batch_size=300
    )
    encoded = table.to_pandas().sort_values("id")
    expected = encoder.transform(frame[["lon", "lat"]])
    ours = encoded[expected.columns].to_numpy(dtype=float)
    np.testing.assert_allclose(ours, expected, atol=1e-5)

    cells = pd.DataFrame({"id": [1, 2], "h3": ["85283473fffffff", "8029fffffffffff"]})
    areas = PositionalEncoder(legendre_polys=4, area_points=8).fit().set_output(transform="pandas")

    def add_areas(batch):
        return batch.join(areas.transform(batch["h3"]))

    table = ray.data.from_pandas(cells).map_batches(add_areas, batch_format="pandas")
    encoded = table.to_pandas().sort_values("id")
    expected = areas.transform(cells["h3"])
    ours = encoded[expected.columns].to_numpy(dtype=float)
    np.testing.assert_allclose(ours, expected, atol=1e-12)
