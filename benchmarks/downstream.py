"""What location features are worth to a model that uses them.

    pip install --no-deps -r benchmarks/requirements.txt
    python benchmarks/downstream.py            # about 20 minutes on 2 CPU cores

Six regressions (station temperature and precipitation, airport elevation, population within 100 km,
turbidity in January and July) and three classifications (Köppen class, land cover, country), on
land points spread evenly by area, with standardised features and a ridge (its strength by
leave-one-out on the training rows). Random 80/20 splits, held-out 10° and 40° blocks, whole
continents held out, and random splits with 50, 200 and 1,000 labels; a gradient boosting beside the
ridge, on 40 principal components of many columns, and on what spatial_pipeline gives its trees; and
the RANGE protocol on station temperature. Writes downstream.csv, downstream.md and
downstream.png to docs/benchmarks.
"""

import argparse
import time
from pathlib import Path

import numpy as np
import pandas as pd
from labels import continent, load_tasks
from scipy.fft import dct
from sklearn.decomposition import PCA
from sklearn.ensemble import HistGradientBoostingRegressor
from sklearn.linear_model import RidgeCV
from sklearn.model_selection import LeaveOneGroupOut, train_test_split
from sklearn.neighbors import KNeighborsClassifier, KNeighborsRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MinMaxScaler, StandardScaler

from skgeo_embed import GeoCLIPEncoder, PositionalEncoder, SatCLIPEncoder
from skgeo_embed._errors import ModelDownloadError, ModelNotFoundError
from skgeo_embed.datasets import load_air_temperature
from skgeo_embed.model_selection import SpatialBlockKFold
from skgeo_embed.models.registry import BUNDLED, DEFAULT_MODEL, SATCLIP_CHECKPOINTS

OUTPUT = Path(__file__).resolve().parent.parent / "docs" / "benchmarks"
ALPHAS = np.logspace(-1, 5, 13)
SPLITS = ("random", "10° blocks", "40° blocks", "continents", "n = 50", "n = 200", "n = 1,000")
BOOSTED = ("random", "10° blocks")  # one split each; far away all folds, of a few rows
BOOSTED_FAR = ("random", "10° blocks", "40° blocks", "continents")
TREES = "what spatial_pipeline gives its trees"
FAR_ROWS = ("longitude, latitude", TREES)
N_FOR_TREES = 40
N_OF_PIPELINE = 20  # components that spatial_pipeline gives its trees, beside content
SHORT_ROWS = {  # of the tables on the page, and how they are called there
    "longitude, latitude": "longitude, latitude",
    "5 nearest labels (haversine)": "5 nearest labels",
    "spherical harmonics, L = 20": "spherical harmonics, L = 20",
    "GeoCLIP": "GeoCLIP",
    TREES: "what `spatial_pipeline` gives its trees",
    "earth-l20 untrained, hidden": "the default, untrained",
    "earth-l20, 256 columns": "the default, 256 columns",
    "earth-l20, hidden": "`SatCLIPEncoder()`, the default",
}
SHORT_SPLITS = {
    "random": "random folds",
    "10° blocks": "10° blocks",
    "40° blocks": "40° blocks",
    "n = 50": "50 labels",
    "n = 1,000": "1,000 labels",
}


def tree_features(encoder, lonlat):
    """What spatial_pipeline gives its trees: longitude, latitude and the encoder's first columns.

    `encoder` is fitted; the columns are those of `tree_columns` in the pipeline.
    """
    components = dct(encoder.transform(lonlat).astype(np.float64), norm="ortho", axis=1)
    content = SatCLIPEncoder(layer="content").fit_transform(lonlat)
    return np.column_stack([lonlat, components[:, :N_OF_PIPELINE], content])


class TreeFeatures:
    """The row of `tree_features`, of the default encoder."""

    def fit_transform(self, lonlat):
        return tree_features(SatCLIPEncoder().fit(), lonlat)


