"""`mtl-zoo quickstart`: see `zoo.quickstart`."""

from typing import Any

from zoo import quickstart
from zoo.commands.output import answer, standard_error


def run(options: Any) -> None:
    """Trains, compares, exports, and says so on the way; as JSON, the results at the end."""
    console = standard_error() if options.json else None
    try:
        results = quickstart.run(options.output, options.seed, options.epochs, console)
    except FileExistsError as error:
        raise FileExistsError(f"{error} (choose another folder with --output)") from error
    answer(options, results)
