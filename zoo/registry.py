"""The entries of the zoo: what there is, and from a name to a model."""

import fnmatch
import json
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mtl_keras import MultiTaskModel, Task

PRESETS = Path(__file__).parent / "presets"


def list_models(
    pattern: str = "*",
    *,
    pretrained: bool | None = None,
    task: str | None = None,
    dataset: str | None = None,
) -> list[str]:
    """The names of entries, sorted.

    Args:
        pattern: name with wildcards `*` and `?`.
        pretrained: True for entries with weights, False for those that are a recipe only.
        task: those that predict a task of this name.
        dataset: those trained on this data set.

    Example:

    >>> "mmoe_census" in list_models("*census*", pretrained=True, task="income")
    True
    """
    found = []
    for path in sorted(PRESETS.glob("*/recipe.json")):
        name, manifest = path.parent.name, _manifest_if_any(path.parent)
        # Hidden folders are entries that are being written.
        if name.startswith(".") or not fnmatch.fnmatchcase(name, pattern):
            continue
        if pretrained is not None and pretrained != (manifest is not None):
            continue
        if task is not None and task not in _task_names(manifest):
            continue
        if dataset is not None and dataset != json.loads(path.read_text("utf-8"))["data"]["name"]:
            continue
        found.append(name)
    return found


def load(
    name: str | os.PathLike,
    tasks: "Sequence[Task] | None" = None,
    *,
    like: str | Mapping[str, str] | None = None,
    optimizer: Any = "adam",
    pretrained: bool = True,
    revision: str | None = None,
    offline: bool | None = None,
) -> "MultiTaskModel":
    """A pretrained model, compiled: to predict, to evaluate, or to train on.

    Args:
        name: one of `list_models(pretrained=True)`, the folder of an entry, or the address
            (https://...) of one, which is downloaded once.
        tasks: new tasks, in place of the entry's: their heads start fresh on the pretrained
            trunk.
        like: which of the entry's tasks a new one continues where tasks have gates or towers of
            their own; default its first. One name, or a dict by new task.
        optimizer: of a model with new tasks.
        pretrained: whether to load the weights; otherwise they are a fresh draw.
        revision: for an address, the SHA-256 of the manifest that is wanted.
        offline: for an address, whether to use nothing but the cache; default what the
            environment variable MTL_ZOO_OFFLINE says.

    Raises:
        ValueError: for an unknown name, an entry that is damaged, not what its manifest says or
            not safe to load (`zoo.entries.manifest.BadEntryError`), and bad tasks.
        OSError: for an address that cannot be reached, or is not in the cache when offline.

    Example:

    >>> model = load("mmoe_census")
    >>> [task.name for task in model.tasks]
    ['income', 'never_married', 'college']
    """
    from zoo.entries.entry import read
    from zoo.entries.transfer import with_tasks

    model = read(folder_of(name, revision, offline), pretrained)
    return model if tasks is None else with_tasks(model, tasks, like, optimizer)


def card(name: str | os.PathLike) -> str:
    """The model card of an entry, in Markdown.

    Args:
        name: as in `load`.

    Raises:
        ValueError, OSError: as `load`.
    """
    from zoo.entries import card as cards

    text = os.fspath(name)
    # As it is loaded: a bare name would be that of an entry of the zoo.
    shown = text if text in list_models() or "/" in text else f"./{text}"
    return cards.card(manifest_of(name), shown)


def example(name: str | os.PathLike) -> dict[str, Any]:
    """A few rows of input of an entry, as arrays: its golden input.

    Args:
        name: as in `load`.

    Example:

    >>> sorted(example("mmoe_census"))[:3]
    ['age', 'capital_gains', 'capital_losses']
    """
    from zoo.entries.entry import golden_input

    return golden_input(manifest_of(name))


