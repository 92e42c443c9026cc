"""Files from the Hugging Face hub, with errors that say what to do.

huggingface_hub does the downloading, caching and resuming; here a file is checked against its
hash, and every failure becomes one message that names the model, the cause and the next step.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from skgeo_embed._errors import (
    ModelAccessError,
    ModelDownloadError,
    ModelNotFoundError,
    UsageError,
)
from skgeo_embed._files import file_sha256, file_state
from skgeo_embed.models.folder import CONFIG_NAME, WEIGHTS_NAME


@dataclass(frozen=True)
class HubOptions:
    """How to fetch, in the hub's own words.

    Attributes
    ----------
    revision : str or None
        Branch, tag or commit.
    cache_dir : str, Path or None
        Where files are kept; None is the hub's own cache.
    token : str, bool or None
        Access token; None takes the one that is logged in.
    local_files_only : bool
        Never use the network.
    """

    revision: str | None = None
    cache_dir: str | Path | None = None
    token: str | bool | None = field(default=None, repr=False)
    local_files_only: bool = False

    def __post_init__(self) -> None:
        check_token(self.token)

    def pinned(self, revision: str | None) -> HubOptions:
        """Return options for a pickle: they open a commit again, and hold no token."""
        return replace(self, revision=revision or self.revision, token=None)


def check_token(token: str | bool | None) -> None:
    """Refuse a token that a request cannot carry, before an error about the request quotes it.

    Raises
    ------
    UsageError
        If it holds anything but visible ASCII characters, or nothing.
    """
    if not isinstance(token, str):
        return
    odd = [place for place, sign in enumerate(token) if not "!" <= sign <= "~"]
    if odd or not token:
        found = f"a space, a line break or a sign beyond ASCII at {odd[0]}" if odd else "nothing"
        raise UsageError(
            f"token is text of {len(token)} characters and holds {found}, unlike any access "
            "token; if it was read from a file, pass token.strip()."
        )


@dataclass(frozen=True)
class HubFile:
    """A file in the cache: its path, its commit, its sha256, and its state when it was hashed."""

    path: Path
    commit: str | None
    sha256: str
    state: tuple[int, ...]


def is_hub_id(name: str) -> bool:
    """Say whether `name` has the form owner/name."""
    return re.fullmatch(r"[\w][\w.-]*/[\w][\w.-]*", name) is not None


def fetch(repository: str, filename: str, options: HubOptions, *, dataset: bool = False) -> HubFile:
    """Return a file of a repository, from the cache or downloaded, checked against its hash.

    Parameters
    ----------
    repository, filename : str
        Which file.
    options : HubOptions
        How to fetch.
    dataset : bool, default=False
        Whether it is a repository of data, not of a model. Its files are large, so those that
        were in the cache before are not checked again.

    Raises
    ------
    ModelNotFoundError
        If the repository, revision or file does not exist, or is not cached and the network
        must not be used.
    ModelAccessError
        If the repository is gated or private.
    ModelDownloadError
        If the network, the disk or the file's content failed.
    """
    import huggingface_hub

    def download(local_files_only: bool) -> str:
        return huggingface_hub.hf_hub_download(
            repository,
            filename,
            revision=options.revision,
            cache_dir=options.cache_dir,
            token=options.token,
            local_files_only=local_files_only,
            repo_type="dataset" if dataset else None,
            library_name="skgeo-embed",
        )

    def cached_copy() -> str | None:
        kind = "dataset" if dataset else None
        found = huggingface_hub.try_to_load_from_cache(
            repository, filename, options.cache_dir, options.revision, repo_type=kind
        )
        return found if isinstance(found, str) else None

    before = cached_copy() if dataset else None

    with _explained(repository, filename, options):
        if not options.local_files_only:
            _check_names(repository, filename, options, dataset)
        try:
            found = download(options.local_files_only)
        except PermissionError:
            cached = cached_copy()
            if cached is None:
                raise
            found = cached  # a read-only cache that holds the file is good enough
    path = Path(found)
    commit, state = _commit_of(path, filename), file_state(path)
    if before == found:
        return HubFile(path, commit, path.resolve().name, state)
    return HubFile(path, commit, _checked_sha256(path, repository, filename, options), state)


def _check_names(repository: str, filename: str, options: HubOptions, dataset: bool) -> None:
    """Refuse an ETag or a commit with a path in it: they name the files of the client's cache."""
    from huggingface_hub import get_hf_file_metadata, hf_hub_url

    kind = "dataset" if dataset else None
    url = hf_hub_url(repository, filename, repo_type=kind, revision=options.revision)
    try:
        metadata = get_hf_file_metadata(url, token=options.token)
    except Exception as error:
        if not _is_network_error(error):
            raise
        return  # the download raises the error, or uses the cached copy
    for what, name in (("ETag", metadata.etag), ("commit", metadata.commit_hash)):
        if name is not None and (not re.fullmatch(r"[\w.+=-]+", name) or set(name) <= {"."}):
            raise ModelDownloadError(
                f"{filename} of {repository} is not fetched: the server names it by the {what} "
                f"{name!r}, which is a path and would be written outside of the cache. Check "
                f"HF_ENDPOINT; the hub itself does not do so. {_by_hand(repository, filename)}"
            )


