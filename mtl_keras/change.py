"""A trained model with other tasks, or with parts that train no more.

Models are graphs that do not change: a model with other tasks is a new one, on the same layers.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import keras

from mtl_keras.batches import by_task
from mtl_keras.merge import Merger, rule
from mtl_keras.metrics import TaskScore
from mtl_keras.sharing.towers import tower_names
from mtl_keras.tasks import Task, checked_task_names


class Changeable:
    """What a `MultiTaskModel` can become: one with other tasks, or with frozen parts."""

    def subset(self, tasks: Sequence[str], **changes: Any) -> keras.Model:
        """A model of some of the tasks, on the same layers: training it trains those.

        It is compiled as this one is, and its optimizer goes on from this one's state; a balancer
        and penalties start anew. So it is with `add_task` and `remove_task`.

        Args:
            tasks: names of the tasks that stay, in the new order.
            changes: arguments of `compile` that shall be others.

        Raises:
            ValueError: for no task, or one that the model does not have.
        """
        known = {task.name: task for task in self.tasks}
        names = checked_task_names(tasks, list(known))
        outputs = {name: self.output[name] for name in names}
        return with_outputs(self, outputs, [known[name] for name in names], changes)

    def remove_task(self, name: str, **changes: Any) -> keras.Model:
        """A model without a task, on the same layers; see `subset`.

        Raises:
            ValueError: for a task that the model does not have, and for its only one.
        """
        known = [task.name for task in self.tasks]
        if name not in known or len(known) == 1:
            raise ValueError(
                f"`name` must be one of several tasks of the model, {known}. "
                f"Received: name={name!r}"
            )
        return self.subset([own for own in known if own != name], **changes)

    def add_task(
        self,
        task: Task,
        head: Sequence[int] | keras.layers.Layer | None = None,
        like: str | None = None,
        **changes: Any,
    ) -> keras.Model:
        """A model with one more task, on the same layers and a new head; see `subset`.

        Args:
            task: the task.
            head: hidden widths of its head, or a layer, where it has none of its own.
            like: the task whose part of the network it continues, where tasks have gates or
                towers of their own; default the first.
            changes: arguments of `compile` that shall be others.

        Raises:
            ValueError: for a task with a name that the model uses, an unknown one in `like`, and
                one that labels positions where the other labels rows, or the other way round.

        Example:

        >>> model = zoo.shared_trunk([BinaryTask("clicked")], 4, trunk=[8])
        >>> both = model.add_task(RegressionTask("price"), head=[4], loss_weights={"price": 0.1})
        >>> [task.name for task in both.tasks], both.loss_weights
        (['clicked', 'price'], {'clicked': 1.0, 'price': 0.1})
        """
        output = new_head(self, task, head, self.tasks[0].name if like is None else like)
        return with_outputs(self, {**self.output, task.name: output}, [*self.tasks, task], changes)

    def merge(
        self,
        models: Sequence[keras.Model],
        method: str = "ties",
        scale: float | None = None,
        density: float = 0.2,
        **changes: Any,
    ) -> keras.Model:
        """A model of the tasks of several models that were fine-tuned from this one.

        With t_m what model m's fine-tuning added to a weight w of this model, it becomes
        w + scale * f(t_1, t_2, ...). Layers that one of several models has alone, such as the
        head of its task, are taken from it. What does not train, such as moving statistics, is
        averaged. The new model has layers of its own and is compiled as this one is.

        Args:
            models: copies of this model that went their ways, with the same or other tasks: from
                `zoo.load(name, tasks=...)`, or `add_task` on what `load_model` gave.
            method: f: "average", the mean; "task_arithmetic", the sum; "ties", where only the
                largest entries of each t_m are kept, and of them the mean of those whose sign
                outweighs the other.
            scale: default 1, of "task_arithmetic" 0.4; best tuned on validation data. Of one
                model, "task_arithmetic" with less than 0 unlearns what it learned.
            density: the share of entries that "ties" keeps.
            changes: arguments of `compile` that shall be others.

        Raises:
            ValueError: for models that cannot have been fine-tuned from this one, that share its
                layers, or that have tasks in common that it does not have.

        Sources:
            Averages: Wortsman et al. 2022, Model soups. Task arithmetic: Ilharco et al. 2023.
            TIES: Yadav et al. 2023, algorithm 1, whose `density` and `scale` are the defaults.

        Example:

        >>> base = zoo.shared_trunk([BinaryTask("clicked")], 4, trunk=[8])
        >>> copies = [type(base).from_config(base.get_config()) for _ in range(2)]
        >>> for copy in copies:
        ...     copy.set_weights(base.get_weights())
        >>> books, dvd = (
        ...     copy.add_task(BinaryTask(task)).subset([task])
        ...     for copy, task in zip(copies, ["books", "dvd"])
        ... )
        >>> [task.name for task in base.merge([books, dvd], method="average").tasks]
        ['books', 'dvd']
        """
        merger = Merger(self, models)
        add = rule(method, scale, density)
        inputs, outputs, layers = merger.graph()
        merger.fill(layers, add)
        new = type(self)(inputs, outputs, tasks=merger.tasks, name=self.name)
        if self.compiled or changes:
            new.compile(**(_arguments(self, new) | changes))
        return new

    def freeze(self, *parts: str) -> None:
        """Stops the training of parts of the model, from the next step on.

        The model is compiled anew as it is, with all state but the optimizer's of what is frozen.

        Args:
            parts: "trunk" (all but the heads), "heads", "heads/<task>", or a layer's name.

        Raises:
            ValueError: for a part that the model does not have, or none.
        """
        set_trainable(self, parts, False)

    def unfreeze(self, *parts: str) -> None:
        """Lets parts of the model train again; see `freeze`."""
        set_trainable(self, parts, True)


_BY_TASK = ("loss", "loss_weights", "metrics", "weighted_metrics")


def with_outputs(
    model: keras.Model,
    outputs: Mapping[str, Any],
    tasks: Sequence[Task],
    changes: Mapping[str, Any],
) -> keras.Model:
    """A model of the same kind, layers and inputs with these outputs, compiled likewise.

    The optimizer's state goes with the weights that stay; a balancer and penalties start anew.

    Args:
        model: the model.
        outputs: task name to tensor.
        tasks: their tasks.
        changes: arguments of `compile` that shall be others.
    """
    new = type(model)(model._inputs_struct, outputs, tasks=tasks, name=model.name)
    if model.compiled:
        arguments = _arguments(model, new) | changes
        new.compile(**arguments)
        if "optimizer" not in changes:
            carry_optimizer(model.optimizer, new)
    elif changes:
        new.compile(**changes)
    return new


def recompile(model: keras.Model) -> None:
    """Compiles a model as it is compiled, so that what trains is read anew; no state is lost."""
    if not model.compiled:
        return
    optimizer, kept = model.optimizer, _by_path(_states(model))
    running = model.train_function is not None
    model.compile(**keras.saving.deserialize_keras_object(model.get_compile_config()))
    carry_optimizer(optimizer, model)
    _carry(kept, _states(model))
    if running:
        # A fit that goes on, where a callback called, takes it as it is.
        model.make_train_function()


def carry_optimizer(optimizer: Any, model: keras.Model) -> None:
    """Builds the model's optimizer with what another one keeps of the same weights."""
    model.optimizer.build(model.trainable_variables)
    if optimizer.built:
        _carry(_by_path(optimizer.variables), model.optimizer.variables)


