"""The README's examples run as written."""

import re
from pathlib import Path

import keras
import pytest

README = (Path(__file__).parents[1] / "README.md").read_text()
EXAMPLES = re.findall(r"```python\n(.*?)```", README, flags=re.DOTALL)

if keras.backend.backend() != "tensorflow":
    pytest.skip("examples are written for the default backend", allow_module_level=True)


@pytest.mark.parametrize("code", EXAMPLES, ids=range(len(EXAMPLES)))
def test_example(code, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    exec(compile(code, "README.md", "exec"), {})


def test_there_are_examples():
    assert len(EXAMPLES) == 5
