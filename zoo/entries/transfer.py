"""A pretrained model for other tasks: everything but the heads is kept."""

from collections.abc import Mapping, Sequence
from typing import Any

from mtl_keras import MultiTaskModel, Task
from mtl_keras.change import new_head
from mtl_keras.tasks import checked_tasks


def with_tasks(
    model: MultiTaskModel,
    tasks: Sequence[Task],
    like: str | Mapping[str, str] | None = None,
    optimizer: Any = "adam",
) -> MultiTaskModel:
    """A compiled model with new heads on what the heads of `model` read.

    All layers but the heads are the same objects: training the new model changes the old one.
    Where tasks have parts of their own before the heads (gates, towers), a new task continues
    those of one of the model's tasks.

    Args:
        model: a model whose heads are layers named after its tasks.
        tasks: the new tasks; their heads start fresh.
        like: whose part new tasks continue: the name of one of the model's tasks, or a dict from
            new task to one; default its first task.
        optimizer: Keras optimizer.

    Raises:
        ValueError: for tasks of equal names or with a name that a layer has, an unknown task in
            `like`, and a task that labels positions where the other's head reads none, or the
            other way round.

    Example:

    >>> import mtl_keras as mtl
    >>> old = zoo.shared_trunk([mtl.BinaryTask("clicked")], 4, trunk=[8])
    >>> new = with_tasks(old, [mtl.RegressionTask("price"), mtl.BinaryTask("bought")])
    >>> [task.name for task in new.tasks]
    ['price', 'bought']
    """
    tasks = checked_tasks(tasks)
    donors = _donors(model, tasks, like)
    old = [task.name for task in model.tasks]
    outputs = {
        task.name: new_head(model, task, None, donors[task.name], dropped=old) for task in tasks
    }
    # Keras takes a structure of inputs as it was given; one tensor comes in a list.
    new = MultiTaskModel(model._inputs_struct, outputs, tasks=tasks, name=model.name)
    new.compile(optimizer=optimizer)
    return new


def _donors(model, tasks, like):
    names = [task.name for task in model.tasks]
    given = like if isinstance(like, Mapping) else {}
    default = names[0] if like is None or isinstance(like, Mapping) else like
    donors = {task.name: given.get(task.name, default) for task in tasks}
    unknown = sorted(({*donors.values()} - {*names}) | ({*given} - {*donors}))
    if unknown:
        raise ValueError(
            f"`like` must say which of the tasks {names} a new one is like. Received: like={like!r}"
        )
    return donors
