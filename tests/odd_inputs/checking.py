"""What must become of an odd input: the right value, or a refusal that says what is wrong."""

import dataclasses
import signal
import traceback
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from skgeo_embed._errors import ModelFormatError, ModelNotFoundError, SkgeoEmbedError

SECONDS = 3  # of CPU that an attempt may take
REFUSALS = (SkgeoEmbedError, ValueError, TypeError)
BAD_FILE = (ModelFormatError, ModelNotFoundError)
IGNORED_WARNINGS = (DeprecationWarning, PendingDeprecationWarning, ResourceWarning)


@dataclasses.dataclass(frozen=True)
class Odd:
    """An input, how it is made, and what must become of it.

    It is read as `places` where `readable`; where `words` are given, it may be refused with them.
    """

    name: str
    make: Callable[[], Any]
    words: tuple[str, ...] | None
    readable: bool
    places: Any = None
    options: dict = dataclasses.field(default_factory=dict)
    tolerance: float = 1e-5

    def value(self, *given):
        return quietly(lambda: self.make(*given))

    def places_or(self, usual):
        return usual if self.places is None else self.places

    def check(self, act, right, *given):
        """Give the input to `act`, whose value must be that of `right` if the input is read.

        `given` is what makes the input, if it takes anything.
        """
        check(
            lambda: act(self.value(*given)),
            right if self.readable else None,
            self.words,
            tolerance=self.tolerance,
        )


def reads(name, make, **more):
    """Describe an input that is read rightly."""
    return Odd(name, make, None, readable=True, **more)


def refuses(name, make, *words, **more):
    """Describe an input that is refused in these words."""
    return Odd(name, make, words, readable=False, **more)


def either(name, make, *words, **more):
    """Describe an input that is read rightly or refused in these words."""
    return Odd(name, make, words, readable=True, **more)


def each(odds):
    """Run a test for each of these inputs."""
    return pytest.mark.parametrize("odd", [pytest.param(odd, id=odd.name) for odd in odds])


def by_name(arguments, table):
    """Run a test for each entry of a table; its key is the test's id."""
    if "," in arguments:
        return pytest.mark.parametrize(
            arguments, [pytest.param(*row, id=name) for name, row in table.items()]
        )
    return pytest.mark.parametrize(arguments, list(table.values()), ids=list(table))


def entries(table, key="key"):
    """Run a test for each key of a table with each of its values."""
    rows = [(name, value) for name, values in table.items() for value in values]
    return pytest.mark.parametrize(
        (key, "value"), [pytest.param(*row, id=f"{row[0]}={row[1]!r}"[:70]) for row in rows]
    )


def shown(value):
    """Write a value into a test's id."""
    return repr(value)[:40]


def check(act, right=None, words=None, *, kinds=REFUSALS, warns=None, tolerance=1e-5):
    """Call `act`, which must give the value of `right` or be refused in `words`; with both, either.

    `warns` is a word of the warning that must come; without it none may come.
    """
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            value = within_seconds(act)
        except (Exception, SystemExit) as error:
            check_refusal(error, words, kinds)
            return
    assert right is not None, f"accepted, gave {shorten(value)}"
    assert_same(value, quietly(right), tolerance)
    said = [str(w.message) for w in caught if not issubclass(w.category, IGNORED_WARNINGS)]
    if warns is None:
        assert not said, "right, but warned"
    else:
        assert any(warns.lower() in text.lower() for text in said), f"no warning of {warns!r}"


def check_file(path, act, *words):
    """Call `act`, which must refuse the file or folder at `path` by its name."""
    check(act, None, (path.name, *words), kinds=BAD_FILE)


def check_refusal(error, words, kinds):
    """The error must be of these kinds and say these words."""
    where = traceback.extract_tb(error.__traceback__)[-1]
    said = (
        f"{type(error).__name__}: {str(error)[:240]} ({Path(where.filename).name}:{where.lineno})"
    )
    if words is None:
        raise AssertionError(f"refused what is right: {said}") from error
    if not isinstance(error, kinds):
        raise AssertionError(f"not a clear refusal: {said}") from error
    missing = [word for word in words if word.lower() not in str(error).lower()]
    if missing:
        raise AssertionError(f"does not say {missing}: {said}") from error


def within_seconds(act):
    """Call `act`; an attempt that takes too long ends in a TimeoutError."""
    if not hasattr(signal, "setitimer"):
        return act()

    def stop(*_):
        raise TimeoutError(f"took more than {SECONDS} s")

    before = signal.signal(signal.SIGPROF, stop)
    signal.setitimer(signal.ITIMER_PROF, SECONDS)
    try:
        return act()
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, before)


def assert_same(value, expected, tolerance):
    """Compare numbers within a tolerance of the largest, texts and lists to the letter."""
    if isinstance(expected, (str, bool, list)):
        assert value == expected
        return
    value, expected = np.asarray(value, dtype=float), np.asarray(expected, dtype=float)
    assert value.shape == expected.shape
    scale = max(1.0, np.abs(expected[~np.isnan(expected)]).max(initial=0))
    np.testing.assert_allclose(value, expected, rtol=0, atol=tolerance * scale)


def shorten(value):
    if isinstance(value, np.ndarray):
        return f"array {value.shape}, first {value.ravel()[:2].tolist()}"
    return repr(value)[:80]


def quietly(make):
    """Make an input; warnings of the package that makes it are not the library's."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return make()
