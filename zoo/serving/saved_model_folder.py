"""Where a SavedModel lies: a folder, or the highest of its numbered versions."""

import os
from pathlib import Path

_FILE = "saved_model.pb"


def saved_model_folder(path: str | os.PathLike) -> tuple[Path, str, int] | None:
    """A SavedModel's folder, the name it is served by, and its version; None where there is none.

    Args:
        path: a SavedModel, which is version 1, or the version that its folder is named after; or
            a folder of versions, as TensorFlow Serving has them: `NAME/1`, `NAME/2`, of which it
            is the highest.

    Example:

    >>> saved_model_folder("nothing") is None
    True
    """
    folder = Path(os.path.abspath(path))
    if (folder / _FILE).is_file():
        if folder.name.isdecimal() and folder.name.isascii():
            return folder, folder.parent.name, int(folder.name)
        return folder, folder.name, 1
    if not folder.is_dir():
        return None
    versions = {
        int(own.name): own
        for own in folder.iterdir()
        if own.name.isdecimal() and own.name.isascii() and (own / _FILE).is_file()
    }
    if not versions:
        return None
    return versions[max(versions)], folder.name, max(versions)
