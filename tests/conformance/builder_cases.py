"""A small model of every builder, for any number of tasks, with data for it."""

import functools

import numpy as np

import mtl_keras as mtl
import zoo
from conformance.model_suite import ModelCase

ROWS = 48
WIDTH = 6


def mixed_tasks(count):
    """One, two or five tasks of mixed kinds."""
    tasks = [
        mtl.BinaryTask("clicked"),
        mtl.RegressionTask("price", 2, weight=0.5),
        mtl.CategoricalTask("shop", 3, class_weight={0: 2.0}),
        mtl.MultiLabelTask("tags", 4),
        mtl.BinaryTask("returned"),
    ]
    return tasks[:count]


def labels_of(task, x):
    """Labels that a linear map of the inputs (rows, width) explains."""
    rng = np.random.default_rng(1)
    signal = x @ rng.normal(size=(x.shape[-1], task.units))
    if task.labels.kind == "class":
        return signal.argmax(axis=-1)
    if task.labels.kind == "probability":
        return (signal > 0).astype("float32")
    return signal.astype("float32")


def numeric_case(builder, count, **options):
    """Tasks of mixed kinds over a few numbers a row."""
    tasks = mixed_tasks(count)
    x = np.random.default_rng(0).normal(size=(ROWS, WIDTH)).astype("float32")
    y = {task.name: labels_of(task, x) for task in tasks}
    return ModelCase(functools.partial(builder, tasks, WIDTH, **options), x, y)


def funnel_case(count):
    """A funnel of two binary tasks, and others beside it."""
    clicked, *others, returned = mixed_tasks(5)
    tasks = [clicked, returned, *others][:count]
    funnel = [task.name for task in tasks[:2]]
    x = np.random.default_rng(0).normal(size=(ROWS, WIDTH)).astype("float32")
    y = {task.name: labels_of(task, x) for task in tasks}
    if count > 1:
        y["clicked_and_returned"] = y["clicked"] * y["returned"]
    build = functools.partial(zoo.entire_space, tasks, WIDTH, trunk=[8], towers=[4], funnel=funnel)
    return ModelCase(build, x, y)


def bias_case(count):
    """Rows with a place, which is unknown in some."""
    case = numeric_case(zoo.multi_gate_mixture_of_experts, count)
    place = np.arange(ROWS, dtype="int64") % 4 - 1
    inputs = {"x": zoo.features.Numeric(0.0, 1.0, (WIDTH,))}
    inputs["place"] = zoo.features.Categorical(num_categories=3)
    # Keras saves no state of what draws random numbers: a loaded model would hide other rows.
    options = {"bias_dropout": 0.0, **EXPERTS}
    build = functools.partial(
        zoo.ranking_with_bias_tower, mixed_tasks(count), inputs, ["place"], **options
    )
    return ModelCase(build, {"x": case.x, "place": place}, case.y)


def text_case(builder, count, **options):
    """Token tasks and sentence tasks over token ids."""
    tasks = [
        mtl.TokenTask("tag", 5),
        mtl.BinaryTask("sentiment"),
        mtl.TokenTask("chunk", 3, class_weight={0: 2.0}),
        mtl.CategoricalTask("intent", 3),
        mtl.RegressionTask("stars", 2, weight=0.5),
    ][:count]
    ids = np.random.default_rng(0).integers(1, 20, (ROWS, 7))
    y = {
        task.name: ids % task.units if task.per_position else labels_of(task, ids / 10 - 1)
        for task in tasks
    }
    return ModelCase(functools.partial(builder, tasks, 7, 20, **options), ids, y)


def image_case(builder, count, **options):
    """Pixel tasks and a task a row over small images."""
    tasks = [
        mtl.CategoricalTask("segmentation", 3, positions=2, class_weight={0: 2.0}),
        mtl.RegressionTask("depth", positions=2, weight=0.5),
        mtl.BinaryTask("indoors"),
        mtl.DirectionTask("normals", positions=2),
        mtl.BinaryTask("edges", positions=2),
    ][:count]
    x = np.random.default_rng(0).normal(size=(ROWS, 4, 4, 2)).astype("float32")
    y = {
        task.name: labels_of(task, x if task.per_position else x.mean(axis=(1, 2)))
        for task in tasks
    }
    return ModelCase(functools.partial(builder, tasks, (4, 4, 2), **options), x, y)


def molecule_case(count):
    """Molecules of up to five atoms."""
    tasks, rng = mixed_tasks(count), np.random.default_rng(0)
    numbers = rng.integers(1, 10, (ROWS, 5)) * (np.arange(5) < rng.integers(1, 6, (ROWS, 1)))
    positions = rng.normal(size=(ROWS, 5, 3)).astype("float32")
    y = {task.name: labels_of(task, numbers / 5.0 - 1) for task in tasks}
    options = {"units": 8, "num_layers": 1, "num_basis": 4, "max_number": 9, "share": 0.6}
    build = functools.partial(zoo.joint_molecule, tasks, 5, **options)
    return ModelCase(build, {"numbers": numbers, "positions": positions}, y)


EXPERTS = {"experts": 2, "expert_units": [8], "towers": [4]}

# By builder, what makes its case for a number of tasks.
BUILDER_CASES = {
    "adatt": functools.partial(numeric_case, zoo.adatt, **EXPERTS, num_shared=1),
    "cross_stitch": functools.partial(numeric_case, zoo.cross_stitch, towers=[8, 8]),
    "dense_prediction": functools.partial(
        image_case, zoo.dense_prediction, encoder=[4, 6], share=0.6
    ),
    "entire_space": funnel_case,
    "joint_molecule": molecule_case,
    "joint_text": functools.partial(
        text_case, zoo.joint_text, embedding=8, units=8, share=0.5, pooling="attention"
    ),
    "mixture_of_experts": functools.partial(numeric_case, zoo.mixture_of_experts, **EXPERTS),
    "multi_gate_mixture_of_experts": functools.partial(
        numeric_case, zoo.multi_gate_mixture_of_experts, **EXPERTS, trunk=[6]
    ),
    "nddr": functools.partial(numeric_case, zoo.nddr, towers=[8]),
    "progressive_layered_extraction": functools.partial(
        numeric_case, zoo.progressive_layered_extraction, **EXPERTS, num_shared=1
    ),
    "ranking_with_bias_tower": bias_case,
    "shared_private": functools.partial(numeric_case, zoo.shared_private, trunk=[8]),
    "shared_trunk": functools.partial(numeric_case, zoo.shared_trunk, trunk=[8, 8], share=0.5),
    "single_task": functools.partial(numeric_case, zoo.single_task, trunk=[8]),
    "sluice": functools.partial(numeric_case, zoo.sluice, towers=[8, 8]),
    "soft_sharing": functools.partial(numeric_case, zoo.soft_sharing, towers=[8]),
    "task_attention": functools.partial(numeric_case, zoo.task_attention, trunk=[8, 8]),
    "task_conditioned": functools.partial(numeric_case, zoo.task_conditioned, trunk=[8, 8]),
}