def list_dataset(repository: str, options: HubOptions) -> list[str]:
    """Return the names of a data repository's files."""
    import huggingface_hub

    with _explained(repository, "the list of files", options):
        api = huggingface_hub.HfApi(token=options.token, library_name="skgeo-embed")
        return api.list_repo_files(repository, revision=options.revision, repo_type="dataset")


def _commit_of(path: Path, filename: str) -> str | None:
    """Commit of a file in the cache: ``.../snapshots/<commit>/<filename>``."""
    snapshot = path.parents[len(Path(filename).parts) - 1]
    return snapshot.name if snapshot.parent.name == "snapshots" else None


def _checked_sha256(path: Path, repository: str, filename: str, options: HubOptions) -> str:
    """Compare the content with the hash that the hub names large files by."""
    sha256 = file_sha256(path)
    blob = path.resolve()
    promised = blob.name
    if re.fullmatch(r"[0-9a-f]{64}", promised) and promised != sha256:
        fate = "The file was removed"
        try:
            path.unlink(missing_ok=True)
            blob.unlink(missing_ok=True)
        except OSError as error:
            fate = f"It could not be removed ({error})"
        what = "the cached copy is" if options.local_files_only else "it arrived"
        again = "fetch it again with the network" if options.local_files_only else "try again"
        raise ModelDownloadError(
            f"{filename} of {repository} cannot be used, {what} damaged: its sha256 is "
            f"{sha256[:12]}…, the hub promised {promised[:12]}…. {fate}; {again}. "
            + _by_hand(repository, filename)
        )
    return sha256


@contextmanager
def _explained(repository: str, filename: str, options: HubOptions) -> Iterator[None]:
    from huggingface_hub import errors

    what = f"{filename} of {repository}"
    if options.revision:
        what += f" at revision {options.revision!r}"
    by_hand = _by_hand(repository, filename)
    try:
        yield
    except errors.LocalTokenNotFoundError as error:
        raise ModelAccessError(
            f"{what} was asked for with token=True, but you are not logged in. Run `hf auth "
            f"login`, or pass the token itself. {by_hand}"
        ) from error
    except errors.GatedRepoError as error:
        raise ModelAccessError(
            f"{what} is gated: the hub asks for an accepted licence and a token (HTTP "
            f"{_status(error)}). Accept the terms on the model's page, then pass token=... or run "
            f"`hf auth login`. {by_hand}"
        ) from error
    except errors.RepositoryNotFoundError as error:
        raise ModelNotFoundError(
            f"there is no folder {repository!r} here, and the hub has no such repository or it is "
            f"private (HTTP {_status(error)}). Check the name; for a private one pass token=... or "
            f"run `hf auth login`. {by_hand}"
        ) from error
    except errors.RevisionNotFoundError as error:
        raise ModelNotFoundError(
            f"{repository} has no revision {options.revision!r}; leave it out for the newest. "
            f"{by_hand}"
        ) from error
    except (errors.LocalEntryNotFoundError, errors.OfflineModeIsEnabled) as error:
        raise _missing_locally(what, options, error, by_hand) from error
    # after LocalEntryNotFoundError, which is derived from it
    except errors.EntryNotFoundError as error:
        raise ModelNotFoundError(
            f"{repository} has no file {filename!r}; it is not a repository that skgeo_embed can "
            f"read. {by_hand}"
        ) from error
    except errors.HfHubHTTPError as error:
        kind: type[Exception] = ModelDownloadError
        hint = "The hub may be busy; try again later."
        if _status(error) in (401, 403):
            kind, hint = ModelAccessError, "Pass token=... or run `hf auth login`."
        raise kind(
            f"{what} could not be fetched (HTTP {_status(error)}). {hint} {by_hand}"
        ) from error
    except errors.HFValidationError as error:
        raise ModelNotFoundError(f"{repository!r} is not a hub repository: {error}") from error
    except Exception as error:
        if not _is_network_error(error):
            raise
        raise ModelDownloadError(
            f"{what} could not be fetched or stored ({type(error).__name__}: {error}). Check the "
            "connection, the disk and that the cache folder can be written (cache_dir=... chooses "
            f"another), then try again. {by_hand}"
        ) from error


