import json
import shutil
from pathlib import Path

import zoo
from zoo.entries.manifest import FILE_NAME, read_manifest


def test_the_card_is_shown(zoo_says, entry):
    said = zoo_says("info", entry)
    assert (said.code, said.err) == (0, "")
    assert "What a customer of a shop does" in said.out
    rows = [line.split() for line in said.out.splitlines()]
    assert ["kind", "CategoricalTask", "3", "accuracy"] in rows
    assert zoo.card(entry).startswith("# shop") and "# shop" not in said.out


def test_as_json_it_is_the_manifest(zoo_says, entry):
    assert zoo_says("info", entry, "--json").json == read_manifest(entry)


def test_the_card_loads_it_from_where_it_is(entry, tmp_path, monkeypatch):
    page = (entry / "README.md").read_text("utf-8")
    assert page.startswith("# shop\n") and 'zoo.load("./shop")' in page
    assert f'zoo.load("{entry}")' in zoo.card(str(entry))
    shutil.copytree(entry, tmp_path / "moved")
    monkeypatch.chdir(tmp_path)
    assert 'zoo.load("./moved")' in zoo.card(Path("moved"))
    assert zoo.verify("./moved")["difference"] == 0


def test_an_entry_cannot_steer_the_terminal(zoo_says, entry, tmp_path):
    folder = tmp_path / "bad"
    shutil.copytree(entry, folder)
    manifest = read_manifest(folder) | {"title": "red \x1b[31m [bold]or[/bold] not"}
    (folder / FILE_NAME).write_text(json.dumps(manifest))
    said = zoo_says("info", folder)
    assert "\x1b[31m" not in said.out
    assert "[bold]or[/bold] not" in said.out


def test_a_recipe_without_weights_is_named(mistake, monkeypatch, recipe):
    monkeypatch.setattr("zoo.registry.PRESETS", recipe.parent)
    assert "`mtl-zoo train tiny` makes some" in mistake("info", "tiny")
