"""Pipelines of whole tables in ONNX: they predict what the estimators predict."""

import json
import warnings

import numpy as np
import pandas as pd
import pytest
from sklearn.compose import ColumnTransformer, TransformedTargetRegressor
from sklearn.ensemble import (
    ExtraTreesClassifier,
    ExtraTreesRegressor,
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
    RandomForestClassifier,
    RandomForestRegressor,
)
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.model_selection import GridSearchCV
from sklearn.neighbors import KNeighborsRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, MaxAbsScaler, OneHotEncoder, StandardScaler
from sklearn.svm import SVR

from skgeo_embed import (
    PositionalEncoder,
    ResidualInterpolator,
    SpatialConformalClassifier,
    SpatialConformalRegressor,
    spatial_pipeline,
    to_onnx,
)
from skgeo_embed.export import networks, pipelines, register_converters

onnx = pytest.importorskip("onnx")
onnxruntime = pytest.importorskip("onnxruntime")

BOOSTING = HistGradientBoostingRegressor(max_iter=10, min_samples_leaf=5)


def _encoder(**options):
    return PositionalEncoder(legendre_polys=3, dtype="float32", **options)


@pytest.fixture(scope="module", autouse=True)
def encoder_in_onnx():
    """The graph of the encoder, which all pipelines here share, is made once: it takes seconds."""
    made = networks.encoder_model(_encoder().fit()).SerializeToString()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pipelines, "encoder_model", lambda encoder: onnx.ModelProto.FromString(made))
        yield


def _table(n=120):
    random = np.random.default_rng(0)
    table = pd.DataFrame(
        {
            "id": np.arange(n),
            "lon": random.uniform(-10, 30, n),
            "size": random.normal(100, 30, n).round(),
            "kind": random.choice(["flat", "house", "hut"], n, p=[0.6, 0.3, 0.1]),
            "lat": random.uniform(35, 60, n),
            "rooms": random.integers(1, 5, n),
        }
    )
    table.loc[::9, "size"] = np.nan
    return table


TABLE = _table()
PLACES = TABLE[["lon", "lat"]]
Y = (
    np.sin(TABLE["lon"] / 5)
    + TABLE["lat"] / 20
    + (TABLE["kind"] == "house")
    + TABLE["size"].fillna(100) / 100
).to_numpy()
KIND = TABLE["kind"].to_numpy()


def _columns():
    filled = make_pipeline(SimpleImputer(add_indicator=True), StandardScaler())
    return ColumnTransformer(
        [
            ("encoder", _encoder(), ["lat", "lon"]),
            ("words", OneHotEncoder(handle_unknown="ignore"), ["kind", "rooms"]),
            ("numbers", filled, ["size"]),
        ]
    )


def _inputs(session, table):
    """Columns of a table as a file takes them."""
    inputs = {}
    for entry in session.get_inputs():
        if entry.name == "lonlat":
            inputs["lonlat"] = table[["lon", "lat"]].to_numpy()
        elif entry.type == "tensor(string)":
            words = table[entry.name].astype(object)
            inputs[entry.name] = words.where(words.notna(), "").to_numpy(dtype=object)[:, None]
        else:
            inputs[entry.name] = table[entry.name].to_numpy(dtype=np.float64)[:, None]
    return inputs


def _exported(model, path, table=TABLE):
    """What a file gives for a table, by names."""
    to_onnx(model, path)
    session = onnxruntime.InferenceSession(path)
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(None, _inputs(session, table)), strict=True))


