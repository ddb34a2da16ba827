import pytest

from mtl_keras.atomic import atomic_output, atomic_replacement


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


def test_a_replacement_is_whole_or_none(tmp_path):
    path = tmp_path / "out"
    path.write_text("old")
    with pytest.raises(RuntimeError), atomic_replacement(path) as temporary:
        temporary.write_text("ne")
        raise RuntimeError
    assert path.read_text() == "old"
    with atomic_replacement(path) as temporary:
        temporary.write_text("new")
        assert path.read_text() == "old"
    assert path.read_text() == "new"
    assert list(tmp_path.iterdir()) == [path]


def test_what_a_killed_process_left_is_overwritten(tmp_path):
    (tmp_path / ".partial-out").write_text("half of what a killed process wrote")
    with atomic_replacement(tmp_path / "out") as temporary:
        temporary.write_text("new")
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [("out", "new")]


def test_a_link_stays_a_link(tmp_path):
    (tmp_path / "link").symlink_to(tmp_path / "file")
    with atomic_replacement(tmp_path / "link") as temporary:
        temporary.write_text("new")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "file").read_text() == "new"


def test_a_folder_is_no_file_to_replace(tmp_path):
    with (
        pytest.raises(IsADirectoryError, match=r"could not be written: Is a directory\. Received"),
        atomic_replacement(tmp_path),
    ):
        pass


def test_a_file_that_cannot_be_written_is_named(tmp_path):
    with (
        pytest.raises(FileNotFoundError, match=r"could not be written.*Received: filepath=.*none"),
        atomic_replacement(tmp_path / "none" / "out"),
    ):
        pass
