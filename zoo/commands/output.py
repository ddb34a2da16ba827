"""What commands print: tables for people, one line of JSON for machines, progress beside both."""

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text


def answer(options: Any, value: Any, *shown: Any) -> None:
    """Prints on standard output: `value` as JSON where `--json` was given, else what is shown.

    Args:
        options: the parsed arguments.
        value: lists, dicts, texts and numbers; NaN and infinite ones become null.
        shown: texts, and what rich can print.
    """
    if options.json:
        print(json.dumps(_finite(value), allow_nan=False), flush=True)
        return
    console = Console(markup=False, highlight=False, emoji=False)
    for part in shown:
        console.print(plain(part) if isinstance(part, str) else part, soft_wrap=type(part) is str)


def standard_error() -> Console:
    """Where progress is shown."""
    return Console(stderr=True, markup=False, highlight=False, emoji=False)


def table(
    columns: Sequence[str],
    rows: Iterable[Sequence[Any]],
    numbers: Sequence[str] = (),
    whole: Sequence[str] = (),
) -> Table:
    """A table of texts as they are: nothing in them is taken for markup.

    Args:
        columns: their names.
        rows: a cell a column; a row `()` is a line between sections.
        numbers: columns that are set to the right.
        whole: columns that are not broken into lines, besides the first and the numbers.
    """
    made = Table(box=SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False)
    for column in columns:
        unbroken = column in (columns[0], *numbers, *whole)
        justify = "right" if column in numbers else "left"
        made.add_column(column, justify=justify, overflow="fold", no_wrap=unbroken)
    for row in rows:
        if not row:
            made.add_section()
        else:
            made.add_row(*(Text(plain(str(cell))) for cell in row))
    return made


def plain(text: str) -> str:
    """A text without characters that steer a terminal: an entry may come from anywhere.

    >>> plain("red: \\x1b[31m")
    'red: [31m'
    """
    return "".join(letter for letter in text if letter.isprintable() or letter == "\n")


def _finite(value):
    if isinstance(value, Mapping):
        return {key: _finite(held) for key, held in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(held) for held in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
