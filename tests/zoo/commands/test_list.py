import json
import shutil

import pytest
from rich.filesize import decimal

import zoo
from zoo import builders, datasets, registry


@pytest.fixture
def package(entry, recipe, tmp_path, monkeypatch):
    """The package has the entry "shop", and "tiny", which is a recipe."""
    presets = tmp_path / "presets"
    shutil.copytree(recipe, presets / "tiny")
    shutil.copytree(entry, presets / "shop")
    content = json.loads((recipe / "recipe.json").read_text())
    content |= {"title": "A shop", "data": {"name": "qm9"}}
    (presets / "shop" / "recipe.json").write_text(json.dumps(content))
    monkeypatch.setattr(registry, "PRESETS", presets)
    return presets


def names(said, kind="entries"):
    return [found["name"] for found in said.json[kind]]


def test_everything_is_listed(zoo_says, package):
    said = zoo_says("list", "--json")
    assert names(said) == ["shop", "tiny"]
    assert names(said, "builders") == sorted(set(builders.__all__) - {"ModelOptions"})
    assert names(said, "datasets") == sorted(datasets.list())


def test_what_is_said_of_builders_and_data_sets_is_their_docstring(zoo_says, package):
    found = zoo_says("list", "--json").json
    titles = {own["name"]: own["title"] for kind in found.values() for own in kind}
    assert titles["cross_stitch"] == builders.cross_stitch.__doc__.splitlines()[0]
    assert titles["snips"] == datasets.info("snips").title


def test_what_is_said_of_an_entry_is_its_own(zoo_says, package):
    shop, tiny = zoo_says("list", "--json").json["entries"]
    assert shop["parameters"] == zoo.load("shop").count_params()
    files = [path for path in (package / "shop").rglob("*") if path.is_file()]
    beside = {"manifest.json", "README.md", "recipe.json"}
    assert shop["bytes"] == sum(p.stat().st_size for p in files if p.name not in beside)
    assert shop["tasks"] == ["clicked", "kind", "price", "tags"]
    assert shop["dataset"] == "qm9" and shop["title"] == "A shop"
    assert tiny == {
        "name": "tiny",
        "title": "Two tasks of two numbers",
        "dataset": "snips",
        "pretrained": False,
    }


def test_the_score_is_the_mean_over_seeds_of_tasks_of_one_metric(zoo_says, package):
    path = package / "shop" / "manifest.json"
    manifest = json.loads(path.read_text())
    metrics = {"a": {"auc": [0.5, 0.7]}, "b": {"auc": [0.9, 0.9]}, "c": {"mae": [2.0, 4.0]}}
    entry = {"parameters": 1, "seconds": [1, 1], "metrics": metrics}
    score = {"a": "auc max", "b": "auc max", "c": "mae min"}
    manifest["results"] = {"split": "test", "seeds": [0, 1], "score": score}
    manifest["results"]["runs"] = {"entry": entry}
    path.write_text(json.dumps(manifest))
    (shop,) = zoo_says("list", "shop", "--json").json["entries"]
    assert shop["score"] == {"auc": pytest.approx(0.75), "mae": pytest.approx(3.0)}
    assert "auc 0.75, mae 3" in zoo_says("list", "shop").out


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--pretrained"], ["shop"]),
        (["--recipes"], ["tiny"]),
        (["--task", "price"], ["shop"]),
        (["--task", "none"], []),
        (["--dataset", "qm9"], ["shop"]),
        (["*i*", "--dataset", "snips"], ["tiny"]),
    ],
)
def test_a_filter_leaves_entries_alone(zoo_says, package, arguments, expected):
    said = zoo_says("list", *arguments, "--json")
    assert names(said) == expected
    assert set(said.json) == {"entries"}


@pytest.mark.parametrize("pattern", ["stitch", "cross*", "?ross_stitch"])
def test_a_pattern_is_a_part_of_a_name_or_has_wildcards(zoo_says, package, pattern):
    said = zoo_says("list", pattern, "--json")
    assert [names(said, kind) for kind in said.json] == [[], ["cross_stitch"], []]


@pytest.mark.parametrize("pattern", ["ross*", "*stitc", "?itch", "[xyz]itch"])
def test_a_pattern_with_wildcards_is_of_the_whole_name(zoo_says, package, pattern):
    assert not any(zoo_says("list", pattern, "--json").json.values())


def test_the_table_has_a_line_an_entry(zoo_says, package):
    lines = [line.split() for line in zoo_says("list").out.splitlines()]
    size = decimal(zoo_says("list", "shop", "--json").json["entries"][0]["bytes"], precision=0)
    tasks = ["clicked,", "kind,", "price,", "tags"]
    assert ["shop", *tasks, "qm9", "0.00", "M", *size.split()] in lines
    assert ["tiny", "not", "trained", "yet", "snips"] in lines
    assert any(line[:1] == ["progressive_layered_extraction"] for line in lines)


def test_nothing_found_is_said(zoo_says, package):
    said = zoo_says("list", "nothing_is_called_so")
    assert (said.code, said.err) == (0, "")
    assert "Nothing in the zoo is so." in said.out
