"""`mtl-zoo info NAME`: the card of an entry."""

from typing import Any

from rich.markdown import Markdown

from zoo import registry
from zoo.commands.output import answer, plain


def run(options: Any) -> None:
    """Prints the card; as JSON, the manifest that it is made from."""
    answer(
        options,
        registry.manifest_of(options.name),
        Markdown(plain(registry.card(options.name))),
    )
