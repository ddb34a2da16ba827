import gzip

import numpy as np
import pytest

from zoo.datasets.census_income import draw_sample, sample, source
from zoo.datasets.census_income.columns import make_labels, make_strata, parse

SMALL = {"train": 12, "validation": 5, "test": 4}


@pytest.fixture
def source_folder(dummy_archive, tmp_path, unpack_beside):
    """The dummy files as `--data-dir` wants them."""
    folder = tmp_path / "source"
    folder.mkdir()
    (folder / dummy_archive.name).write_bytes(dummy_archive.read_bytes())
    for path in source.find(folder, unpack_beside).values():
        (folder / path.name).write_bytes(path.read_bytes())
    return folder


def random_strata(rows, seed):
    return np.random.default_rng(seed).choice(4, rows, p=[0.5, 0.4, 0.07, 0.03])


def test_drawn_rows_are_disjoint_and_keep_the_strata_within_one_row():
    strata = {"train": random_strata(5000, 0), "test": random_strata(3000, 1)}
    sizes = {"train": 700, "validation": 300, "test": 301}
    rows = draw_sample.draw_rows(strata, 0, sizes)
    assert not set(rows["validation"]) & set(rows["test"])
    for split, drawn in rows.items():
        assert len(set(drawn)) == sizes[split]
        labels = strata["train" if split == "train" else "test"]
        wanted = np.bincount(labels, minlength=4) / len(labels) * sizes[split]
        assert np.abs(np.bincount(labels[drawn], minlength=4) - wanted).max() < 1.1


def test_another_seed_draws_other_rows():
    rows, strata = np.arange(500), random_strata(500, 0)
    draws = [draw_sample.draw(rows, strata, 50, seed, "train").tolist() for seed in (0, 0, 1)]
    assert draws[0] == draws[1] != draws[2]


def test_too_large_a_sample_is_refused():
    with pytest.raises(ValueError, match=r"at most 3\. Received: size=4"):
        draw_sample.allocate(np.array([1, 2]), 4)


def test_the_command_draws_rows_of_the_source(source_folder, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(draw_sample.make_sample, "__defaults__", (SMALL,))
    output = tmp_path / "out" / "sample.csv.bz2"
    command = ["--data-dir", str(source_folder), "--output", str(output)]
    assert draw_sample.main(command) == 0
    splits = sample.unpack(output.read_bytes())
    assert {split: len(columns["age"]) for split, columns in splits.items()} == SMALL
    original = parse(
        gzip.decompress((source_folder / "census-income.test.gz").read_bytes()).decode()
    )
    drawn = zip(*splits["test"].values(), strict=True)
    assert set(drawn) <= set(zip(*original.values(), strict=True))
    assert [path.name for path in output.parent.iterdir()] == [output.name]  # Nothing partial.

    before = output.read_bytes()
    assert draw_sample.main(command) == 1
    assert "--force" in capsys.readouterr().err
    assert draw_sample.main([*command, "--force", "--seed", "1"]) == 0
    assert output.read_bytes() != before


def test_missing_files_are_named(tmp_path, capsys):
    command = ["--data-dir", str(tmp_path / "absent"), "--output", str(tmp_path / "new")]
    assert draw_sample.main(command) == 1
    assert "census-income.data and census-income.test" in capsys.readouterr().err
    assert not (tmp_path / "new").exists()


def test_the_shipped_sample_is_reproduced_bit_for_bit(real_data):
    packed = draw_sample.make_sample(real_data, seed=0)
    shipped = draw_sample.Path(draw_sample.__file__).parent / sample.FILE_NAME
    assert packed == shipped.read_bytes()


def test_the_shipped_sample_keeps_the_strata_of_the_source(real_data):
    for split, columns in sample.read_columns().items():
        file = source.FILES["train" if split == "train" else "test"]
        whole = parse(file.read(real_data / f"{file.name}.gz").decode("ascii"))
        counts = [
            np.bincount(make_strata(make_labels(part)), minlength=4) for part in (columns, whole)
        ]
        wanted = counts[1] / counts[1].sum() * counts[0].sum()
        assert np.abs(counts[0] - wanted).max() <= 1
