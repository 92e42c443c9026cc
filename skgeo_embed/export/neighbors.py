"""The nearest of a table of places in a graph, and what predictions take from them."""

from __future__ import annotations

from typing import Any

import numpy as np

from skgeo_embed._sphere import EARTH_RADIUS_KM, lonlat_of
from skgeo_embed._sphere import unit_vectors as unit_vectors_of
from skgeo_embed.export.graph import DOUBLE, FLOAT, Graph
from skgeo_embed.prediction.calibration import (
    MIN_DISTANCE_KM,
    N_NEAREST,
    Calibration,
    LocalScale,
    Remoteness,
    RemotenessBands,
)
from skgeo_embed.prediction.corrections import NeighborCorrection

ROWS_AT_ONCE = 64  # so that distances to tens of thousands of places take 10 MB or so
SPARE = 8  # more candidates than neighbours: products order places that are 0.1 m apart by chance


def unit_vectors(graph: Graph, lonlat: str) -> str:
    """Turn degrees, (n, 2), into points of the unit sphere, (n, 3)."""
    angles = graph.Mul(lonlat, np.pi / 180)
    sines, cosines = graph.Sin(angles), graph.Sin(graph.Add(angles, np.pi / 2))
    sin_lon, sin_lat = graph.Split(sines, axis=1, num_outputs=2, n_outputs=2)
    cos_lon, cos_lat = graph.Split(cosines, axis=1, num_outputs=2, n_outputs=2)
    return graph.Concat(graph.Mul(cos_lat, cos_lon), graph.Mul(cos_lat, sin_lon), sin_lat, axis=1)


def nearest(graph: Graph, points: str, known: np.ndarray, count: int) -> tuple[str, str]:
    """Return chords to the nearest known points, (n, count), in their order, and their rows.

    Products find candidates, of which the differences then are exact.
    """
    table, last = graph.constant(known), np.array([2])
    candidates = _largest_products(graph, points, table, min(count + SPARE, len(known)))
    apart = graph.Sub(graph.Gather(table, candidates, axis=0), graph.Unsqueeze(points, [1]))
    square = graph.ReduceSum(graph.Mul(apart, apart), last, keepdims=0)
    square, order = graph.TopK(square, np.array([count]), largest=0, n_outputs=2)
    return graph.Sqrt(square), graph.GatherElements(candidates, order, axis=1)


def _largest_products(graph: Graph, points: str, table: str, count: int) -> str:
    """Return the rows of a table (m, 3) with the largest products with points, some at a time."""
    n_rows = graph.Shape(points, start=0, end=1)
    at_once = graph.Max(graph.Min(n_rows, [ROWS_AT_ONCE]), [1])
    n_blocks = graph.Div(graph.Sub(graph.Add(n_rows, at_once), [1]), at_once)
    surplus = graph.Sub(graph.Mul(n_blocks, at_once), n_rows)
    padded = graph.Pad(points, graph.Concat([0, 0], surplus, [0], axis=0))
    blocks = graph.Reshape(padded, graph.Concat(n_blocks, at_once, [3], axis=0))
    transposed = graph.Transpose(table, perm=[1, 0])
    found = graph.scan(blocks, lambda body, block: body.TopK(
        body.MatMul(block, transposed), np.array([count]), n_outputs=2)[1])  # fmt: skip
    flat = graph.Reshape(found, [-1, count])
    return graph.Slice(flat, [0], n_rows, [0])


def arcs(graph: Graph, chords: str) -> str:
    """Turn chords of the unit sphere into angles: 2 arcsin(c / 2).

    onnxruntime has the arcsine in single precision: a step of Newton's method does the rest, and
    near a right angle it is taken at the half of what the angle lacks.
    """
    size = graph.Min(graph.Mul(chords, 0.5), 1.0)
    steep = graph.Greater(size, 0.7)
    sine = graph.Where(steep, graph.Sqrt(graph.Mul(graph.Sub(1.0, size), 0.5)), size)
    start = graph.Cast(graph.Asin(graph.Cast(sine, to=FLOAT)), to=DOUBLE)
    error = graph.Sub(graph.Sin(start), sine)
    angle = graph.Sub(start, graph.Div(error, graph.Sin(graph.Add(start, np.pi / 2))))
    return graph.Mul(graph.Where(steep, graph.Sub(np.pi / 2, graph.Mul(angle, 2.0)), angle), 2.0)


def neighbor_correction(
    graph: Graph, correction: NeighborCorrection, lonlat: str, predicted: str
) -> str | None:
    """Return what neighbours add to predictions (n, k), as `NeighborCorrection.correct` does."""
    weighting, own, known = correction.weighting, correction._own, correction._known
    if weighting is None and own is None:
        return None
    most = 1 if weighting is None else weighting.n_neighbors + (own is not None)
    most = min(most, len(known.lonlat))
    graph.known_places.append(known.lonlat)
    points = unit_vectors(graph, lonlat)
    chords, neighbor = nearest(graph, points, unit_vectors_of(known.lonlat), most)
    distance = arcs(graph, chords)
    if own is None:
        return _of_neighbors(graph, correction, distance, neighbor, predicted)
    first = graph.Gather(distance, [0], axis=1)
    at_home = graph.Less(graph.Mul(first, EARTH_RADIUS_KM), MIN_DISTANCE_KM)
    mean_of_rows = graph.Gather(own, graph.Gather(neighbor, np.array(0), axis=1), axis=0)
    added = graph.Where(at_home, mean_of_rows, 0.0)
    if weighting is None:
        return added
    kept = graph.Where(at_home, np.arange(1, most)[None], np.arange(most - 1)[None])
    distance = graph.GatherElements(distance, kept, axis=1)
    neighbor = graph.GatherElements(neighbor, kept, axis=1)
    return graph.Add(_of_neighbors(graph, correction, distance, neighbor, predicted), added)


