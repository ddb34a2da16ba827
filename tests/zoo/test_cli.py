"""The command line: exit codes, one readable line for a mistake, nothing half-written.

What each command does is tested in `commands/`.
"""

import importlib
import json
import os
import subprocess
import sys
import warnings
from importlib.metadata import entry_points
from types import SimpleNamespace

import keras
import pytest

from zoo import builders, cli, datasets, quickstart
from zoo.registry import list_models, manifest_of

BACKEND = keras.backend.backend()


def python(*arguments, cwd):
    """A new Python that finds our packages as this one does, started elsewhere."""
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=cwd,
        env=os.environ | {"COLUMNS": "80"},
        capture_output=True,
        text=True,
        check=False,
    )


def usage_error(arguments, capsys):
    with pytest.raises(SystemExit) as error:
        cli.main(arguments)
    assert error.value.code == 2
    return capsys.readouterr().err


@pytest.fixture
def no_training(monkeypatch):
    def train(*arguments):
        raise AssertionError("trained although the output cannot be written")

    monkeypatch.setattr(quickstart, "_train_all", train)


def stopped_by(error, monkeypatch):
    def train(*arguments):
        raise error

    monkeypatch.setattr(quickstart, "_train_all", train)


# -- start


COMMANDS = {
    "list": [],
    "info": ["NAME"],
    "predict": ["NAME", "[INPUT]"],
    "evaluate": ["--data-dir", "--sample", "--split", "NAME"],
    "train": ["--data-dir", "--epochs", "--output", "--sample", "--seed", "NAME"],
    "reproduce": ["--data-dir", "--epochs", "--seed", "NAME"],
    "export": ["NAME", "PATH"],
    "serve": ["--host", "--port", "--max-rows", "--max-batch-rows", "--timeout", "NAME"],
    "verify": ["--all", "NAME"],
    "prefetch": ["--revision", "ADDRESS"],
    "quickstart": ["--epochs", "--output", "--seed"],
}


def without_a_backend(*arguments, cwd):
    """What a command prints, in a process in which no backend was imported after all."""
    script = (
        "import sys\n"
        "from zoo.cli import main\n"
        f"try: main({[*arguments]})\n"
        "finally: print(*{'keras', 'tensorflow', 'jax', 'torch'} & set(sys.modules), 'loaded')\n"
    )
    process = python("-c", script, cwd=cwd)
    assert process.returncode == 0, process.stderr
    *said, last = process.stdout.splitlines()
    assert last.split() == ["loaded"]
    return "\n".join(said)


def test_help_names_the_commands_without_loading_a_backend(tmp_path):
    said = without_a_backend("--help", cwd=tmp_path)
    assert said.startswith("usage: mtl-zoo ")
    assert set(COMMANDS) <= set(said.split())


@pytest.mark.parametrize("command", COMMANDS)
def test_help_of_a_command_has_its_arguments(command, capsys):
    with pytest.raises(SystemExit) as stop:
        cli.main([command, "--help"])
    assert stop.value.code == 0
    said = capsys.readouterr().out
    assert said.startswith(f"usage: mtl-zoo {command} ")
    words = set(said.replace("|", " ").replace("(", " ").replace(")", " ").split())
    words |= {word.strip("[],") for word in words}
    assert {*COMMANDS[command], "--json"} <= words


def test_help_of_a_command_does_not_load_a_backend(tmp_path):
    assert "INPUT" in without_a_backend("predict", "--help", cwd=tmp_path)


def test_every_command_has_a_file():
    for command in COMMANDS:
        assert callable(importlib.import_module(f"zoo.commands.{command}").run)


def test_the_module_and_the_script_are_one():
    scripts = entry_points(group="console_scripts", name="mtl-zoo")
    if not scripts:
        pytest.skip("mtl-zoo is not installed")
    assert next(iter(scripts)).load() is cli.main


def test_list_does_not_load_a_backend(tmp_path):
    listed = set(without_a_backend("list", cwd=tmp_path).split())
    assert {*builders.__all__, *datasets.list()} - {"ModelOptions"} <= listed
    assert "ModelOptions" not in listed