def _assert_predicts(model, path, table=TABLE):
    found = _exported(model, path, table)["prediction"]
    expected = model.predict(table)
    assert found.shape == (len(table), expected.size // len(table))
    np.testing.assert_allclose(found.reshape(expected.shape), expected, rtol=2e-5, atol=2e-5)


@pytest.mark.parametrize(
    "last",
    [
        Ridge(),
        BOOSTING,
        ExtraTreesRegressor(5, random_state=0),
        KNeighborsRegressor(),
        SVR(),  # which onnxruntime has in single precision alone
    ],
    ids=lambda last: type(last).__name__,
)
def test_regressors_of_places(tmp_path, last):
    model = make_pipeline(_encoder(), StandardScaler(), last).fit(PLACES, Y)
    _assert_predicts(model, tmp_path / "model.onnx", PLACES)


@pytest.mark.parametrize(
    "last", [Ridge(), BOOSTING, RandomForestRegressor(5)], ids=lambda last: type(last).__name__
)
def test_columns_by_name(tmp_path, last):
    model = make_pipeline(_columns(), last).fit(TABLE, Y)
    _assert_predicts(model, tmp_path / "model.onnx")
    inputs = onnxruntime.InferenceSession(tmp_path / "model.onnx").get_inputs()
    assert [(entry.name, entry.type) for entry in inputs] == [
        ("lon", "tensor(double)"),
        ("size", "tensor(double)"),
        ("kind", "tensor(string)"),
        ("lat", "tensor(double)"),
        ("rooms", "tensor(double)"),
    ]


def test_columns_by_number(tmp_path):
    columns = ColumnTransformer([("encoder", _encoder(), [1, 2]), ("size", "passthrough", [0])])
    X = np.column_stack([TABLE["id"], PLACES])
    model = make_pipeline(columns, Ridge()).fit(X, Y)
    to_onnx(model, tmp_path / "model.onnx")
    session = onnxruntime.InferenceSession(tmp_path / "model.onnx")
    found = session.run(None, {"X": X.astype(float)})[0][:, 0]
    np.testing.assert_allclose(found, model.predict(X), rtol=1e-5)


@pytest.mark.parametrize(
    "last",
    [
        LogisticRegression(),
        HistGradientBoostingClassifier(max_iter=5, min_samples_leaf=5),
        RandomForestClassifier(5, random_state=0),
    ],
    ids=lambda last: type(last).__name__,
)
@pytest.mark.parametrize("y", [KIND, TABLE["rooms"] > 2], ids=["three words", "booleans"])
def test_classifiers(tmp_path, last, y):
    model = make_pipeline(_columns(), last).fit(TABLE, y)
    found = _exported(model, tmp_path / "model.onnx")
    assert found["label"].tolist() == model.predict(TABLE).tolist()
    np.testing.assert_allclose(found["probabilities"], model.predict_proba(TABLE), atol=1e-5)
    facts = {e.key: e.value for e in onnx.load(tmp_path / "model.onnx").metadata_props}
    assert json.loads(facts["classes"]) == model.classes_.tolist()


@pytest.mark.parametrize("last", [Ridge(), RandomForestRegressor(5)], ids=str)
def test_several_targets(tmp_path, last):
    model = make_pipeline(_columns(), last).fit(TABLE, np.column_stack([Y, 100 * Y]))
    _assert_predicts(model, tmp_path / "model.onnx")


def test_a_logarithm_of_the_target_and_the_best_of_a_search(tmp_path):
    search = GridSearchCV(make_pipeline(_columns(), Ridge()), {"ridge__alpha": [1, 9]}, cv=2)
    model = TransformedTargetRegressor(search, func=np.log1p, inverse_func=np.expm1)
    _assert_predicts(model.fit(TABLE, Y), tmp_path / "model.onnx")


def test_boosting_with_missing_values_and_splits_of_categories(tmp_path):
    table = TABLE.assign(kind=TABLE["kind"].astype("category"))
    encoder = ColumnTransformer(
        [("encoder", _encoder(), ["lon", "lat"])],
        remainder="passthrough",
        verbose_feature_names_out=False,
    ).set_output(transform="pandas")
    boosting = HistGradientBoostingRegressor(max_iter=20, min_samples_leaf=5)
    model = make_pipeline(encoder, boosting).fit(table, Y)
    splits = [tree.nodes["is_categorical"].any() for (tree,) in model[-1]._predictors]
    assert any(splits)
    new = table.assign(kind=TABLE["kind"].where(TABLE.index % 5 > 0, "castle"))
    new.loc[::4, "rooms"] = np.nan
    _assert_predicts(model, tmp_path / "model.onnx", new)


def test_rows_that_lie_on_thresholds(tmp_path):
    """Boosting takes values of training rows as thresholds; a graph is off by the last bit."""
    table = pd.concat([PLACES] * 3)
    model = make_pipeline(_encoder(), HistGradientBoostingRegressor(max_bins=16, max_iter=30))
    model.fit(table, np.tile(Y, 3))
    thresholds = np.unique(
        np.concatenate([tree.nodes["num_threshold"] for (tree,) in model[-1]._predictors])
    )
    assert np.isin(model[0].transform(PLACES), thresholds).any()
    _assert_predicts(model, tmp_path / "model.onnx", PLACES)


def _housing(n=120):
    """A table with a column of each kind."""
    random = np.random.default_rng(1)
    days = pd.to_timedelta(random.integers(0, 900, n), unit="D")
    return _table(n).assign(
        kind=TABLE["kind"].where(TABLE.index % 11 > 0),
        sold=pd.Timestamp("2020-01-01") + days,
        open=random.random(n) < 0.5,
        wait=pd.to_timedelta(random.integers(0, 9, n), unit="h"),
        code=pd.Categorical(random.choice(["x", "y"], n)),
    )


def _in_days(table):
    days = pd.Timedelta(days=1)
    return table.assign(sold=(table["sold"] - pd.Timestamp(0)) / days, wait=table["wait"] / days)


def test_a_spatial_pipeline_with_columns_of_all_kinds(tmp_path):
    table = _housing()
    model = spatial_pipeline(encoder=_encoder()).fit(table, Y)
    new = table.assign(code="z", lon=table["lon"] + 0.3)
    found = _exported(model, tmp_path / "model.onnx", _in_days(new))["prediction"][:, 0]
    np.testing.assert_allclose(found, model.predict(new), rtol=1e-5)


def test_a_spatial_pipeline_of_classes(tmp_path):
    model = spatial_pipeline("classifier", encoder=_encoder()).fit(PLACES, np.median(Y) < Y)
    found = _exported(model, tmp_path / "model.onnx")
    np.testing.assert_allclose(found["probabilities"], model.predict_proba(PLACES), atol=1e-4)
    assert found["label"].dtype == bool


@pytest.mark.parametrize(
    ("table", "y", "options"),
    [
        (PLACES, Y, {}),
        (pd.concat([PLACES] * 2), np.concatenate([Y, Y + 0.1]), {}),
        (PLACES, Y, {"interpolator": KNeighborsRegressor(3)}),
    ],
    ids=["neighbours", "rows that share places", "a regressor of residuals"],
)
def test_corrections_by_neighbours(tmp_path, table, y, options):
    model = ResidualInterpolator(make_pipeline(_encoder(), Ridge()), **options).fit(table, y)
    plain = model.estimator_.predict(PLACES)
    assert np.abs(model.predict(PLACES) - plain).max() > 0.1  # there is a correction
    _assert_predicts(model, tmp_path / "model.onnx", PLACES)
    far = pd.DataFrame({"lon": [170.0, -170.0, 10.0], "lat": [-47.0, -48.0, -90.0]})
    _assert_predicts(model, tmp_path / "model.onnx", far)


def test_probabilities_corrected_by_neighbours(tmp_path):
    plain = make_pipeline(_encoder(), LogisticRegression())
    model = ResidualInterpolator(plain).fit(PLACES, np.median(Y) < Y)
    found = _exported(model, tmp_path / "model.onnx")
    np.testing.assert_allclose(found["probabilities"], model.predict_proba(PLACES), atol=1e-5)


@pytest.mark.parametrize("method", ["remoteness", "local"])
def test_intervals(tmp_path, method):
    table = pd.concat([PLACES, PLACES + 0.5])
    y = np.concatenate([Y, Y + 0.2])
    plain = make_pipeline(_encoder(), Ridge())
    model = SpatialConformalRegressor(plain, method=method).fit(table, y)
    new = pd.concat([PLACES[:20], PLACES - 3.0])
    found = _exported(model, tmp_path / "model.onnx", new)
    bounds = np.column_stack([found["lower"], found["upper"]])
    np.testing.assert_allclose(bounds, model.predict_interval(new), rtol=1e-5, atol=1e-5)


def test_sets_of_classes(tmp_path):
    plain = make_pipeline(_encoder(), LogisticRegression())
    model = SpatialConformalClassifier(plain).fit(PLACES, KIND)
    found = _exported(model, tmp_path / "model.onnx")
    np.testing.assert_array_equal(found["in_set"], model.predict_set(PLACES))
    assert found["label"].tolist() == model.predict(PLACES).tolist()


@pytest.mark.parametrize("place", [(np.nan, 50.0), (10.0, 91.0), (361.0, 50.0)])
def test_predictions_without_a_place_are_nan(tmp_path, place):
    """Trees would give a number."""
    table = PLACES.copy()
    table.loc[3] = place
    for model in (
        make_pipeline(_encoder(), BOOSTING),
        spatial_pipeline(BOOSTING, encoder=_encoder()),
    ):
        found = _exported(model.fit(PLACES, Y), tmp_path / "model.onnx", table)["prediction"]
        assert np.flatnonzero(np.isnan(found)).tolist() == [3]


def test_transformers(tmp_path):
    model = make_pipeline(_encoder(), StandardScaler()).fit(PLACES)
    found = _exported(model, tmp_path / "model.onnx")["features"]
    expected = model.transform(PLACES)
    assert found.dtype == expected.dtype
    np.testing.assert_allclose(found, expected, atol=1e-5)


@pytest.mark.slow
def test_skl2onnx_converts_pipelines_by_itself():
    from skl2onnx import to_onnx as theirs

    places = PLACES.to_numpy()
    pipeline = make_pipeline(_encoder(), Ridge()).fit(places, Y)
    register_converters(PositionalEncoder)
    model = theirs(pipeline, places, target_opset=20)
    session = onnxruntime.InferenceSession(model.SerializeToString())
    found = session.run(None, {session.get_inputs()[0].name: places})[0]
    np.testing.assert_allclose(found[:, 0], pipeline.predict(places), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_skl2onnx_converts_boosting_by_itself(dtype):
    """Its own converter fails with scikit-learn 1.9, and has no thresholds in double precision."""
    from skl2onnx import to_onnx as theirs

    places, kind = PLACES.to_numpy(dtype), TABLE["kind"]
    register_converters(PositionalEncoder)
    for model, y in ((BOOSTING, Y), (HistGradientBoostingClassifier(max_iter=5), kind)):
        pipeline = make_pipeline(MaxAbsScaler(), model).fit(places, y)
        options = {"zipmap": False} if y is kind else None
        made = theirs(pipeline, places, target_opset=20, options=options)
        session = onnxruntime.InferenceSession(made.SerializeToString())
        first, *others = session.run(None, {session.get_inputs()[0].name: places})
        if others:
            np.testing.assert_array_equal(first, pipeline.predict(places))
            np.testing.assert_allclose(others[0], pipeline.predict_proba(places), atol=1e-6)
        else:
            np.testing.assert_allclose(first[:, 0], pipeline.predict(places), rtol=1e-6)


@pytest.mark.parametrize("dtype", [np.float64, np.int8, np.uint16, bool])
@pytest.mark.parametrize("model", [LogisticRegression(), ExtraTreesClassifier(5)], ids=str)
def test_labels_have_the_type_of_the_classes(tmp_path, model, dtype):
    classes = (TABLE["rooms"] > 2).to_numpy().astype(dtype)
    pipeline = make_pipeline(_encoder(), model).fit(PLACES, classes)
    label = _exported(pipeline, tmp_path / "model.onnx")["label"]
    assert label.dtype == dtype
    np.testing.assert_array_equal(label, pipeline.predict(PLACES))


def test_no_rows(tmp_path):
    model = SpatialConformalRegressor(ResidualInterpolator(make_pipeline(_encoder(), Ridge())))
    found = _exported(model.fit(PLACES, Y), tmp_path / "model.onnx", PLACES[:0])
    assert {name: values.shape for name, values in found.items()} == dict.fromkeys(
        ("prediction", "lower", "upper"), (0, 1)
    )


def test_a_search_without_a_best_model_is_explained(tmp_path):
    search = GridSearchCV(make_pipeline(_encoder(), Ridge()), {"ridge__alpha": [1]}, refit=False)
    with pytest.raises(TypeError, match="refit=True"):
        to_onnx(search.fit(PLACES, Y), tmp_path / "model.onnx")


class _Doubled(StandardScaler):
    """A step that skl2onnx does not know."""


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (Ridge(), "this Ridge has none"),
        (make_pipeline(StandardScaler(), Ridge()), "this Pipeline has none"),
        (make_pipeline(_encoder(), _Doubled(), Ridge()), "cannot convert a _Doubled"),
        (make_pipeline(_encoder(), FunctionTransformer(np.cbrt), Ridge()), "the function cbrt"),
    ],
    ids=["a regressor", "a pipeline without places", "a step", "a function"],
)
def test_parts_that_cannot_be_exported_are_named(tmp_path, model, message):
    with pytest.raises(TypeError, match=message):
        to_onnx(model.fit(PLACES.to_numpy(), Y), tmp_path / "model.onnx")
    assert not (tmp_path / "model.onnx").exists()


def test_places_beside_the_table_cannot_be_exported(tmp_path):
    model = ResidualInterpolator(make_pipeline(_encoder(), Ridge()))
    model.fit(PLACES, Y, coords=PLACES)
    with pytest.raises(TypeError, match="ResidualInterpolator that was fitted with coords beside"):
        to_onnx(model, tmp_path / "model.onnx")


def test_a_column_with_the_name_of_an_output(tmp_path):
    columns = ColumnTransformer(
        [("encoder", _encoder(), ["lon", "lat"]), ("others", "passthrough", ["prediction"])]
    )
    table = PLACES.assign(prediction=1.0)
    with pytest.raises(ValueError, match="column 'prediction' has the name of an output"):
        to_onnx(make_pipeline(columns, Ridge()).fit(table, Y), tmp_path / "model.onnx")


def test_no_warning_about_names(tmp_path):
    model = make_pipeline(_encoder(), Ridge()).fit(PLACES, Y)
    with warnings.catch_warnings():
        warnings.filterwarnings("error", message=".*feature names")
        to_onnx(model, tmp_path / "model.onnx")
