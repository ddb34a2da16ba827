"""`mtl-zoo prefetch ADDRESS`: an entry into the cache, to be used without a network."""

from typing import Any

from zoo.commands.output import answer, standard_error
from zoo.entries.remote import fetched


def run(options: Any) -> None:
    """Fetches what the cache lacks; prints where the entry lies."""
    folder = fetched(options.address, options.revision, console=standard_error())
    answer(options, {"path": str(folder), "revision": folder.name}, str(folder))