def make_rows():
    """Name and transformer of each row."""
    rows = {
        "longitude, latitude": None,
        "sine, cosine": PositionalEncoder("wrap"),
        "spherical harmonics, L = 10": PositionalEncoder(legendre_polys=10),
        "spherical harmonics, L = 20": PositionalEncoder(legendre_polys=20),
        "5 nearest labels (haversine)": "neighbours",
        "GeoCLIP": GeoCLIPEncoder(),
    }
    for name in BUNDLED:
        for layer in ("embedding", "hidden"):
            rows[f"{name} untrained, {layer}"] = SatCLIPEncoder(name, layer=layer, untrained=True)
            rows[f"{name}, {layer}"] = SatCLIPEncoder(name, layer=layer)
    for columns in (64, 256):
        rows[f"{DEFAULT_MODEL}, {columns} columns"] = SatCLIPEncoder(n_components=columns)
    rows[TREES] = TreeFeatures()
    for name in SATCLIP_CHECKPOINTS:
        try:
            rows[name] = SatCLIPEncoder(name, local_files_only=True).fit()
        except (ModelNotFoundError, ModelDownloadError):
            print(f"{name} is not in the cache and is left out")
    return rows


def splits_of(lonlat, quick):
    n = len(lonlat)
    for seed in range(1 if quick else 3):
        yield "random", train_test_split(np.arange(n), test_size=0.2, random_state=seed)
    for size in (10, 40):
        folds = SpatialBlockKFold(5, block_size=size, shuffle=True, random_state=0)
        for fold in folds.split(lonlat):
            yield f"{size}° blocks", fold
    for fold in LeaveOneGroupOut().split(lonlat, groups=continent(lonlat)):
        yield "continents", fold
    for size in (50, 200, 1000):
        for seed in range(2 if quick else 6):
            rows = np.random.RandomState(seed).permutation(n)
            yield f"n = {size:,}", (rows[:size], rows[-2000:])


def coded(values):
    """Numbers as they are, classes as integers."""
    if values.dtype.kind == "f":
        return values
    return np.unique(values, return_inverse=True)[1]


class Ridges:
    """Ridges of many targets on the same features, the strength of each by leave-one-out."""

    def __init__(self, train, test):
        scaler = StandardScaler().fit(train)
        self.train, self.test = scaler.transform(train), scaler.transform(test)
        gram = (
            self.train @ self.train.T if len(train) < train.shape[1] else self.train.T @ self.train
        )
        values, vectors = np.linalg.eigh(gram)
        kept = values > 1e-10 * values.max()
        self.values, vectors = values[kept], vectors[:, kept]
        if len(train) < train.shape[1]:  # left singular vectors, and what they are in features
            self.left, right = vectors, self.train.T @ vectors / np.sqrt(self.values)
        else:
            self.left, right = self.train @ vectors / np.sqrt(self.values), vectors
        self.queries = self.test @ right * np.sqrt(self.values)

    def predict(self, y, alpha):
        """Predict the test rows of y (n, t)."""
        mean = y.mean(axis=0)
        rotated = self.left.T @ (y - mean)
        return self.queries @ (rotated / (self.values + alpha)[:, None]) + mean

    def choose(self, y):
        """The strength with the least leave-one-out error, one for all columns of y."""
        centred = y - y.mean(axis=0)
        rotated, errors = self.left.T @ centred, []
        for alpha in ALPHAS:
            kept = self.values / (self.values + alpha)
            fitted = self.left @ (kept[:, None] * rotated)
            leverage = self.left**2 @ kept + 1 / len(y)
            errors.append((((centred - fitted) / (1 - leverage)[:, None]) ** 2).mean())
        return ALPHAS[np.argmin(errors)]

    def choose_on_test(self, y, truth):
        """The strength with the least error on the test rows."""
        return min(ALPHAS, key=lambda alpha: ((self.predict(y, alpha) - truth) ** 2).mean())