def _states(model):
    """The variables of the balancer and of the penalties."""
    states = (model.balancer_state, model.sharing_state)
    return [variable for state in states if state for variable in state.variables]


def _by_path(variables):
    return {variable.path: variable for variable in variables}


def _carry(old: Mapping[str, Any], new: Iterable[Any]) -> None:
    for variable in new:
        kept = old.get(variable.path)
        # One number a task: not of the same tasks any more.
        if kept is not None and kept.shape == variable.shape:
            # A copy: JAX gives a step the memory of what it was given, here that of both models.
            variable.assign(keras.ops.convert_to_numpy(kept))


def _arguments(model, new):
    """What a model was compiled with, as fresh objects, for the tasks of another."""
    names = {task.name for task in new.tasks}
    arguments = keras.saving.deserialize_keras_object(model.get_compile_config())
    for key in _BY_TASK:
        if isinstance(arguments[key], (Mapping, list, tuple)):
            given = by_task(arguments[key], model.tasks, key)
            arguments[key] = {name: given[name] for name in given if name in names}
    score = arguments["score"]
    if score and score.baselines:
        kept = {name: value for name, value in score.baselines.items() if name in names}
        arguments["score"] = TaskScore(kept)
    if "sharing" in arguments:
        arguments["sharing"] = [*_penalties_left(arguments["sharing"], model, new)]
    return arguments


