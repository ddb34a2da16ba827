import shutil

import pytest

from zoo import registry


@pytest.fixture
def package(entry, tmp_path, monkeypatch):
    """The package has two entries with weights, and one without."""
    presets = tmp_path / "presets"
    for name in ("bad", "shop", "recipe"):
        shutil.copytree(entry, presets / name)
        (presets / name / "recipe.json").write_text("{}")
        # The card bears the name of the folder.
        (presets / name / "README.md").unlink()
    (presets / "recipe" / "manifest.json").unlink()
    monkeypatch.setattr(registry, "PRESETS", presets)
    return presets


def damage(folder):
    path = folder / "heads" / "price.weights.h5"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)


def test_a_whole_entry_is_verified(zoo_says, entry):
    said = zoo_says("verify", entry, "--json")
    assert said.code == 0 and said.json["verified"]
    (found,) = said.json["entries"]
    assert found["files"] == 6 and found["difference"] < 1e-5


def test_a_damaged_entry_is_one_line(mistake, package):
    damage(package / "bad")
    assert "price.weights.h5 must have" in mistake("verify", "bad")


def test_all_are_looked_at_and_the_damaged_one_is_named(zoo_says, package):
    damage(package / "bad")
    said = zoo_says("verify", "--all")
    assert said.code == 1
    assert [line.split()[:2] for line in said.out.splitlines() if "BAD" in line] == [["bad", "BAD"]]
    assert any(line.split()[:2] == ["shop", "6"] for line in said.out.splitlines())
    assert "bad: heads/price.weights.h5 must have" in said.out
    assert "As the manifests say: 1 of 2." in said.out


def test_all_whole_is_exit_code_0(zoo_says, package):
    said = zoo_says("verify", "--all", "--json")
    assert said.code == 0
    assert [found["name"] for found in said.json["entries"]] == ["bad", "shop"]


@pytest.mark.parametrize("arguments", [["verify"], ["verify", "shop", "--all"]])
def test_one_entry_or_all_must_be_named(zoo_says, arguments):
    with pytest.raises(SystemExit) as error:
        zoo_says(*arguments)
    assert error.value.code == 2