def inner_blocks(features, lonlat, train, size):
    """Ridges that a strength for held-out blocks can be chosen by, of training rows alone."""
    folds = SpatialBlockKFold(4, block_size=size, shuffle=True, random_state=1)
    inner_train, inner_test = next(folds.split(lonlat[train]))
    return (
        Ridges(features[train[inner_train]], features[train[inner_test]]),
        inner_train,
        inner_test,
    )


def score(y, predicted, is_class):
    if is_class:
        return np.mean(y == predicted)
    return 1 - ((y - predicted) ** 2).sum() / ((y - y.mean()) ** 2).sum()


def neighbours(lonlat, y, is_class, train, test):
    kind = KNeighborsClassifier if is_class else KNeighborsRegressor
    model = kind(5, weights="distance", metric="haversine")
    radians = np.deg2rad(lonlat[:, ::-1])
    return model.fit(radians[train], y[train]).predict(radians[test])


def boosting(features, y, train, test):
    """Predict by trees, of many columns on 40 principal components."""
    model = HistGradientBoostingRegressor(max_iter=100, random_state=0)
    if features.shape[1] > N_FOR_TREES + 10:
        reduced = PCA(N_FOR_TREES, random_state=0)
        model = make_pipeline(StandardScaler(), reduced, model)
    return model.fit(features[train], y[train]).predict(features[test])


def predictions(encoder, groups, quick, boosted):
    """Yield probe, split, label, values, test rows and what is predicted of them, of one row.

    Boosting predicts numbers on the splits of `boosted`: one split each nearby, and far away all.
    """
    for _, lonlat, labels in groups:
        features = lonlat
        if encoder not in (None, "neighbours"):
            features = np.asarray(encoder.fit_transform(lonlat), dtype=np.float64)
        done = set()
        for split, (train, test) in splits_of(lonlat, quick):
            ridges = None if encoder == "neighbours" else Ridges(features[train], features[test])
            inner = None
            if split == "10° blocks" and ridges is not None:
                inner = inner_blocks(features, lonlat, train, 10)
            boost = split in boosted and not (split in BOOSTED and split in done)
            done.add(split)
            for label, values in labels.items():
                if split == "continents" and label == "country":
                    continue  # no country is on two continents
                is_class, y = values.dtype.kind != "f", coded(values)
                if ridges is None:
                    yield (
                        "ridge",
                        split,
                        label,
                        y,
                        test,
                        neighbours(lonlat, y, is_class, train, test),
                    )
                    continue
                for probe, found in ridge_predictions(ridges, inner, y, is_class, train):
                    yield probe, split, label, y, test, found
                if boost and not is_class:
                    yield "boosting", split, label, y, test, boosting(features, y, train, test)


def ridge_predictions(ridges, inner, y, is_class, train):
    """Probe and predictions: strength by leave-one-out, and by blocks where `inner` is given."""
    target = 2.0 * np.eye(y.max() + 1)[y] - 1 if is_class else y[:, None]
    alphas = {"ridge": ridges.choose(target[train])}
    if inner is not None:
        inner_ridges, *parts = inner
        alphas["ridge by blocks"] = inner_ridges.choose_on_test(
            *(target[train[part]] for part in parts)
        )
    for probe, alpha in alphas.items():
        raw = ridges.predict(target[train], alpha)
        yield probe, raw.argmax(axis=1) if is_class else raw[:, 0]


def evaluate(encoder, groups, quick, boosted=BOOSTED):
    """Scores of one row: probe, split, label, whether it is classes, score.

    Continents are scored once, over the predictions of all: within one, labels may hardly vary.
    """
    together = {}
    for probe, split, label, y, test, found in predictions(encoder, groups, quick, boosted):
        if split == "continents":
            together.setdefault((probe, label), (y, y.astype(float)))[1][test] = found
        else:
            is_class = y.dtype.kind != "f"
            yield probe, split, label, is_class, score(y[test], found, is_class)
    for (probe, label), (y, found) in together.items():
        is_class = y.dtype.kind != "f"
        yield probe, "continents", label, is_class, score(y, found, is_class)


