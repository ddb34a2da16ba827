import pytest

from zoo.serving.saved_model_folder import saved_model_folder


@pytest.fixture
def models(tmp_path):
    """Versions 2 and 10 of a model, an unfinished 11, and what is no version."""
    for name in ("2", "10", "old", "²"):
        (tmp_path / "shop" / name).mkdir(parents=True)
        (tmp_path / "shop" / name / "saved_model.pb").touch()
    (tmp_path / "shop" / "11").mkdir()
    return tmp_path / "shop"


def test_of_versions_it_is_the_highest(models):
    assert saved_model_folder(models) == (models / "10", "shop", 10)


def test_a_version_is_named_after_its_folder(models):
    assert saved_model_folder(models / "2") == (models / "2", "shop", 2)
    assert saved_model_folder(f"{models}/2/") == (models / "2", "shop", 2)


def test_another_saved_model_is_version_1(models):
    assert saved_model_folder(models / "old") == (models / "old", "old", 1)


def test_here_has_a_name_too(models, monkeypatch):
    monkeypatch.chdir(models)
    assert saved_model_folder(".") == (models / "10", "shop", 10)


def test_else_there_is_none(models, tmp_path):
    for path in (models / "11", tmp_path / "no", models / "2" / "saved_model.pb", tmp_path):
        assert saved_model_folder(path) is None
