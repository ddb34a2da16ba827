"""The pages' examples run as written; the pages of balancers and builders know them all."""

import re
from pathlib import Path

import keras
import pytest

import zoo.builders
from mtl_keras import balancing, sharing

DOCS = Path(__file__).parents[1] / "docs"
EXAMPLES = [
    pytest.param(page.name, code, id=f"{page.stem}-{number}")
    for page in sorted(DOCS.glob("*.md"))
    for number, code in enumerate(re.findall(r"```python\n(.*?)```", page.read_text(), re.DOTALL))
]


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="for the default backend")
@pytest.mark.parametrize(("page", "code"), EXAMPLES)
def test_example(page, code, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    exec(compile(code, page, "exec"), {})


@pytest.mark.parametrize("info", balancing.available(), ids=lambda info: info.name)
def test_page_of_balancers_has_the_rule(info):
    row = f"| `{info.name}` | {info.family} | {info.source} |"
    assert row in (DOCS / "balancing.md").read_text().splitlines()


def test_page_of_balancers_has_no_other_rule():
    page = (DOCS / "balancing.md").read_text()
    listed = re.findall(r"^\| `(\w+)` \| (?:loss|gramian|jacobian) \| \D.*\|$", page, re.MULTILINE)
    assert sorted(listed) == sorted(info.name for info in balancing.available())


def test_page_of_builders_has_them_all():
    page = (DOCS / "builders.md").read_text()
    listed = re.findall(r"^\| `(\w+)` \| ", page, re.MULTILINE)
    penalties = [name for name in listed if name[0].isupper()]
    builders = [name for name in listed if name[0].islower()]
    assert sorted(builders) == sorted(set(zoo.builders.__all__) - {"ModelOptions"})
    assert sorted([*penalties, "Sharing", "corresponding_weights"]) == sorted(sharing.__all__)
