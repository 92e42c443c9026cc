"""Prepare the auxiliary targets of a run from a sample of its pairs."""

from __future__ import annotations

import numpy as np
import torch
from sklearn.cluster import MiniBatchKMeans
from sklearn.decomposition import PCA

from skgeo_embed.nn.objectives.auxiliary import AuxiliaryTargets, summarize_images
from skgeo_embed.nn.sphere import unit_vectors
from skgeo_embed.pretraining.data.batches import read_rows
from skgeo_embed.pretraining.run.source import Source

SAMPLE = 8192  # pairs
CHUNK = 512  # pairs that are read at a time
N_AXES = 15
N_CLUSTERS = (16, 64)
N_CELLS = (12, 30, 80)


def auxiliary_targets(source: Source, rows: list[int], seed: int) -> AuxiliaryTargets:
    """Learn scale and clusters of image summaries, and cells of the sphere, from training pairs.

    Parameters
    ----------
    source : Source
        Images or cached features, and coordinates.
    rows : list of int
        Training rows.
    seed : int
        Seeds the sample, the clusters and the cells.
    """
    rng = np.random.RandomState(seed % 2**32)
    chosen = np.sort(rng.permutation(rows)[:SAMPLE])
    summaries, points = [], []
    for start in range(0, len(chosen), CHUNK):
        rows_here = [int(row) * source.n_views for row in chosen[start : start + CHUNK]]
        batch = read_rows(source.pairs, rows_here)
        summaries.append(summarize_images(source.views(batch["image"], random=False)))
        points.append(batch["point"])
    summary, lonlat = torch.cat(summaries), torch.cat(points)
    mean, scale = summary.mean(dim=0), summary.std(dim=0) + 1e-6
    standard = ((summary - mean) / scale).clamp(-4, 4).numpy()
    pca = PCA(min(N_AXES, *standard.shape), random_state=rng.randint(2**31)).fit(standard)
    axes = torch.from_numpy(pca.components_.T.astype(np.float32).copy())
    reduced = standard @ axes.numpy()
    clusters = [
        MiniBatchKMeans(min(count, len(reduced)), n_init=2, random_state=rng.randint(2**31)).fit(
            reduced
        )
        for count in N_CLUSTERS
    ]
    position = unit_vectors(lonlat).float()
    cells = [
        position[rng.choice(len(position), min(count, len(position)), replace=False)]
        for count in N_CELLS
    ]
    centres = [torch.from_numpy(c.cluster_centers_.astype(np.float32)) for c in clusters]
    return AuxiliaryTargets(mean, scale, axes, centres, cells)
