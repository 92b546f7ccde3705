"""Download models from the Hugging Face hub, by ``owner/name[@revision]``, and upload them.

Only the files that prediction needs are transferred, as safetensors and JSON, and no data, log or
prediction. The only other files are published weights of public ECG encoders, which are read
without running code, see ``public_encoders.read_weights``.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator, Sequence
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
from ecg_siglip.models.model_files import CARD, CONFIG, PARTS, TEXT_FILES

# Explicit names: what is not listed is neither downloaded nor uploaded.
OWN_FILES = (CARD, CONFIG, *PARTS)
FILES = [*OWN_FILES, *(f"member*/{file}" for file in OWN_FILES)]
FORMER_FILES = [*FILES, "text/*", "member*/text/*"]  # of an earlier model, deleted by an upload
# Of a text encoder that a training starts from: no weights in pickles, no code.
ENCODER_FILES = [
    *TEXT_FILES,
    *("model.safetensors", "model.safetensors.index.json", "model-*-of-*.safetensors"),
]
NOT_ENCODER = ["*/*"]  # a pattern matches a file in any folder: those in folders are left out
NAME = re.compile(r"[\w.-]+/[\w.-]+")
# The hub's errors are derived from those of the HTTP library that it uses, whichever that is.
NO_CONNECTION: tuple[type[BaseException], ...] = (*HfHubHTTPError.__bases__, OSError)
TOKEN_HINT = "run `hf auth login` or set HF_TOKEN"


def download(name: str) -> Path:
    """Return the folder with a model of the hub, downloaded unless it is in the cache.

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
        If there is no such repository or revision, if the repository requires a token, or if the
        hub cannot be reached and the model is not in the cache.
    """
    repo, _, revision = name.partition("@")
    with _explain_errors(f"model {name}: no such folder, and not on the hub", repo):
        folder = snapshot_download(repo, revision=revision or None, allow_patterns=FILES)
    return Path(folder)


def download_encoder(name: str) -> Path:
    """Return the folder with a pretrained text encoder of the hub, see ``ENCODER_FILES``.

    Parameters
    ----------
    name : str
        ``owner/name``, or ``owner/name@revision``.

    Raises
    ------
    ValueError
        As ``download``; or if the repository has no weights as safetensors.
    """
    repo, _, revision = name.partition("@")
    with _explain_errors(f"text.name={name}: no such folder, and not on the hub", repo):
        folder = snapshot_download(
            repo,
            revision=revision or None,
            allow_patterns=ENCODER_FILES,
            ignore_patterns=NOT_ENCODER,
        )
    if not any(Path(folder).glob("*.safetensors")):
        raise ValueError(
            f"text.name={name}: has no weights as safetensors, and pickled weights are not read; "
            "expected a repository or a revision with them, text.name=owner/name@revision"
        )
    return Path(folder)


def download_weights(name: str, files: Sequence[str]) -> Path:
    """Return the folder with the published weights of an ECG encoder of the hub.

    Parameters
    ----------
    name : str
        ``owner/name``, or ``owner/name@revision``.
    files : sequence of str
        Names of the only files that are downloaded.

    Raises
    ------
    ValueError
        As ``download``.
    """
    repo, _, revision = name.partition("@")
    with _explain_errors(f"ecg.weights={name}: no such file or folder, and not on the hub", repo):
        folder = snapshot_download(
            repo,
            revision=revision or None,
            allow_patterns=list(files),
            ignore_patterns=NOT_ENCODER,
        )
    return Path(folder)


def upload(
    folder: Path,
    repo: str,
    message: str,
    private: bool = True,
    revision: str | None = None,
) -> str:
    """Upload a model's folder to the hub; return the address of the commit.

    Parameters
    ----------
    folder : Path
        As written by ``artifact.save_artifact``. Other files in it are not uploaded.
    repo : str
        ``owner/name``; created if it does not exist.
    message : str
        Message of the commit.
    private : bool
        Whether a new repository is private; an existing one is not changed.
    revision : str, optional
        A branch; created if it does not exist. The main branch by default.

    Raises
    ------
    ValueError
        If the name is not ``owner/name``, if there is no token with the right to write, or if the
        hub cannot be reached.
    """
    with _explain_errors(f"repo={repo}", repo):
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
            delete_patterns=FORMER_FILES,  # files of an earlier model that this one lacks
        )
    return str(commit.commit_url)


@contextlib.contextmanager
def _explain_errors(what: str, repo: str) -> Iterator[None]:
    """Raise errors of the hub as a ``ValueError`` with what to do."""
    try:
        yield
    except HFValidationError as error:
        raise ValueError(f"{what}: expected owner/name, got {repo!r}") from error
    except RevisionNotFoundError as error:
        raise ValueError(f"{what}: {repo} exists, but has no such revision") from error
    except RepositoryNotFoundError as error:
        raise ValueError(
            f"{what}: no such repository, or a private one and no token with access: {TOKEN_HINT}"
        ) from error
    except (OfflineModeIsEnabled, LocalEntryNotFoundError) as error:
        reason = one_line(error)[:200]
        raise ValueError(
            f"{what}: the hub cannot be reached, and it is not in the cache ({reason})"
        ) from error
    except HfHubHTTPError as error:
        status = error.response.status_code if error.response is not None else 0
        if status in (401, 403):
            raise ValueError(
                f"{what}: no token, or one without the right to do this: {TOKEN_HINT}"
            ) from error
        raise ValueError(f"{what}: the hub responded with {one_line(error)[:200]}") from error
    except NO_CONNECTION as error:
        raise ValueError(f"{what}: the hub cannot be reached ({one_line(error)[:200]})") from error
