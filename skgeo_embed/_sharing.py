"""Writing encoders to folders and to the hub."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any


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
        """Upload what `save_pretrained` writes to a hub repository, made if it does not exist.

        Parameters
        ----------
        repo_id : str
            The repository, "owner/name".
        private : bool, default=None
            Whether a new repository is private; None is the owner's default.
        token : str or bool, default=None
            A token that may write; None takes the one that is logged in.
        commit_message : str, default="Upload an encoder with skgeo-embed"
            The commit's message.
        **save_options
            Handed to `save_pretrained`: licence, trained_on, ...

        Returns
        -------
        url : str
            The commit's address.

        Raises
        ------
        ModelAccessError
            If the token may not write there.
        ModelDownloadError
            If the hub cannot be reached.
        """
        from skgeo_embed.checkpoints.hub import upload

        name = repo_id.rpartition("/")[2]
        with tempfile.TemporaryDirectory() as parent:
            folder = Path(parent) / name
            self.save_pretrained(folder, hub_id=repo_id, **save_options)  # type: ignore[attr-defined]
            return upload(
                folder, repo_id, private=private, token=token, commit_message=commit_message
            )


class OpenMixin:
    """`from_pretrained` for estimators whose first argument is a model."""

    @classmethod
    def from_pretrained(cls, model: str | Path, **parameters: Any) -> Any:
        """Open a saved, published or shared model: ``cls(model, **parameters).fit()``.

        Parameters
        ----------
        model : str or path-like
            As for the constructor.
        **parameters
            The constructor's other arguments.

        Returns
        -------
        estimator : object
            Fitted.
        """
        return cls(model, **parameters).fit()  # type: ignore[call-arg,attr-defined]
