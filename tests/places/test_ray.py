"""The encoder inside Ray Data's map_batches."""

import numpy as np
import pandas as pd
import pytest

from skgeo_embed import SatCLIPEncoder

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
