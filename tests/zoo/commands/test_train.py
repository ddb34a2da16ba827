import json

import pytest

import zoo
from zoo.entries.manifest import read_manifest


@pytest.fixture
def train(zoo_says, recipe, tiny_data, tmp_path):
    """Trains to a new folder; gives what was said, and the folder."""

    def run(*options, output="new"):
        folder = tmp_path / output
        return zoo_says("train", recipe, "--output", folder, *options), folder

    return run


def test_what_is_written_is_an_entry_of_the_trained_model(train):
    said, folder = train("--json")
    assert said.code == 0, said.err
    assert [task.name for task in zoo.load(folder).tasks] == ["first", "both"]
    results = read_manifest(folder)["results"]
    assert results["seeds"] == [0] and results["split"] == "test"
    for task, metrics in said.json["metrics"].items():
        for metric, value in metrics.items():
            assert results["runs"]["entry"]["metrics"][task][metric] == [value]


def test_the_entry_says_how_it_was_trained(train):
    _, folder = train("--seed", 3, "--epochs", 1)
    manifest, recipe = read_manifest(folder), json.loads((folder / "recipe.json").read_text())
    assert manifest["results"]["seeds"] == [3]
    assert manifest["dataset"]["sizes"] == {"train": 96, "validation": 40, "test": 48}
    assert manifest["training"]["command"] == "mtl-zoo train tiny --seed 3 --epochs 1"
    assert recipe["epochs"] == 1
    assert recipe["model"] == {"builder": "shared_trunk", "arguments": {"trunk": [4]}}
    # Figures of others stand beside full trainings alone.
    assert recipe["published"] and not manifest["published"]


def test_a_full_training_stands_beside_published_figures(trained):
    assert [other["source"] for other in read_manifest(trained)["published"]] == ["Somebody"]


def test_the_full_data_are_taken_also_where_there_is_a_sample(train, tiny_data, tmp_path):
    train("--data-dir", tmp_path / "data", "--seed", 2)
    assert tiny_data == [{"source": "tfds", "data_dir": str(tmp_path / "data"), "seed": 2}]


def test_the_sample_is_taken_when_asked_for_and_named(train, tiny_data):
    said, folder = train("--sample")
    assert tiny_data[0]["source"] == "embedded"
    sentence = "Trained on the 96 rows of the sample of snips that is in the package"
    assert sentence in said.out
    assert sentence in (folder / "README.md").read_text()


@pytest.mark.slow
def test_an_entry_of_the_sample_is_trained_on_it_again(train, zoo_says, tiny_data, tmp_path):
    _, folder = train("--sample")
    assert zoo_says("train", folder, "--output", tmp_path / "again").code == 0
    assert [asked["source"] for asked in tiny_data] == ["embedded", "embedded"]


@pytest.mark.slow
def test_a_seed_repeats_the_training_and_another_does_not(train):
    metrics = [
        train("--json", "--seed", seed, output=f"run {i}")[0].json["metrics"]
        for i, seed in enumerate([1, 1, 2])
    ]
    assert metrics[0] == metrics[1] != metrics[2]


def test_the_metrics_and_the_place_are_shown(train):
    said, folder = train()
    metrics = read_manifest(folder)["results"]["runs"]["entry"]["metrics"]
    (line,) = (line for line in said.out.splitlines() if line.split()[:1] == ["both"])
    assert f"{metrics['both']['auc'][0]:.4f}" in line.split()
    assert f'zoo.load("{folder}")' in said.out


def test_the_progress_is_on_standard_error(train):
    said, _ = train("--json")
    assert "tiny, seed 0, epoch 2: validation score" in said.err
    assert "Downloading" in said.err


def test_the_default_output_is_named_after_the_recipe(recipe, zoo_says, tiny_data, monkeypatch):
    place = recipe.parent.parent / "place"
    place.mkdir()
    monkeypatch.chdir(place)
    said = zoo_says("train", recipe)
    assert said.code == 0
    assert 'zoo.load("./tiny")' in said.out
    assert [path.name for path in place.iterdir()] == ["tiny"]
    assert zoo.load("./tiny").compiled


def test_an_output_without_a_slash_is_named_as_load_takes_it(train, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    said, folder = train("--output", "mine", "--epochs", 1)
    assert 'zoo.load("./mine")' in said.out
    assert (tmp_path / "mine").is_dir() and not folder.exists()


def test_data_of_which_nothing_is_known_are_refused_before_training(
    recipe, mistake, tiny_data, no_training, monkeypatch, tmp_path
):
    def info(*arguments):
        raise ValueError("nothing is known")

    monkeypatch.setattr("zoo.commands.train.info", info)
    message = mistake("train", recipe, "--output", tmp_path / "new")
    assert "nothing is known" in message and tiny_data == []


def test_an_existing_output_is_refused_before_training(recipe, mistake, tiny_data, no_training):
    (recipe.parent / "old").write_text("kept")
    message = mistake("train", recipe, "--output", recipe.parent / "old")
    assert "--output" in message and "Received: path=" in message
    assert tiny_data == []


def test_a_folder_without_a_recipe_is_refused(mistake, entry, tiny_data, tmp_path):
    message = mistake("train", entry, "--output", tmp_path / "new")
    assert f"must have a recipe.json, which says how it is trained. Received: '{entry}'" in message


def test_data_without_a_sample_are_refused_in_a_sentence(recipe, mistake, tmp_path):
    content = json.loads((recipe / "recipe.json").read_text())
    content["data"] = {"name": "fdu_mtl"}
    (recipe / "recipe.json").write_text(json.dumps(content))
    message = mistake("train", recipe, "--sample", "--output", tmp_path / "new")
    assert "'fdu_mtl' has no sample" in message
    assert not (tmp_path / "new").exists()


def test_a_training_that_fails_leaves_nothing(recipe, zoo_says, tiny_data, monkeypatch, tmp_path):
    def fit(*arguments, **options):
        raise ValueError("Task 'first': the loss must be finite.")

    monkeypatch.setattr("mtl_keras.MultiTaskModel.fit", fit)
    place = tmp_path / "place"
    place.mkdir()
    said = zoo_says("train", recipe, "--output", place / "new")
    assert (said.code, said.out) == (1, "")
    expected = "mtl-zoo: error: Task 'first': the loss must be finite."
    assert said.err.splitlines()[-1] == expected
    assert list(place.iterdir()) == []
