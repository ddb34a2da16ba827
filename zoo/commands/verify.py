"""`mtl-zoo verify`: whether entries are what their manifests say."""

from typing import Any

from rich.filesize import decimal

from zoo import registry
from zoo.commands.output import answer, table


def run(options: Any) -> int:
    """Holds one entry, or all of the package, against their manifests.

    Returns:
        0 when all is as stated; 1 when, of all entries, one is not.
    """
    if not options.all:
        found = [{"name": options.name} | registry.verify(options.name)]
    else:
        found = [_looked_at(name) for name in registry.list_models(pretrained=True)]
    bad = [own for own in found if "error" in own]
    cells = [(own["name"], *_said(own)) for own in found]
    answer(
        options,
        {"entries": found, "verified": not bad},
        table(("name", "files", "size", "golden output"), cells, ("files", "size")),
        *(f"{own['name']}: {own['error']}" for own in bad),
        f"As the manifests say: {len(found) - len(bad)} of {len(found)}.",
    )
    return 1 if bad else 0


def _looked_at(name):
    try:
        return {"name": name} | registry.verify(name)
    except (ValueError, OSError) as error:
        return {"name": name, "error": str(error)}


def _said(own):
    if "error" in own:
        return "", "", "BAD"
    return own["files"], decimal(own["bytes"]), f"differs by {own['difference']:.1g} at most"
