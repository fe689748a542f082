"""Installing a checkpoint from the Hugging Face hub, or any server that speaks its API.

Only `model.safetensors` and `config.json` are downloaded, both from one commit. They are loaded
once to prove that they are whole and belong together, and only then moved to the models folder.
``HF_ENDPOINT``, ``HF_TOKEN`` and the proxy settings mean what they mean to huggingface_hub.
"""

import os
import tempfile
from pathlib import Path

from huggingface_hub import HfApi, constants
from huggingface_hub.errors import (
    EntryNotFoundError,
    HFValidationError,
    LocalEntryNotFoundError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)

from ..errors import CheckpointError
from .checkpoint import MynaModel, move_checkpoint
from .manifest import CONFIG_FILE, WEIGHTS_FILE
from .registry import check_vacant, installed_folder, models_folder


def pull(
    repo_id: str, *, name: str | None = None, revision: str | None = None, force: bool = False
) -> Path:
    """Download, verify and install a checkpoint; return its folder.

    Args:
        repo_id: ``owner/repository`` on the hub.
        name: what to call it here; None: the repository's name.
        revision: branch, tag or commit; None: the main branch.
        force: replace another model of that name.

    Raises:
        CheckpointError: no such repository, revision or file; the server cannot be reached or
            breaks off; the files are damaged; or the name is taken by another model. Nothing is
            installed then.
    """
    folder = installed_folder(repo_id.rpartition("/")[2] if name is None else name)
    # Read now: huggingface_hub reads the variable once, when it is first imported.
    endpoint = os.environ.get("HF_ENDPOINT", constants.ENDPOINT).rstrip("/")
    try:
        models_folder().mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".pull-", dir=models_folder()) as staging:
            try:
                api = HfApi(endpoint=endpoint)
                commit = api.model_info(repo_id, revision=revision, timeout=10).sha
                for file in (CONFIG_FILE, WEIGHTS_FILE):
                    api.hf_hub_download(repo_id, file, revision=commit, local_dir=staging)
            except Exception as error:
                # The transport underneath (requests, httpx, httpx2, by version) raises classes
                # of its own; whichever it was, the download did not happen.
                reason = _explain(error, revision, endpoint)
                raise CheckpointError(f"repository={repo_id!r} {reason}") from error
            model = MynaModel.load(staging)
            if not force:
                check_vacant(folder, model.space_id)
            folder.mkdir(exist_ok=True)
            move_checkpoint(Path(staging), folder)
    except OSError as error:
        raise CheckpointError(
            f"folder={models_folder()} cannot take the model ({error}); "
            "free some space, or point MYNA_HOME elsewhere."
        ) from error
    return folder


def _explain(error: Exception, revision: str | None, endpoint: str) -> str:
    """Return what is wrong with a repository and the remedy, for what huggingface_hub raised."""
    match error:
        case HFValidationError():
            return "is not a repository's name; write it as owner/repository."
        case RevisionNotFoundError():
            return f"has no revision {revision!r}; give one of its branches, tags or commits."
        case RepositoryNotFoundError():
            return (
                f"does not exist at {endpoint}, or is private; "
                "check the name, or log in with `hf auth login`."
            )
        case EntryNotFoundError() if not isinstance(error, LocalEntryNotFoundError):
            return (
                f"holds no checkpoint of myna-rpe, which is {CONFIG_FILE} and {WEIGHTS_FILE}; "
                "for published Myna weights, download the file and run `myna models import`."
            )
        case _:
            reason = str(error).strip().split("\n")[0] or type(error).__name__
            return (
                f"cannot be downloaded from {endpoint} ({reason}); "
                "check the connection and run the same command again."
            )