def _penalties_left(penalties, model, new):
    """Those with two towers or more that are there; a new task has none of its own."""
    layers, tasks = {layer.name for layer in new.layers}, [task.name for task in model.tasks]
    for penalty in penalties:
        several = isinstance(penalty.towers, list)
        parts = penalty.towers if several else [penalty.towers]
        left = [tuple(n for n in tower_names(part, tasks) if n in layers) for part in parts]
        left = [names for names in left if len(names) > 1]
        if left:
            penalty.towers = left if several else left[0]
            yield penalty


def head_input(model: keras.Model, task: str) -> Any:
    """The tensor that a task's head reads.

    Raises:
        ValueError: where the head is no layer of one input that bears the task's name.
    """
    for layer in heads_of(model, task):
        if layer.weights and isinstance(layer.input, keras.KerasTensor):
            return layer.input
    raise ValueError(
        "`model` must have heads that are layers named after its tasks, of one input each. "
        f"Received: none for '{task}'"
    )


def heads_of(model: keras.Model, task: str) -> list[keras.layers.Layer]:
    """The layers that are a task's head."""
    names = (task, f"{task}_logits")
    return [layer for layer in model.layers if layer.name in names]


def new_head(
    model: keras.Model, task: Task, head: Any, like: str, dropped: Sequence[str] = ()
) -> Any:
    """The output of a new head on what the head of another task reads.

    Args:
        model: the model.
        task: the new task.
        head: widths or a layer, where the task has no head of its own.
        like: the other task.
        dropped: names of tasks whose heads will not be in the new model.

    Raises:
        ValueError: for a task named like a task, a layer or an input, an unknown one in `like`,
            and labels of rows where the other labels positions, or the other way round.
    """
    names = [own.name for own in model.tasks]
    if like not in names:
        raise ValueError(
            f"`like` must be one of the tasks {names}, whose part of the network the new one "
            f"continues. Received: like={like!r}"
        )
    if task.name in {layer.name for layer in model.layers} - {*dropped}:
        raise ValueError(
            "`task` must not be named like a layer or an input of the model, or another task. "
            f"Received: {task.name!r}"
        )
    features = head_input(model, like)
    if len(features.shape) != 2 + task.positions:
        raise ValueError(
            f"Task '{task.name}' must label what '{like}' labels, rows or positions; name another "
            f"one in `like`. Received: features of shape {tuple(features.shape)}"
        )
    return task.build_head(head)(features)


def set_trainable(model: keras.Model, parts: Sequence[str], trainable: bool) -> None:
    """Freezes or unfreezes parts of a model, effective with the next step.

    Raises:
        ValueError: for no part, or one that the model does not have.
    """
    if not parts:
        raise ValueError(f"Name one part or more, of {part_names(model)}. Received: none")
    layers = [layer for part in parts for layer in layers_of(model, part)]
    if keras.backend.backend() == "jax":
        # In a fit, variables are old until Keras is asked for them.
        model.jax_state_sync()
    for layer in layers:
        layer.trainable = trainable
    recompile(model)


def part_names(model: keras.Model) -> list[str]:
    """What parts of a model are called: "trunk", "heads", a task's head, a layer."""
    heads = [f"heads/{task.name}" for task in model.tasks if heads_of(model, task.name)]
    layers = [layer.name for layer in model.layers if layer.weights]
    return list(dict.fromkeys(["trunk", "heads", *heads, *layers]))


def layers_of(model: keras.Model, part: str) -> list[keras.layers.Layer]:
    """The layers of a part of a model, see `part_names`.

    Raises:
        ValueError: for a part that the model does not have.
    """
    heads = {task.name: heads_of(model, task.name) for task in model.tasks}
    of_heads = [layer for own in heads.values() for layer in own]
    if part == "heads":
        return of_heads
    if part == "trunk":
        return [layer for layer in model.layers if layer.weights and layer not in of_heads]
    name = part.removeprefix("heads/") if isinstance(part, str) else part
    found = heads.get(name) or [layer for layer in model.layers if layer.name == part]
    if not found:
        raise ValueError(f"A part must be one of {part_names(model)}. Received: {part!r}")
    return found