def encoded(name: str | os.PathLike, x: Mapping[str, Any]) -> dict[str, Any]:
    """Raw input of an entry as its model takes it on this backend.

    On TensorFlow as it is. Models of JAX and PyTorch cannot take strings: there texts and
    categories become the ids that the model reads.

    Args:
        name: as in `load`.
        x: input name to values (batch, ...).

    Example:

    >>> x = encoded("mmoe_census", example("mmoe_census"))
    >>> sorted(load("mmoe_census").predict(x, verbose=0))
    ['college', 'income', 'never_married']
    """
    from zoo.entries.entry import as_taken

    return as_taken(x, folder_of(name))


def verify(name: str | os.PathLike) -> dict[str, Any]:
    """Holds an entry against its manifest: every file's digest, the card, the golden output.

    Args:
        name: as in `load`.

    Returns:
        "files" and "bytes" that were read, and "difference", the largest from the golden output.

    Raises:
        ValueError: for whatever is not as the manifest says.
    """
    from zoo.entries import card as cards
    from zoo.entries.entry import check_golden, read
    from zoo.entries.manifest import BadEntryError

    folder = folder_of(name).resolve()
    manifest = manifest_of(folder)
    difference = check_golden(read(folder), folder)
    page = folder / cards.CARD
    text = page.read_text("utf-8") if page.is_file() else None
    # A folder may have been moved since; the card bears its old name.
    if text is not None and text != cards.card(manifest, cards.name_in(text)):
        raise BadEntryError(f"{cards.CARD} must be made from the manifest. Received: {page}")
    files = manifest["files"]
    total = sum(file["bytes"] for file in files.values())
    return {"files": len(files), "bytes": total, "difference": difference}


def manifest_of(name: str | os.PathLike) -> dict[str, Any]:
    """The checked manifest of an entry: everything known of it.

    Args:
        name: as in `load`.

    Raises:
        ValueError, OSError: as `load`.
    """
    from zoo.entries.manifest import read_manifest

    return read_manifest(folder_of(name))


def folder_of(
    name: str | os.PathLike, revision: str | None = None, offline: bool | None = None
) -> Path:
    """The folder of an entry, downloaded first where it has an address.

    Raises:
        ValueError: for an unknown name, or one that has no weights yet.
        OSError: as `load`.
    """
    text = os.fspath(name)
    if "://" in text:
        from zoo.entries.remote import fetched

        return fetched(text, revision, offline=offline)
    if revision is not None:
        raise ValueError(
            f"`revision` goes with an address. Received: revision={revision!r}, name={text!r}"
        )
    if os.sep in text or "/" in text or isinstance(name, Path):
        return Path(name)
    known = list_models()
    if text not in known:
        raise ValueError(
            f"`name` must be one of {known}, a folder ('./{text}') or an address. "
            f"Received: name={text!r}{_meant(text, known)}"
        )
    folder = PRESETS / text
    if not (folder / "manifest.json").is_file():
        raise ValueError(
            f"'{text}' has a recipe and no weights yet: `mtl-zoo train {text}` makes some. "
            f"Received: name={text!r}"
        )
    return folder


def recipe_path(name: str | os.PathLike) -> Path:
    """Where the recipe of an entry lies, which need not have weights.

    Args:
        name: as in `load`.

    Raises:
        ValueError: for an unknown name.
        OSError: when there is no recipe, and as `load`.
    """
    path = (PRESETS / name if name in list_models() else folder_of(name)) / "recipe.json"
    if not path.is_file():
        raise FileNotFoundError(
            f"The entry must have a {path.name}, which says how it is trained. "
            f"Received: {os.fspath(name)!r}"
        )
    return path


def _meant(text: str, known: Iterable[str]) -> str:
    import difflib

    near = difflib.get_close_matches(text, known, 1)
    return f"; did you mean {near[0]!r}?" if near else ""


def _manifest_if_any(folder):
    path = folder / "manifest.json"
    return json.loads(path.read_text("utf-8")) if path.is_file() else None


def _task_names(manifest):
    # Of a recipe alone, the tasks are the data's.
    return [task["name"] for task in manifest["tasks"]] if manifest else []
