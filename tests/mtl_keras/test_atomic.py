import pytest

from mtl_keras.atomic import atomic_output


def test_output_appears_whole(tmp_path):
    with atomic_output(tmp_path / "new" / "out") as folder:
        folder.mkdir()
        (folder / "a").write_text("a")
        assert not (tmp_path / "new" / "out").exists()
    assert [p.name for p in (tmp_path / "new").iterdir()] == ["out"]
    assert (tmp_path / "new" / "out" / "a").read_text() == "a"


def test_a_failure_leaves_nothing(tmp_path):
    with pytest.raises(RuntimeError), atomic_output(tmp_path / "a" / "b" / "out") as folder:
        folder.mkdir()
        (folder / "a").write_text("half")
        raise RuntimeError
    assert not list(tmp_path.iterdir())


def test_what_exists_is_not_overwritten(tmp_path):
    (tmp_path / "out").write_text("mine")
    with pytest.raises(FileExistsError, match="Received: path="), atomic_output(tmp_path / "out"):
        pass
    assert (tmp_path / "out").read_text() == "mine"


def test_an_empty_folder_may_be_filled(tmp_path):
    with atomic_output(tmp_path) as folder:
        folder.mkdir()
        (folder / "a").touch()
    assert (tmp_path / "a").exists()


def test_a_place_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").touch()
    with (
        pytest.raises(OSError, match=r"`path`.*Received: path=.*file"),
        atomic_output(tmp_path / "file" / "out"),
    ):
        pass