def range_protocol(encoder):
    """Station temperature as RANGE (Dhakal et al. 2025) measures it."""
    X, y = load_air_temperature(return_X_y=True, as_frame=False)
    if encoder == "neighbours":
        return np.nan
    features = X if encoder is None else encoder.fit_transform(X)
    scores = []
    for seed in range(5):
        parts = train_test_split(features, y, test_size=0.2, random_state=seed)
        model = make_pipeline(MinMaxScaler(), RidgeCV(alphas=[0.1, 1, 10], cv=3))
        scores.append(model.fit(parts[0], parts[2]).score(parts[1], parts[3]))
    return np.mean(scores)


def summarize(scores):
    """Mean over labels of the mean over repeats, and its standard error over repeats."""
    means = scores.groupby(["row", "probe", "split", "classes", "label"], sort=False)["score"]
    table = means.agg(["mean", "sem"]).reset_index()
    grouped = table.groupby(["row", "probe", "split", "classes"], sort=False)
    return grouped.agg(
        mean=("mean", "mean"), error=("sem", lambda s: np.sqrt((s**2).sum()) / len(s))
    )


def cell(summary, row, probe, split):
    """Mean R² / mean accuracy."""
    if (row, probe, split, False) not in summary.index:
        return ""
    means = [
        summary.loc[(row, probe, split, classes), "mean"]
        for classes in (False, True)
        if (row, probe, split, classes) in summary.index
    ]
    return " / ".join(f"{mean:.3f}" for mean in means)


def in_short(summary):
    """Two tables that fit on a page, of regressions and of classes, with the best in bold."""
    lines = []
    for classes, head in (
        (False, "Mean R² of six regressions"),
        (True, "Mean accuracy of three classifications"),
    ):
        best = {
            split: max(summary.loc[(row, "ridge", split, classes), "mean"] for row in SHORT_ROWS)
            for split in SHORT_SPLITS
        }
        lines += [
            f"{head}:\n",
            "| features | " + " | ".join(SHORT_SPLITS.values()) + " |",
            "| --- |" + " --- |" * len(SHORT_SPLITS),
        ]
        for row, label in SHORT_ROWS.items():
            means = {s: summary.loc[(row, "ridge", s, classes), "mean"] for s in SHORT_SPLITS}
            cells = [f"**{m:.3f}**" if m == best[s] else f"{m:.3f}" for s, m in means.items()]
            lines.append(f"| {label} | " + " | ".join(cells) + " |")
        lines.append("")
    return "\n".join(lines)


