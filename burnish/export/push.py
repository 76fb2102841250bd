"""To the hub: what is uploaded is listed first, private unless told otherwise, and nothing else goes along.

Uploaded are the files that others need to run the model, and its card. Not: checkpoints, optimizer states,
pickles, logs, samples, and `run.json` and `verify.json`, which have paths of this machine; the card has what
they say.
"""

from __future__ import annotations

import fnmatch
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from burnish.errors import UserError
from burnish.export.card import CARD, is_ours, write_card
from burnish.models.adapter_chain import ADAPTER

WANTED = (
    "*.safetensors *.safetensors.index.json config.json generation_config.json adapter_config.json "
    "trained_on.json "
    "tokenizer.json tokenizer_config.json tokenizer.model special_tokens_map.json added_tokens.json "
    "vocab.json vocab.txt merges.txt spiece.model chat_template.jinja additional_chat_templates/*.jinja "
    "preprocessor_config.json processor_config.json *.gguf Modelfile README.md"
).split()


@dataclass(frozen=True)
class Upload:
    """What would be uploaded where. `files` are paths in the folder with their bytes."""

    folder: Path
    repository: str
    private: bool
    files: dict[str, int]
    warnings: list[str] = field(default_factory=list)

    @property
    def bytes(self) -> int:
        return sum(self.files.values())

    def to_dict(self) -> dict[str, Any]:
        return {
            "folder": str(self.folder),
            "repository": self.repository,
            "private": self.private,
            "bytes": self.bytes,
            "files": self.files,
            "warnings": self.warnings,
        }


def plan_upload(folder: str | Path, repository: str, *, private: bool = True) -> Upload:
    """Write the card, if the model has none from here, and list what goes up. Asks nobody.

    Raises `UserError` where there is no model, or the name of the repository cannot be.
    """
    place = Path(folder).expanduser()
    _check_name(repository)
    if not is_ours(place / CARD):
        write_card(place)
    files = {
        str(path.relative_to(place)): path.stat().st_size
        for path in sorted(place.rglob("*"))
        if path.is_file() and not path.is_symlink() and _is_wanted(str(path.relative_to(place)))
    }
    if not any(name.endswith((".safetensors", ".gguf")) for name in files):
        raise UserError(
            "there are no weights in this folder", where=str(folder), fix="give what training wrote"
        )
    return Upload(place, repository, private, files, _warnings(place))


def push(upload: Upload, token: str | None = None) -> str:
    """Upload in one commit, and give the address. Raises `UserError` where that cannot be done."""
    from huggingface_hub import CommitOperationAdd, HfApi

    token = _token(token)
    api = HfApi(token=token)
    with hub_errors(upload):
        user = api.whoami()["name"]
        name = upload.repository if "/" in upload.repository else f"{user}/{upload.repository}"
        api.create_repo(name, private=upload.private, exist_ok=True)
        if upload.private and not api.repo_info(name).private:
            raise UserError(
                "this repository exists, and everyone can read it",
                where=name,
                fix="say --public if that is meant, or give another name",
            )
        made = api.create_commit(
            name,
            [CommitOperationAdd(file, _content(upload, file, name)) for file in upload.files],
            commit_message=f"{upload.folder.absolute().name}, trained with Burnish",
        )
    return str(made.commit_url or f"https://huggingface.co/{name}")


def _content(upload: Upload, file: str, name: str) -> Path | bytes:
    """A file as it is; in the card, the model is loaded by its name on the hub."""
    if file != CARD:
        return upload.folder / file
    text = (upload.folder / file).read_text(encoding="utf-8")
    local = upload.folder.absolute().name
    return text.replace(f'from_pretrained("{local}")', f'from_pretrained("{name}")').encode()


def _is_wanted(name: str) -> bool:
    """By its name; a file in a subfolder only where the pattern names the subfolder."""
    return any(
        fnmatch.fnmatchcase(name, pattern) and name.count("/") == pattern.count("/") for pattern in WANTED
    )


def _warnings(folder: Path) -> list[str]:
    """What will surprise those who load it."""
    found = []
    config = folder / ADAPTER
    if config.is_file():
        base = json.loads(config.read_text(encoding="utf-8")).get("base_model_name_or_path") or ""
        if Path(base).expanduser().exists() or base.startswith((".", "/", "~")):
            found.append(
                f"this adapter names its base by a folder of this machine ({base}): nobody else can load it; "
                "push what `burnish merge` makes of it, or set base_model_name_or_path"
            )
    verified = folder / "verify.json"
    if verified.is_file() and not json.loads(verified.read_text(encoding="utf-8")).get("passed"):
        found.append("verify.json says that this is not what was trained")
    return found


def _check_name(repository: str) -> None:
    from huggingface_hub.utils import HFValidationError, validate_repo_id

    try:
        validate_repo_id(repository)
    except HFValidationError as error:
        raise UserError(
            f"this cannot be the name of a repository ({error})", where=repository, fix="write owner/name"
        ) from error


def _token(given: str | None) -> str:
    """The token that was given, else this machine's. Raises `UserError` offline or without; asks nobody."""
    from huggingface_hub import constants, get_token

    if constants.HF_HUB_OFFLINE:
        raise UserError(
            "this is offline: HF_HUB_OFFLINE is set",
            where="burnish push",
            fix="unset it, or look at what would be uploaded with --dry-run",
        )
    token = given or get_token()
    if not token:
        raise UserError(
            "there is no token for the hub on this machine",
            where="burnish push",
            fix="run `hf auth login`, or set HF_TOKEN; the token needs the right to write",
        )
    return token


@contextmanager
def hub_errors(upload: Upload) -> Iterator[None]:
    """What the hub or the way to it says, as an error that names the way on. Files here stay as they are."""
    from huggingface_hub.errors import HfHubHTTPError

    again = (
        f"burnish push {upload.folder} {upload.repository} {'--private' if upload.private else '--public'}"
    )
    try:
        yield
    except HfHubHTTPError as error:
        status = getattr(error.response, "status_code", None)
        reasons = {401: "the token is not known there", 403: "the token has no right to write there"}
        what = reasons.get(status or 0, str(error).strip().split("\n")[0])
        raise UserError(
            f"the hub refused ({status}): {what}", where=upload.repository, fix=f"mend that, then {again}"
        ) from error
    except Exception as error:
        if isinstance(error, UserError) or not _is_of_the_network(error):
            raise
        raise UserError(
            f"the hub was not reached ({type(error).__name__}: {error})",
            where=upload.repository,
            fix=f"nothing is lost here; when there is a network: {again}",
        ) from error


def _is_of_the_network(error: Exception) -> bool:
    """Whether an error is that of a connection; the library under the hub's client has had several names."""
    return isinstance(error, OSError) or type(error).__module__.startswith(("httpx", "requests"))
