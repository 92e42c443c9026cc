"""Parts of estimators that open models, and of those that upload them."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from skgeo_embed.models.hub import HubOptions

HUB_CONSTRAINTS: dict[str, Any] = {
    "revision": [str, None],
    "cache_dir": [str, Path, None],
    "token": [str, "boolean", None],
    "local_files_only": ["boolean"],
}


class ModelMixin:
    """For estimators that take a model first, and beside it the hub's own parameters."""

    revision: str | None
    cache_dir: str | Path | None
    token: str | bool | None
    local_files_only: bool

    @classmethod
    def from_pretrained(cls, model: str | Path, **parameters: Any) -> Any:
        """Open a model by name or path: ``cls(model, **parameters).fit()``.

        Parameters
        ----------
        model : str or path-like
            As for the constructor.
        **parameters
            The constructor's other arguments.

        Returns
        -------
        estimator : object
            The fitted estimator.
        """
        return cls(model, **parameters).fit()  # type: ignore[call-arg,attr-defined]

    def _hub_options(self) -> HubOptions:
        from skgeo_embed.models.hub import HubOptions

        return HubOptions(self.revision, self.cache_dir, self.token, self.local_files_only)

    def __getstate__(self) -> dict[str, Any]:
        state: dict[str, Any] = super().__getstate__()  # type: ignore[assignment]
        if not isinstance(state.get("token"), str):
            return state
        from skgeo_embed.models.tokens import lend

        return {**state, "token": lend(state["token"])}

    def __setstate__(self, state: dict[str, Any]) -> None:
        token = state.get("token")
        if not isinstance(token, (str, bool, type(None))):
            state = {**state, "token": token.redeem()}
        super().__setstate__(state)  # type: ignore[misc]


class PushMixin:
    """`push_to_hub` for estimators that have `save_pretrained`."""

    def push_to_hub(
        self,
        repo_id: str,
        *,
        private: bool | None = None,
        token: str | bool | None = None,
        commit_message: str = "Upload an encoder with skgeo-embed",
        **save_options: Any,
    ) -> str:
        """Upload what `save_pretrained` writes to a hub repository, which is made if needed.

        Parameters
        ----------
        repo_id : str
            The repository, "owner/name".
        private : bool, default=None
            Whether a new repository is private; None takes the owner's default.
        token : str or bool, default=None
            A token that may write; None takes the one that is logged in.
        commit_message : str, default="Upload an encoder with skgeo-embed"
            Message of the commit.
        **save_options
            Handed to `save_pretrained`: licence, trained_on, ...

        Returns
        -------
        url : str
            Address of the commit.

        Raises
        ------
        ModelAccessError
            If the token may not write there.
        ModelDownloadError
            If the hub cannot be reached.
        """
        from skgeo_embed.models.hub import upload

        name = repo_id.rpartition("/")[2]
        with tempfile.TemporaryDirectory() as parent:
            folder = Path(parent) / name
            self.save_pretrained(folder, hub_id=repo_id, **save_options)  # type: ignore[attr-defined]
            return upload(
                folder, repo_id, private=private, token=token, commit_message=commit_message
            )