def markdown(summary, range_scores):
    columns = [("ridge", split) for split in SPLITS]
    columns.insert(2, ("ridge by blocks", "10° blocks"))
    heads = [split if probe == "ridge" else f"{split}, tuned by blocks" for probe, split in columns]
    lines = [
        "Mean R² of six regressions / mean accuracy of three classifications, by a ridge whose "
        "strength is chosen by leave-one-out, or by held-out blocks of the training rows. Whole "
        "continents are held out and scored together, without the country as a class. The last "
        "column is R² on the RANGE protocol.\n",
        "| features | " + " | ".join(heads) + " | RANGE |",
        "| --- |" + " --- |" * (len(heads) + 1),
    ]
    for row, value in range_scores.items():
        cells = [cell(summary, row, *column) for column in columns]
        cells.append("" if np.isnan(value) else f"{value:.3f}")
        lines.append(f"| {row} | " + " | ".join(cells) + " |")
    errors = summary.xs("ridge", level="probe")["error"].groupby("split", sort=False).mean()
    listed = ", ".join(
        f"{split} {errors[split]:.3f}" for split in SPLITS if errors.get(split, 0) > 0
    )
    lines += [
        f"\nStandard errors over repeats, mean over rows: {listed}.\n",
        "R² of gradient boosting, of many columns on 40 principal components; one split each of "
        "the first two, and of a few rows far away:\n",
        "| features | " + " | ".join(BOOSTED_FAR) + " |",
        "| --- |" + " --- |" * len(BOOSTED_FAR),
    ]
    for row in range_scores:
        cells = [cell(summary, row, "boosting", split) for split in BOOSTED_FAR]
        if any(cells):
            lines.append(f"| {row} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def draw(summary, path):
    import matplotlib

    matplotlib.use("agg")
    import matplotlib.pyplot as plt

    ridge = summary.xs("ridge", level="probe")["mean"].unstack("split")[list(SPLITS)]
    figure, axes = plt.subplots(1, 2, figsize=(12, 5.6), layout="constrained", sharey=True)
    for axis, classes in zip(axes, (False, True), strict=True):
        table = ridge.xs(classes, level="classes")
        order = summary.index.get_level_values("row").unique()[::-1]
        for split, colour, marker in zip(
            ("random", "10° blocks", "n = 200", "n = 50"),
            ("#0072B2", "#D55E00", "#009E73", "#999999"), "osD^", strict=True,
        ):  # fmt: skip
            axis.scatter(
                table.loc[order, split].clip(lower=0), order, c=colour, marker=marker, label=split
            )
        axis.grid(axis="x", alpha=0.3)
        axis.set_xlabel("mean accuracy, 3 classifications" if classes else "mean R², 6 regressions")
        axis.spines[["top", "right"]].set_visible(False)
    figure.legend(
        *axes[0].get_legend_handles_labels(), loc="outside upper center", ncols=4, frameon=False
    )
    figure.savefig(path, dpi=90)


def fill_in(page, mark, text):
    """Put `text` between two marks of a page of the documentation."""
    begin, end = f"<!-- {mark} -->", f"<!-- end of {mark} -->"
    before, _, rest = page.read_text().partition(begin)
    after = rest.partition(end)[2]
    page.write_text(f"{before}{begin}\n{text}{end}{after}")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--points", type=int, default=6000, help="land points")
    parser.add_argument("--seed", type=int, default=2027, help="of the points")
    parser.add_argument("--quick", action="store_true", help="fewer repeats")
    parser.add_argument("--only", help="rows whose name contains this, printed, nothing written")
    parser.add_argument(
        "--merge", action="store_true", help="with --only: write them beside others"
    )
    arguments = parser.parse_args()
    groups = load_tasks(arguments.points, arguments.seed)
    found, range_scores = [], {}
    for name, encoder in make_rows().items():
        if arguments.only and arguments.only not in name:
            continue
        started = time.perf_counter()
        columns = ["probe", "split", "label", "classes", "score"]
        boosted = BOOSTED_FAR if name in FAR_ROWS else BOOSTED
        scores = pd.DataFrame(evaluate(encoder, groups, arguments.quick, boosted), columns=columns)
        found.append(scores.assign(row=name))
        range_scores[name] = range_protocol(encoder)
        print(f"{name}: {time.perf_counter() - started:.0f} s", flush=True)
    scores = pd.concat(found)
    if arguments.merge:
        before = pd.read_csv(OUTPUT / "downstream.csv")
        kept = before[~before["row"].isin(scores["row"])]
        scores = pd.concat([scores, kept])
        measured = pd.read_csv(OUTPUT / "range.csv", index_col="row")["r2"].to_dict()
        range_scores = {
            **range_scores,
            **{k: v for k, v in measured.items() if k in set(kept["row"])},
        }
    text = markdown(summarize(scores), range_scores)
    print(text)
    if not arguments.only or arguments.merge:
        pd.Series(range_scores, name="r2").rename_axis("row").to_csv(OUTPUT / "range.csv")
        OUTPUT.mkdir(parents=True, exist_ok=True)
        scores.to_csv(OUTPUT / "downstream.csv", index=False, float_format="%.5f")
        (OUTPUT / "downstream.md").write_text(text)
        page = OUTPUT.parent / "which_encoder.md"
        fill_in(page, "downstream in short", in_short(summarize(scores)))
        fill_in(page, "downstream", text)
        draw(summarize(scores), OUTPUT / "downstream.png")


if __name__ == "__main__":
    main()