def _of_neighbors(
    graph: Graph, correction: NeighborCorrection, distance: str, neighbor: str, predicted: str
) -> str:
    known, weighting = correction._known, correction.weighting
    assert weighting is not None
    distance = graph.Mul(distance, EARTH_RADIUS_KM / known.spacing_km)
    weights = graph.Reciprocal(graph.Add(distance, weighting.softening))
    total = graph.ReduceSum(weights, [1])

    def mean(values: np.ndarray) -> str:
        around = graph.Gather(values, neighbor, axis=0)
        summed = graph.MatMul(graph.Unsqueeze(weights, [1]), around)
        return graph.Div(graph.Squeeze(summed, [1]), total)

    change = mean(known.residuals)
    if weighting.label_share:
        apart = graph.Sub(predicted, mean(known.predicted))
        change = graph.Sub(change, graph.Mul(apart, weighting.label_share))
    hold = graph.Div(total, graph.Add(total, weighting.shrinkage))
    if np.isfinite(correction.reach):
        first = graph.Gather(distance, [0], axis=1)
        hold = graph.Mul(hold, graph.Exp(graph.Div(first, -correction.reach)))
    return graph.Mul(hold, change)


def error_bounds(graph: Graph, conformal: Any, lonlat: str) -> str:
    """Return the bound of the error at each place, (n, 1), as a conformal estimator has it."""
    graph.known_places.append(lonlat_of(conformal._known._tree.points))
    points = unit_vectors(graph, lonlat)
    remoteness, is_known = _remoteness(graph, conformal._known, points)
    away, here = (
        None if one is None else _bounds(graph, one, points, remoteness)
        for one in (conformal._away, conformal._here)
    )
    if here is None:
        assert away is not None
        return away
    return graph.Where(is_known, here, np.inf if away is None else away)


def _remoteness(graph: Graph, remoteness: Remoteness, points: str) -> tuple[str, str]:
    known = remoteness._tree.points
    chords, neighbor = nearest(graph, points, known, min(N_NEAREST, len(known)))
    centre = graph.ReduceMean(graph.Gather(known, neighbor, axis=0), [1], keepdims=0)
    apart = graph.Sub(centre, points)
    to_centre = graph.Sqrt(graph.ReduceSum(graph.Mul(apart, apart), [1]))
    mean = graph.ReduceMean(chords, [1])
    distance = graph.Mul(graph.Add(mean, to_centre), EARTH_RADIUS_KM)
    first = graph.Mul(graph.Gather(chords, [0], axis=1), EARTH_RADIUS_KM)
    return graph.Max(distance, MIN_DISTANCE_KM), graph.Less(first, MIN_DISTANCE_KM)


def _bounds(graph: Graph, calibration: Calibration, points: str, remoteness: str) -> str:
    bound = _of_bands(graph, calibration.bands, remoteness)
    if calibration._local is None:
        return bound
    return graph.Mul(bound, _local_scale(graph, calibration._local, points))


def _of_bands(graph: Graph, bands: RemotenessBands, remoteness: str) -> str:
    """Interpolate between bands: the first value, and what each section up to the place adds."""
    first = bands.quantile[:1]
    if len(bands.middle) == 1 or np.isinf(bands.quantile).any():
        return graph.Add(graph.Mul(remoteness, 0.0), first)
    knots = np.log(bands.middle)
    lengths = np.diff(knots)
    into = graph.Sub(graph.Log(remoteness), knots[:-1])
    share = graph.Min(graph.Max(graph.Div(into, lengths), 0.0), 1.0)
    return graph.Add(graph.MatMul(share, np.diff(bands.quantile)[:, None]), first)


def _local_scale(graph: Graph, local: LocalScale, points: str) -> str:
    """Return the weighted conformal quantile of the ratios of errors around each place."""
    (count,) = local._counts
    chords, neighbor = nearest(graph, points, local._tree.points, count)
    bandwidth = graph.Max(graph.Gather(chords, [count // 2], axis=1), 1e-12)
    share = graph.Div(chords, bandwidth)
    near = graph.Exp(graph.Mul(graph.Mul(share, share), -0.5))
    mass = graph.Mul(graph.Gather(local._mass, neighbor, axis=0), near)
    ratio, order = graph.TopK(
        graph.Gather(local._ratio, neighbor, axis=0), [count], largest=0, n_outputs=2
    )
    summed = graph.CumSum(graph.GatherElements(mass, order, axis=1), np.array(1))
    total = graph.Gather(summed, [count - 1], axis=1)
    wanted = graph.Sub(graph.Mul(graph.Add(total, 1.0), local._level), 1e-9)
    reached = graph.Cast(graph.GreaterOrEqual(summed, wanted), to=DOUBLE)
    found = graph.GatherElements(ratio, graph.ArgMax(reached, axis=1), axis=1)
    return graph.Where(graph.GreaterOrEqual(total, wanted), found, np.inf)
