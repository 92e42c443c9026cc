"""Requests to servers, ours and GDAL's: within limits of time, by http and https alone."""

from __future__ import annotations

import http.client
import threading
import urllib.error
import urllib.request
from collections.abc import Mapping
from concurrent.futures import Future
from email.message import Message
from typing import Any
from urllib.parse import urlsplit

from skgeo_embed._errors import ImageError

SECONDS = 30  # to connect, and without an answer
LONGEST = 600  # seconds of a whole request
SLOWEST = 1000  # bytes a second; what comes slower for SECONDS counts as no answer
CURL = "/vsicurl/"
ABSENT = {400, 401, 403, 404, 405, 410, 416}  # stores of objects may not say "not found"


def gdal_limits() -> dict[str, int]:
    """Return GDAL's options for time limits; it has none of its own."""
    return {
        "GDAL_HTTP_CONNECTTIMEOUT": SECONDS,
        "GDAL_HTTP_LOW_SPEED_TIME": SECONDS,
        "GDAL_HTTP_LOW_SPEED_LIMIT": SLOWEST,
        "GDAL_HTTP_TIMEOUT": LONGEST,
    }


def url_of(path: str) -> str | None:
    """Return the http or https address behind a path, or None."""
    url = path.removeprefix(CURL)
    return url if url.startswith(("http://", "https://")) else None


def server_of(address: str) -> tuple[str, str]:
    """Return the scheme and the server of an address."""
    parts = urlsplit(address.removeprefix(CURL))
    return parts.scheme, parts.netloc


class _Redirects(urllib.request.HTTPRedirectHandler):
    def __init__(self, same_server: bool) -> None:
        self._same_server = same_server

    def redirect_request(
        self, req: Any, fp: Any, code: Any, msg: Any, headers: Any, url: str
    ) -> Any:
        if url_of(url) is None:
            raise ImageError(
                f"{req.full_url} redirects to {url[:80]}, which is not http or https; download the "
                "file, and pass it."
            )
        if self._same_server and server_of(url) != server_of(req.full_url):
            raise ImageError(f"{req.full_url} redirects to another server, {server_of(url)}.")
        return super().redirect_request(req, fp, code, msg, headers, url)


def fetched(
    url: str, *, most: int, headers: Mapping[str, str] | None = None, same_server: bool = False
) -> tuple[bytes, Message]:
    """Get up to `most` bytes of an address, and the headers of the answer.

    Raises
    ------
    ImageError
        If the server does not answer in time, or redirects to another kind of address, or to
        another server though `same_server`.
    OSError, ValueError
        If the server cannot be reached, or sends an error.
    """

    def get() -> tuple[bytes, Message]:
        opener = urllib.request.build_opener(_Redirects(same_server))
        request = urllib.request.Request(url, headers=dict(headers or {}))
        with opener.open(request, timeout=SECONDS) as answer:
            return answer.read(most), answer.headers

    outcome: Future[tuple[bytes, Message]] = Future()

    def work() -> None:
        try:
            outcome.set_result(get())
        except BaseException as error:  # it is raised in the caller's thread
            outcome.set_exception(error)

    # in a thread: a timeout of a socket begins anew with every byte that a slow server sends
    threading.Thread(target=work, daemon=True).start()
    try:
        return outcome.result(LONGEST)
    except TimeoutError as error:
        raise _silence(url) from error
    except http.client.HTTPException as error:
        raise OSError(f"the answer is not that of a web server: {error!r}") from error
    except urllib.error.HTTPError as error:
        error.close()  # it holds the connection
        raise
    except urllib.error.URLError as error:
        if isinstance(error.reason, TimeoutError):
            raise _silence(url) from error
        raise


def _silence(url: str) -> ImageError:
    return ImageError(
        f"{url} cannot be read: its server did not answer within {SECONDS} seconds. Try again "
        "later, or download the file."
    )


def version_of(path: str) -> str | None:
    """Ask the server for the version of a file: its ETag or date, and its length.

    None means that the server does not tell.

    Raises
    ------
    ImageError
        If it redirects to what is not http or https, or does not answer in time.
    """
    url = url_of(path)
    if url is None:
        return None
    try:
        # one byte, because addresses that are signed for GET refuse HEAD
        _, headers = fetched(url, most=1, headers={"Range": "bytes=0-0"})
    except ImageError:  # a ValueError too
        raise
    except (OSError, ValueError):  # GDAL reports it when it reads the file
        return None
    changes = headers["ETag"] or headers["Last-Modified"]
    length = (headers["Content-Range"] or headers["Content-Length"] or "").rpartition("/")[2]
    return f"{changes} {length}" if changes else None


def beginning_of(path: str) -> bytes | None:
    """Return the first four bytes of a file at an http or https address, or None without a file.

    Raises
    ------
    ImageError
        If the server cannot be reached, or does not say whether there is one.
    """
    try:
        return fetched(path.removeprefix(CURL), most=4, headers={"Range": "bytes=0-3"})[0]
    except ImageError:
        raise
    except (OSError, ValueError) as error:
        if isinstance(error, urllib.error.HTTPError) and error.code in ABSENT:
            return None
        raise ImageError(f"{path} cannot be read: {error}") from error