def test_list_has_every_entry(capsys):
    assert cli.main(["list", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)["entries"]
    assert [entry["name"] for entry in found] == list_models()
    pretrained = [entry["name"] for entry in found if entry["pretrained"]]
    assert pretrained == list_models(pretrained=True)


@pytest.fixture(scope="module")
def listing(tmp_path_factory):
    return python("-m", "zoo", "list", cwd=tmp_path_factory.mktemp("listing"))


def test_a_command_is_silent_on_standard_error(listing):
    assert (listing.returncode, listing.stderr) == (0, "")


def test_the_smallest_entry_answers(capsys):
    sizes = {name: manifest_of(name)["files"] for name in list_models(pretrained=True)}
    if not sizes:
        pytest.skip("there is no pretrained entry yet")
    smallest = min(sizes, key=lambda name: sum(file["bytes"] for file in sizes[name].values()))
    assert cli.main(["predict", smallest, "--json"]) == 0
    outputs = json.loads(capsys.readouterr().out)["outputs"]
    assert set(outputs) == {task["name"] for task in manifest_of(smallest)["tasks"]}


def test_the_search_for_accelerators_is_silent(tmp_path):
    script = (
        "import sys, types\n"
        "from zoo import cli\n"
        "def run(options):\n"
        "    import keras\n"
        "    print(float(keras.ops.sum(keras.ops.ones(3))))\n"
        "sys.modules['zoo.commands.info'] = types.SimpleNamespace(run=run)\n"
        "sys.exit(cli.main(['info', 'any']))\n"
    )
    process = python("-c", script, cwd=tmp_path)
    assert (process.returncode, process.stdout, process.stderr) == (0, "3.0\n", "")


@pytest.mark.parametrize(("options", "shown"), [([], False), (["--debug"], True)])
def test_warnings_of_libraries_are_shown_for_debugging_only(options, shown, monkeypatch, recwarn):
    command = SimpleNamespace(run=lambda options: warnings.warn("of Keras", stacklevel=2))
    monkeypatch.setitem(sys.modules, "zoo.commands.info", command)
    assert cli.main([*options, "info", "any"]) == 0
    assert ("of Keras" in [str(warning.message) for warning in recwarn]) == shown


def test_a_failing_start_shows_its_messages(capfd, monkeypatch):
    def fail(name, *arguments, original=__import__, **options):
        if name == "keras":
            os.write(2, b"why it failed\n")
            raise ImportError("no Keras")
        return original(name, *arguments, **options)

    monkeypatch.setattr("builtins.__import__", fail)
    assert cli.main(["info", "any"]) == 1
    assert capfd.readouterr().err == "why it failed\nmtl-zoo: error: no Keras\n"


# -- wrong usage: exit code 2


def test_an_unknown_command_is_wrong_usage(capsys):
    message = usage_error(["drain"], capsys)
    assert "'drain'" in message and "quickstart" in message


def test_no_command_is_wrong_usage(capsys):
    assert "COMMAND" in usage_error([], capsys)


@pytest.mark.parametrize(
    "arguments",
    [
        ["info"],
        ["predict"],
        ["predict", "name", "input", "more"],
        ["evaluate", "name", "--split", "all"],
        ["export", "name"],
        ["serve"],
        ["verify"],
        ["list", "--pretrained", "--recipes"],
        ["prefetch"],
    ],
)
def test_missing_further_and_contrary_arguments_are_wrong_usage(arguments, capsys):
    assert usage_error(arguments, capsys).startswith("usage: mtl-zoo ")


@pytest.mark.parametrize("command", [["quickstart"], ["train", "any"], ["reproduce", "any"]])
@pytest.mark.parametrize("value", ["0", "-1", "1.5", "many", ""])
def test_epochs_must_be_a_positive_integer(command, value, capsys):
    message = usage_error([*command, f"--epochs={value}"], capsys)
    assert f"--epochs: must be an integer, 1 or more. Received: {value}" in message


@pytest.mark.parametrize("command", [["quickstart"], ["train", "any"], ["reproduce", "any"]])
@pytest.mark.parametrize("value", ["-1", "1.5", "random"])
def test_seed_must_be_an_integer_not_negative(command, value, capsys):
    message = usage_error([*command, f"--seed={value}"], capsys)
    assert f"--seed: must be an integer, 0 or more. Received: {value}" in message


# -- an output that cannot be written: exit code 1


def assert_one_line(text, path):
    assert text.startswith("mtl-zoo: error: ")
    assert text.count("\n") == 1 and text.endswith("\n")
    assert f"Received: path='{path}'" in text


def test_an_existing_output_is_refused_before_training(tmp_path, capsys, no_training):
    (tmp_path / "old").mkdir()
    (tmp_path / "old" / "kept.txt").write_text("kept")
    assert cli.main(["quickstart", "--output", str(tmp_path / "old")]) == 1
    assert_one_line(capsys.readouterr().err, tmp_path / "old")
    assert [p.name for p in tmp_path.rglob("*")] == ["old", "kept.txt"]


def test_an_existing_file_as_output_is_refused(tmp_path, capsys, no_training):
    (tmp_path / "file").write_text("kept")
    assert cli.main(["quickstart", "--output", str(tmp_path / "file")]) == 1
    assert_one_line(capsys.readouterr().err, tmp_path / "file")
    assert (tmp_path / "file").read_text() == "kept"


def test_an_output_that_cannot_be_written_is_refused_before_training(tmp_path, capsys, no_training):
    (tmp_path / "file").write_text("kept")
    assert cli.main(["quickstart", "--output", str(tmp_path / "file" / "new")]) == 1
    assert_one_line(capsys.readouterr().err, tmp_path / "file" / "new")


def test_a_mistake_is_one_line_in_a_new_process(tmp_path):
    (tmp_path / "old").write_text("kept")
    process = python("-m", "zoo", "quickstart", "--output", "old", cwd=tmp_path)
    assert (process.returncode, process.stdout) == (1, "")
    assert_one_line(process.stderr, "old")


def test_debug_lets_the_traceback_through(tmp_path, no_training):
    (tmp_path / "old").write_text("kept")
    with pytest.raises(FileExistsError, match="Received: path="):
        cli.main(["--debug", "quickstart", "--output", str(tmp_path / "old")])


# -- stopped on the way


def test_an_interrupted_run_leaves_nothing(tmp_path, capsys, monkeypatch):
    stopped_by(KeyboardInterrupt(), monkeypatch)
    assert cli.main(["quickstart", "--output", str(tmp_path / "new")]) == 130
    assert list(tmp_path.iterdir()) == []
    assert capsys.readouterr().err == "interrupted; nothing half-written is left\n"


def test_a_failed_run_leaves_nothing(tmp_path, capsys, monkeypatch):
    stopped_by(ValueError("Task 'income': the loss must be finite."), monkeypatch)
    assert cli.main(["quickstart", "--output", str(tmp_path / "new")]) == 1
    assert list(tmp_path.iterdir()) == []
    expected = "mtl-zoo: error: Task 'income': the loss must be finite.\n"
    assert capsys.readouterr().err == expected


def test_a_mistake_of_ours_is_not_hidden(tmp_path, monkeypatch):
    stopped_by(KeyError("lost"), monkeypatch)
    with pytest.raises(KeyError, match="lost"):
        cli.main(["quickstart", "--output", str(tmp_path / "new")])
    assert list(tmp_path.iterdir()) == []


def test_another_backend_is_refused_in_one_line(tmp_path, capsys):
    if BACKEND == "tensorflow":
        pytest.skip("the quickstart runs on the TensorFlow backend")
    assert cli.main(["quickstart", "--output", str(tmp_path / "new")]) == 1
    error = capsys.readouterr().err
    assert error.startswith("mtl-zoo: error: Feature ") and error.count("\n") == 1
    assert f"Received: backend '{BACKEND}'" in error
    assert list(tmp_path.iterdir()) == []


def test_list_needs_no_extra(monkeypatch, capsys):
    # As where only `pip install .` was run.
    monkeypatch.setitem(sys.modules, "tensorflow_datasets", None)
    monkeypatch.delitem(sys.modules, "zoo.datasets.census_income.census_income", raising=False)
    assert cli.main(["list"]) == 0
    assert "census_income" in capsys.readouterr().out
