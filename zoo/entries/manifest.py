"""The manifest of an entry: what is in its folder, and what is known of the model."""

import hashlib
import json
import os
from collections.abc import Mapping
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any

FILE_NAME = "manifest.json"
SCHEMA = 1
"""The number of the schema that this version reads and writes."""
LARGEST = 2**24
"""So many bytes a manifest or an architecture may have."""


class BadEntryError(ValueError):
    """An entry is damaged, or not what its manifest says, or not safe to load."""


def checked_manifest(content: Any, source: str) -> dict[str, Any]:
    """A manifest that follows the schema `manifest.schema.json`.

    Args:
        content: the decoded JSON.
        source: where it came from, for the message.

    Raises:
        BadEntryError: when it does not follow the schema; names the place.
    """
    import jsonschema

    said = content.get("schema") if isinstance(content, Mapping) else None
    if isinstance(said, int) and said > SCHEMA:
        raise BadEntryError(
            f"The manifest of {source} is of a newer mtl-keras: pip install -U mtl-keras. "
            f"Received: schema {said}, this version reads {SCHEMA}"
        )
    error = jsonschema.exceptions.best_match(_validator().iter_errors(content))
    if error is not None:
        place = "/".join(map(str, error.absolute_path)) or "the whole"
        raise BadEntryError(
            f"The manifest of {source} does not follow the schema at {place}: {error.message[:300]}"
        )
    return content


@cache
def _validator():
    import jsonschema

    schema = resources.files(__package__) / "manifest.schema.json"
    return jsonschema.Draft202012Validator(json.loads(schema.read_text("utf-8")))


def read_manifest(folder: str | os.PathLike) -> dict[str, Any]:
    """The checked manifest of an entry's folder.

    Raises:
        FileNotFoundError: when there is none.
        BadEntryError: when it is none.
    """
    path = Path(folder) / FILE_NAME
    if not path.is_file():
        raise FileNotFoundError(f"No entry: there is no {FILE_NAME}. Received: {str(folder)!r}")
    return decoded_manifest(read_limited(path), str(folder))


def decoded_manifest(content: bytes, source: str) -> dict[str, Any]:
    """The checked manifest in these bytes.

    Raises:
        BadEntryError: when it is none.
    """
    try:
        decoded = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise BadEntryError(f"The manifest of {source} is not JSON: {error}") from error
    return checked_manifest(decoded, source)


def read_limited(path: Path) -> bytes:
    """The content of a file of at most `LARGEST` bytes.

    Raises:
        BadEntryError: when it is larger, or a link.
    """
    if path.is_symlink():
        raise BadEntryError(f"Files of an entry must not be links. Received: {path}")
    if path.stat().st_size > LARGEST:
        raise BadEntryError(
            f"{path.name} must have at most {LARGEST:,} bytes. Received: {path.stat().st_size:,}"
        )
    return path.read_bytes()


def digest_of(path: Path) -> dict[str, Any]:
    """SHA-256 and size of a file, as the manifest has them."""
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return {"sha256": digest, "bytes": path.stat().st_size}


def check_files(folder: str | os.PathLike, manifest: Mapping[str, Any]) -> None:
    """Holds every file of the folder against the manifest.

    Raises:
        BadEntryError: for a file that is missing, is a link, or has another size or digest.
    """
    for name, expected in manifest["files"].items():
        path = Path(folder) / name
        if path.is_symlink() or (path.parent.is_symlink() and path.parent != Path(folder)):
            raise BadEntryError(f"Files of an entry must not be links. Received: {path}")
        if not path.is_file():
            raise BadEntryError(f"The manifest lists {name}, which is not there. Received: {path}")
        found = digest_of(path)
        if found != expected:
            raise BadEntryError(
                f"{name} must have {expected['bytes']:,} bytes and SHA-256 {expected['sha256']}, "
                f"says the manifest: the file is damaged or of another entry. Received: "
                f"{found['bytes']:,} bytes, SHA-256 {found['sha256']}, in {folder}"
            )
