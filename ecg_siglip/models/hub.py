"""Models on the Hugging Face hub: fetched by ``owner/name[@revision]``, and put there.

Only what a model needs to answer travels, as safetensors and JSON: no pickle is fetched or sent, no
data, no log, no prediction.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from pathlib import Path

from huggingface_hub import HfApi, snapshot_download
from huggingface_hub.errors import (
    HfHubHTTPError,
    HFValidationError,
    LocalEntryNotFoundError,
    OfflineModeIsEnabled,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)

from ecg_siglip.core.files import one_line

PARTS = ("README.md", "config.json", "model.safetensors", "neighbours.safetensors", "text/*")
FILES = [*PARTS, *(f"member*/{part}" for part in PARTS)]
# In ``text/`` lie files of many names: what could run code when it is read is none of them.
PICKLES = [
    f"*.{suffix}" for suffix in ("bin", "pt", "pth", "pkl", "pickle", "ckpt", "joblib", "py")
]
NAME = re.compile(r"[\w.-]+/[\w.-]+")
# Whatever HTTP library it brings: its errors are those that the hub's are made of.
NO_CONNECTION: tuple[type[BaseException], ...] = (*HfHubHTTPError.__bases__, OSError)
TOKEN = "`hf auth login`, or HF_TOKEN"


def download(name: str) -> Path:
    """The folder with a model of the hub, fetched unless it is in the cache.

    Parameters
    ----------
    name : str
        ``owner/name``, or ``owner/name@revision``: a branch, a tag or a commit.

    Returns
    -------
    Path

    Raises
    ------
    ValueError
        If there is no such repository or revision, or one that needs a token, or if the hub cannot
        be reached and the model is not in the cache.
    """
    repo, _, revision = name.partition("@")
    with _saying(f"model {name}: no such folder, and not on the hub", repo):
        folder = snapshot_download(
            repo, revision=revision or None, allow_patterns=FILES, ignore_patterns=PICKLES
        )
    return Path(folder)


def upload(
    folder: Path,
    repo: str,
    message: str,
    private: bool = True,
    revision: str | None = None,
) -> str:
    """Put a model's folder on the hub; returns the address of the commit.

    Parameters
    ----------
    folder : Path
        As ``artifact.save_artifact`` writes it. Anything else in it stays here.
    repo : str
        ``owner/name``; made if it is not there.
    message : str
        Of the commit.
    private : bool
        Of a new repository; one that is there stays as it is.
    revision : str, optional
        A branch; made if it is not there. The main one by default.

    Raises
    ------
    ValueError
        If the name is none, if there is no token with the right to write, or if the hub cannot be
        reached.
    """
    with _saying(f"repo={repo}", repo):
        if not NAME.fullmatch(repo):
            raise HFValidationError
        api = HfApi()
        api.create_repo(repo, private=private, exist_ok=True)
        if revision:
            api.create_branch(repo, branch=revision, exist_ok=True)
        commit = api.upload_folder(
            repo_id=repo,
            folder_path=folder,
            commit_message=message,
            revision=revision,
            allow_patterns=FILES,
            ignore_patterns=PICKLES,
            delete_patterns=FILES,  # what an earlier model had and this one has not
        )
    return str(commit.commit_url)


@contextlib.contextmanager
def _saying(what: str, repo: str) -> Iterator[None]:
    """Whatever goes wrong with the hub as one ``ValueError`` that says what to do."""
    try:
        yield
    except HFValidationError as error:
        raise ValueError(f"{what}: expected owner/name, got {repo!r}") from error
    except RevisionNotFoundError as error:
        raise ValueError(f"{what}: {repo} is there, but has no such revision") from error
    except RepositoryNotFoundError as error:
        raise ValueError(
            f"{what}: no such repository, or a private one and no token that may see it: {TOKEN}"
        ) from error
    except (OfflineModeIsEnabled, LocalEntryNotFoundError) as error:
        raise ValueError(
            f"{what}: the hub cannot be reached, and it is not in the cache ({one_line(error)[:200]})"
        ) from error
    except HfHubHTTPError as error:
        status = error.response.status_code if error.response is not None else 0
        if status in (401, 403):
            raise ValueError(
                f"{what}: no token, or one without the right to do this: {TOKEN}"
            ) from error
        raise ValueError(f"{what}: the hub answered {one_line(error)[:200]}") from error
    except NO_CONNECTION as error:
        raise ValueError(f"{what}: the hub cannot be reached ({one_line(error)[:200]})") from error
