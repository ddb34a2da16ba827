"""The pages' examples run as written, and the page of balancers knows every rule."""

import re
from pathlib import Path

import keras
import pytest

from mtl_keras import balancing

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
