"""`skgeo-embed predict`: a map, or a table, of a fitted model's predictions."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from skgeo_embed._errors import UsageError
from skgeo_embed.cli._options import (
    add_csv_arguments,
    add_grid_arguments,
    add_overwrite_argument,
    add_restart_argument,
    csv_settings,
    new_parser,
    number_or_text,
)
from skgeo_embed.streaming.files import FORMATS
from skgeo_embed.streaming.maps.engine import check_map_output
from skgeo_embed.streaming.maps.inputs import wanted_columns
from skgeo_embed.streaming.maps.rasters import RASTER_SUFFIXES
from skgeo_embed.streaming.predict_grid import predict_grid
from skgeo_embed.streaming.predict_table import GEO_FORMATS, predict_table
from skgeo_embed.streaming.text_columns import constant_of

TRUST = (
    "Loading a pickle executes code. Only open models from people you trust; to open this one, "
    "repeat the command with --trust."
)
FOR_MAPS = {"region", "resolution", "crs", "like", "mask", "covariate", "jobs", "units"}
FOR_TABLES = {"input", "on_invalid", "delimiter", "decimal", "encoding"}


def parse(prog: str, arguments: list[str]) -> argparse.Namespace:
    """Read the arguments."""
    parser = new_parser(
        prog,
        "Predict with a fitted model: the cells of a map (OUTPUT ends with .tif, .zarr or .nc),\n"
        "or the rows of a table (--input). The model is a pickle (joblib.dump), and loading a\n"
        "pickle executes code: only open models from people you trust.\n"
        "Repeat the command to continue a run that was interrupted.",
        f"  {prog} model.joblib map.tif --trust --region -10 35 30 60 --resolution 0.1\n"
        f"  {prog} model.joblib map.tif --trust --crs EPSG:3035 --resolution 1km --mask land\n"
        f"  {prog} model.joblib map.nc --trust --like dem.tif --covariate elevation=dem.tif\n"
        f"  {prog} model.joblib predicted.csv --trust --input places.csv",
    )
    parser.add_argument("model", type=Path, help="a fitted model, as joblib.dump writes it")
    parser.add_argument("output", type=Path, help="the file to write; the suffix says the format")
    parser.add_argument(
        "--trust",
        action="store_true",
        help="load the model, which can execute any code on this machine",
    )
    table = parser.add_argument_group("tables")
    table.add_argument("--input", type=Path, help="the table whose rows are predicted")
    table.add_argument(
        "--on-invalid",
        choices=["raise", "nan"],
        help="rows of missing or impossible coordinates: stop with an error (default), or leave "
        "their predictions null",
    )
    add_csv_arguments(table)
    grid = parser.add_argument_group("maps")
    add_grid_arguments(grid)
    grid.add_argument(
        "--covariate",
        action="append",
        metavar="NAME=VALUE",
        help="a raster, a number or a word for another column of the model; repeat it for each",
    )
    grid.add_argument("--units", help="unit of the predictions")
    grid.add_argument("--jobs", type=int, help="number of processes (default: 1)")
    both = parser.add_argument_group("both")
    both.add_argument(
        "--probabilities", action="store_true", help="add the probability of each class"
    )
    both.add_argument(
        "--applicability",
        type=Path,
        help="a fitted AreaOfApplicability, or a pipeline that ends in one, as joblib.dump writes "
        "it; adds bands for the dissimilarity index and for where the model is applicable",
    )
    add_overwrite_argument(parser)
    add_restart_argument(parser)
    return parser.parse_args(arguments)


def run(settings: argparse.Namespace) -> None:
    """Predict."""
    tables = settings.input is not None
    name = settings.output.name.lower()
    if not tables and name.endswith((*FORMATS, *GEO_FORMATS)):
        raise UsageError(f"{settings.output} is a table; name the input table with --input.")
    other = FOR_MAPS if tables else FOR_TABLES - {"input"}
    given = [option for option in sorted(other) if getattr(settings, option) is not None]
    if given:
        kind = "tables" if tables else "maps"
        raise UsageError(f"--{given[0].replace('_', '-')} does nothing for {kind}; leave it out.")
    if not tables:
        check_map_output(settings.output, overwrite=settings.overwrite)
    for path in (settings.model, settings.applicability):
        if path is not None and not path.is_file():
            raise FileNotFoundError(f"there is no file {path}.")
    if not settings.trust:
        raise UsageError(f"{settings.model} was not opened. {TRUST}")
    shared = {
        "probabilities": settings.probabilities,
        "applicability": None
        if settings.applicability is None
        else _opened(settings.applicability),
        "overwrite": settings.overwrite,
        "restart": settings.restart,
    }
    model = _opened(settings.model)
    if tables:
        _predict_table(settings, model, shared)
    else:
        _predict_grid(settings, model, shared)


def _predict_table(settings: argparse.Namespace, model: Any, shared: dict[str, Any]) -> None:
    written = predict_table(
        model,
        settings.input,
        settings.output,
        on_invalid=settings.on_invalid or "raise",
        **csv_settings(settings),
        **shared,
    )
    print(
        f"wrote {written.rows:,} rows with {', '.join(written.columns)} to {settings.output}"
        + (f"; {written.bad:,} have no usable coordinates" if written.bad else "")
    )


def _predict_grid(settings: argparse.Namespace, model: Any, shared: dict[str, Any]) -> None:
    predict_grid(
        model,
        settings.output,
        region=settings.region,
        resolution=number_or_text(settings.resolution),
        crs=settings.crs,
        like=settings.like,
        mask=settings.mask,
        covariates=_covariates(settings.covariate or [], model),
        units=settings.units,
        n_jobs=settings.jobs,
        **shared,
    )
    print(f"wrote {settings.output}")


def _opened(path: Path) -> Any:
    import joblib

    try:
        return joblib.load(path)
    except Exception as error:  # of whatever the pickle holds
        raise ValueError(
            f"{path} cannot be opened as a model ({type(error).__name__}: {error}); it must be "
            "written by joblib.dump, and needs the packages that it was made with."
        ) from error


def _covariates(texts: list[str], model: Any) -> dict[str, Any]:
    kinds, found = wanted_columns(model).kinds, {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not (name and equals and value):
            raise UsageError(f"--covariate {text!r} must be NAME=VALUE, such as elevation=dem.tif.")
        kind = "words" if value.lower().endswith(RASTER_SUFFIXES) else kinds.get(name, "")
        try:
            found[name] = constant_of(value, kind)
        except ValueError as error:
            raise UsageError(
                f"--covariate {text!r}: the model was fitted with {kind} in this column: {error}"
            ) from error
    return found
