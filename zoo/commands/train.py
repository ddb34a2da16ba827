"""`mtl-zoo train NAME`: the recipe of an entry, trained once, as an entry of one's own."""

from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from mtl_keras.atomic import check_new
from zoo.commands.evaluate import table_of_metrics
from zoo.commands.output import answer
from zoo.commands.training import recipe_of, trained_once
from zoo.datasets.info import info
from zoo.recipes.publish import scores, write_entry
from zoo.recipes.summary import Summary


def run(options: Any) -> None:
    """Trains, measures on the test split, and writes the folder of an entry.

    Raises:
        FileExistsError: when the output exists, before anything is trained.
    """
    output = options.output or f"./{Path(options.name).name}"
    _check_output(output)
    path, recipe = recipe_of(options.name, options.sample, options.epochs)
    # What the card needs must not turn out to be missing after the training.
    info(recipe.data["name"], recipe.data.get("variant"))
    title = f"{Path(options.name).name}, seed {options.seed}"
    model, run, data = trained_once(recipe, options.data_dir, options.seed, title)
    said = f"Trained on all {data.sizes['train']:,} rows of {data.name}."
    if data.source == "embedded":
        said = (
            f"Trained on the {data.sizes['train']:,} rows of the sample of {data.name} that is in "
            "the package, not on the full data."
        )
        recipe = replace(recipe, limits=(*recipe.limits, said))
    if data.source == "embedded" or options.epochs:
        # Figures of others are of full trainings.
        recipe = replace(recipe, published=())
    recipe = replace(recipe, weights_licence=recipe.weights_licence or "none stated")
    summary = Summary.of_runs({"entry": [run]}, scores(data))
    write_entry(output, model, recipe, path, data, summary, _command(options, recipe))
    answer(
        options,
        {"path": str(output), "data": {"name": data.name, "source": data.source}} | asdict(run),
        said,
        f"{title}, best of {recipe.epochs} epochs at most: {run.epoch}; on the test split:",
        table_of_metrics(run.metrics),
        f'Written to {output}: zoo.load("{_loadable(output)}") reads it.',
    )


def _check_output(output):
    try:
        check_new(output)
    except FileExistsError as error:
        raise FileExistsError(f"{error} (choose another folder with --output)") from error


def _command(options, recipe):
    sample = " --sample" if recipe.data["source"] == "embedded" else ""
    name = Path(options.name).name
    return f"mtl-zoo train {name} --seed {options.seed} --epochs {recipe.epochs}{sample}"


def _loadable(output):
    # A name without a slash would be one of the package.
    return output if "/" in output else f"./{output}"
