"""Files from and to the Hugging Face hub, the same for encoders and probes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from huggingface_hub import HfApi, snapshot_download
from huggingface_hub.errors import LocalEntryNotFoundError


def local_folder(
    source: str | Path, files: Sequence[str], what: str, written_by: str, hub: dict[str, Any]
) -> Path:
    """Return the path of a file or folder on this machine, downloaded if it is on the hub.

    `source` is a path or ``"owner/name"``, of which `files` are downloaded; `what` and `written_by`
    are words for errors. `hub` goes to ``huggingface_hub.snapshot_download``. FileNotFoundError if
    there is neither; ValueError if a revision is asked for of a path.
    """
    name, revision = str(source), hub.get("revision")
    if Path(source).exists():
        if revision is not None:
            raise ValueError(
                f"revision={revision!r} is of {what}s on the hub, and {name} is on this machine; "
                "leave it out"
            )
        return Path(source)
    if name.count("/") != 1 or name.startswith((".", "/", "~")):
        raise FileNotFoundError(
            f"no {what} at {name!r}; expected one written by {written_by}, or a hub name "
            '"owner/name"'
        )
    try:
        return Path(snapshot_download(name, allow_patterns=list(files), **hub))
    except (LocalEntryNotFoundError, ConnectionError) as error:  # offline, and not in the cache
        raise FileNotFoundError(
            f"the hub cannot be reached, and this machine holds no copy of {name!r}: load it once "
            f"where there is a connection (later calls need none), or pass the folder of a saved "
            f"{what}"
        ) from error
    except Exception as error:  # the hub's errors are many; all mean the same to the user
        at = "" if revision is None else f" at revision {revision!r}"
        raise FileNotFoundError(f"no folder and no hub repository {name!r}{at}: {error}") from error


def upload_folder(
    folder: Path,
    repo_id: str,
    *,
    token: str | None = None,
    private: bool | None = None,
    branch: str | None = None,
    **options: Any,
) -> str:
    """Upload a folder to a repository, made if absent; return the address of the commit."""
    api = HfApi(token=token)
    repo_id = api.create_repo(repo_id, private=private, exist_ok=True).repo_id
    commit = api.upload_folder(repo_id=repo_id, folder_path=folder, revision=branch, **options)
    return str(commit)
