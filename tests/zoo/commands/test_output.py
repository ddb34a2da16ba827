import io
import math
from types import SimpleNamespace

import pytest
from rich.console import Console

from zoo.commands.output import answer, plain, table

JSON, TEXT = SimpleNamespace(json=True), SimpleNamespace(json=False)


def shown(made):
    text = io.StringIO()
    Console(file=text, width=60).print(made)
    return text.getvalue()


def test_json_has_no_numbers_that_it_does_not_know(capsys):
    answer(JSON, {"a": [math.nan, (1.5, -math.inf)], "b": True}, "not this")
    assert capsys.readouterr().out == '{"a": [null, [1.5, null]], "b": true}\n'


def test_texts_are_shown_as_they_are_and_not_broken(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "20")
    text = "[bold]a path[/bold] :smile: " + "x" * 60
    answer(TEXT, {}, text)
    assert capsys.readouterr().out == f"{text}\n"


@pytest.mark.parametrize("cell", ["[red]not red[/red]", "[/] no markup", "a \x1b[31mb"])
def test_cells_are_shown_as_they_are_without_what_steers_a_terminal(cell):
    assert cell.replace("\x1b", "") in shown(table(["what"], [[cell]]))


def test_a_plain_text_keeps_its_lines_and_letters():
    assert plain("é → ü\n\x07\x9b2J") == "é → ü\n2J"
