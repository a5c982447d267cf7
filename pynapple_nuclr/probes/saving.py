"""What a fitted probe shows, and how it is saved and shared."""

from __future__ import annotations

import logging
import tempfile
from html import escape
from pathlib import Path
from typing import Any

from sklearn.base import BaseEstimator
from sklearn.utils.validation import check_is_fitted

from pynapple_nuclr.checkpoints.hub import upload_folder
from pynapple_nuclr.probes.probe_card import probe_card, probe_html, probe_text
from pynapple_nuclr.probes.probe_file import FILE, FITTED, write_probe

logger = logging.getLogger("pynapple_nuclr")


class ProbeFiles(BaseEstimator):
    """The part of `Probe` that shows and saves it."""

    def __repr__(self, N_CHAR_MAX: int = 700) -> str:
        return probe_text(self) if self.__sklearn_is_fitted__() else super().__repr__(N_CHAR_MAX)

    def _repr_html_(self) -> str:
        if not self.__sklearn_is_fitted__():
            return f"<pre>{escape(repr(self))}</pre>"
        return probe_html(self)

    def _repr_mimebundle_(self, **kwargs: Any) -> dict[str, str]:
        # scikit-learn's own would show the diagram of the estimator alone.
        return {"text/plain": repr(self), "text/html": self._repr_html_()}

    def __sklearn_is_fitted__(self) -> bool:
        return all(hasattr(self, name) for name in FITTED)

    def save(self, path: str | Path) -> None:
        """Save the fitted probe; read it with `load_probe`.

        Parameters
        ----------
        path : str or Path
            A file ``….skops``, or a folder for the probe and a card (README.md).

        Notes
        -----
        Every estimator of scikit-learn can be saved. Types that `load_probe` does not trust by
        default (custom classes, nearest neighbours) are named in the log and on the card.

        Examples
        --------
        >>> import tempfile
        >>> from pynapple_nuclr.probes import Probe, load_probe
        >>> x, layers = [[0.0], [0.1], [1.0], [1.1]], ["L4", "L4", "L5", "L5"]
        >>> probe = Probe("layer").fit(x, layers, verbose=False)
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     probe.save(f"{folder}/layer.skops")
        ...     load_probe(f"{folder}/layer.skops").classes_.tolist()
        ['L4', 'L5']
        """
        self._save(Path(path), str(path))

    def push_to_hub(self, repo_id: str, **hub: Any) -> str:
        """Share the fitted probe on the Hugging Face hub, with a card.

        Anyone then loads it as ``load_probe("owner/name")``.

        Parameters
        ----------
        repo_id : str
            ``"owner/name"``; made if absent.
        **hub
            ``private``, ``token``, ``branch``, ``commit_message``, ``create_pr``. Log in once with
            ``hf auth login``, or pass a token.

        Returns
        -------
        str
            Address of the commit.
        """
        with tempfile.TemporaryDirectory() as folder:
            self._save(Path(folder), repo_id)
            return upload_folder(Path(folder), repo_id, **hub)

    def _save(self, path: Path, source: str) -> None:
        check_is_fitted(self)
        is_folder = path.is_dir() or not path.suffix
        if is_folder:
            path.mkdir(parents=True, exist_ok=True)
        fitted = {name: getattr(self, name) for name in FITTED}
        file = path / FILE if is_folder else path
        trusted = write_probe(file, self.get_params(deep=False), fitted)
        if trusted:
            logger.warning("to read it: load_probe(%r, trusted=%s)", source, trusted)
        if is_folder:
            (path / "README.md").write_text(probe_card(self, source, trusted), encoding="utf-8")