def _missing_locally(
    what: str, options: HubOptions, error: Exception, by_hand: str
) -> ModelNotFoundError | ModelDownloadError:
    from huggingface_hub import constants

    if options.local_files_only or constants.HF_HUB_OFFLINE:
        why = "local_files_only=True" if options.local_files_only else "HF_HUB_OFFLINE is set"
        return ModelNotFoundError(
            f"{what} is not in the cache and the network must not be used ({why}). Fetch it once "
            f"with the network, or allow it. {by_hand}"
        )
    cause = error.__cause__ or error
    if _status(cause) != "?":
        return ModelDownloadError(
            f"{what} is not in the cache and the hub answered HTTP {_status(cause)}; it may be "
            f"busy, try again later. {by_hand}"
        )
    return ModelDownloadError(
        f"{what} is not in the cache and the hub cannot be reached ({type(cause).__name__}: "
        f"{str(cause).splitlines()[0] if str(cause) else 'no details'}). Check the connection, a "
        f"proxy, or HF_ENDPOINT. {by_hand}"
    )


def _by_hand(repository: str, filename: str) -> str:
    if filename in (CONFIG_NAME, WEIGHTS_NAME):
        return (
            f"Files fetched elsewhere work too: download {CONFIG_NAME} and {WEIGHTS_NAME} from the "
            f"page of {repository} into one folder and pass the folder as the model."
        )
    return (
        f"A file fetched elsewhere works too: download {filename} from the page of {repository} "
        f"and pass its path as the model, e.g. 'path/to/{filename}'."
    )


def _status(error: Any) -> Any:
    return getattr(getattr(error, "response", None), "status_code", "?")


def upload(
    folder: Path,
    repository: str,
    *,
    private: bool | None,
    token: str | bool | None,
    commit_message: str,
) -> str:
    """Upload a folder to a repository, made if it does not exist; return the commit's address.

    Raises
    ------
    ModelAccessError
        If the token is missing or may not write.
    ModelDownloadError
        If the hub cannot be reached or refuses.
    UsageError
        If the token holds what no token does.
    """
    from huggingface_hub import HfApi, errors

    check_token(token)
    api = HfApi(token=token, library_name="skgeo-embed")
    login = "Pass token=... with one that may write there, or run `hf auth login`."
    try:
        api.create_repo(repository, private=private, exist_ok=True)
        commit = api.upload_folder(
            repo_id=repository, folder_path=folder, commit_message=commit_message
        )
    except errors.HFValidationError as error:
        raise ModelNotFoundError(
            f"{repository!r} cannot be the name of a repository: {error}"
        ) from error
    except errors.LocalTokenNotFoundError as error:
        raise ModelAccessError(f"{repository} was not written: no token. {login}") from error
    except errors.HfHubHTTPError as error:
        if _status(error) in (401, 403):
            raise ModelAccessError(
                f"{repository} was not written: the hub refused (HTTP {_status(error)}). {login}"
            ) from error
        raise ModelDownloadError(
            f"{repository} was not written: HTTP {_status(error)}: {error}. What you trained is "
            "untouched; save_pretrained(folder) keeps it on disk."
        ) from error
    except Exception as error:
        if not _is_network_error(error):
            raise
        raise ModelDownloadError(
            f"{repository} was not written: the hub cannot be reached ({type(error).__name__}: "
            f"{error}). What you trained is untouched; save_pretrained(folder) keeps it on disk."
        ) from error
    return str(commit.commit_url)


def _is_network_error(error: Exception) -> bool:
    """Say whether an error is one of the network's; not all of them are OSErrors."""
    library = type(error).__module__.partition(".")[0]
    return isinstance(error, OSError) or library in ("httpx", "httpx2", "requests")
