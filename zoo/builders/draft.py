"""A model on the way: tasks and inputs at hand, what the heads read still to come."""

from collections.abc import Mapping, Sequence
from typing import Any, TypedDict

import keras

from mtl_keras import MultiTaskModel, Task
from mtl_keras.checks import checked_count, checked_widths
from mtl_keras.tasks import checked_tasks
from zoo.builders.inputs import encode_inputs


class ModelOptions(TypedDict, total=False):
    """Keyword arguments that every builder takes.

    Attributes:
        head: hidden widths of the heads, or a layer to copy; default one dense layer. A task
            that has a head of its own keeps it.
        adapt: data to learn missing statistics of features from: a dict of arrays or a
            `tf.data.Dataset`.
        optimizer: Keras optimizer; default "adam".
        loss_weights: dict by task, in place of the tasks' weights.
        balancer: how the losses become one update: a name of
            `mtl_keras.balancing.available()` or a balancer; default their sum.
        balancer_every: see `MultiTaskModel.compile`, as all that follow.
        scope: see there.
        gramian: see there.
        row_tasks: see there.
        sharing: see there.
        metrics: see there.
        score: see there.
        run_eagerly: see `keras.Model.compile`, as all that follow.
        steps_per_execution: see there.
        jit_compile: see there.
        auto_scale_loss: see there.
    """

    head: Sequence[int] | keras.layers.Layer | None
    adapt: Any
    optimizer: Any
    loss_weights: Mapping[str, float] | None
    balancer: Any
    balancer_every: int
    scope: str
    gramian: str
    row_tasks: Mapping[str, int] | None
    sharing: Any
    metrics: Any
    score: Any
    run_eagerly: bool
    steps_per_execution: int
    jit_compile: bool | str
    auto_scale_loss: bool


class Draft:
    """Checked tasks and encoded inputs; `model` adds heads, and compiles.

    Args:
        tasks: the tasks.
        inputs: as in `encode_inputs`.
        name: of the model.
        as_vector: whether what reads the inputs takes one vector a row.
        head: see `ModelOptions`, as all that follow.
        adapt: see there.
        optimizer: see there.
        compile_options: the rest of them.

    Attributes:
        tasks: the tasks, a list.
        names: their names.
        inputs: the model's Keras inputs.
        encoded: what the first layers read.

    Raises:
        ValueError: for tasks of equal names, inputs that cannot be read, and a bad head.
    """

    def __init__(
        self,
        tasks: Sequence[Task],
        inputs: Any,
        name: str,
        as_vector: bool = True,
        *,
        head: Sequence[int] | keras.layers.Layer | None = None,
        adapt: Any = None,
        optimizer: Any = "adam",
        **compile_options: Any,
    ):
        self.tasks = checked_tasks(tasks)
        self.names = [task.name for task in self.tasks]
        if head is not None and not isinstance(head, keras.layers.Layer):
            head = checked_widths(head, "head")
        self._name, self._head = name, head
        self._compile = {"optimizer": optimizer, **compile_options}
        self.inputs, self.encoded = encode_inputs(inputs, adapt, as_vector)

    def row_ids(self, row_input: str | None, num_row_tasks: int | None) -> Any:
        """A further input that says whose each row is, (batch,) ids; None without a name.

        A balancer, where there is one, then weighs these tasks too.

        Raises:
            ValueError: for one argument without the other, a bad name or number, or the name
                of another input.
        """
        if row_input is None and num_row_tasks is None:
            return None
        if row_input is None or num_row_tasks is None:
            raise ValueError(
                "`row_input` and `num_row_tasks` must be given together: the name of the input "
                "that says whose a row is, and how many it tells apart. "
                f"Received: row_input={row_input!r}, num_row_tasks={num_row_tasks!r}"
            )
        count = checked_count(num_row_tasks, "num_row_tasks")
        inputs = keras.tree.flatten(self.inputs)
        if not isinstance(row_input, str) or row_input in ["", *(x.name for x in inputs)]:
            raise ValueError(
                "`row_input` must be a name that no other input has. "
                f"Received: row_input={row_input!r}"
            )
        ids = keras.Input((), dtype="int32", name=row_input)
        if isinstance(self.inputs, (list, tuple)):
            self.inputs = [*self.inputs, ids]
        else:
            named = self.inputs if isinstance(self.inputs, Mapping) else {inputs[0].name: inputs[0]}
            self.inputs = {**named, row_input: ids}
        if self._compile.get("balancer") is not None:
            self._compile.setdefault("row_tasks", {row_input: count})
        return ids

    def model(self, features: Any) -> MultiTaskModel:
        """The compiled model, whose heads read `features`.

        Args:
            features: dict from task name to a tensor, (batch, width), or feature maps and
                sequences, of which tasks with one label a row read the mean; or to a dict with
                "sequence_output" and "pooled_output", of which a task reads what it labels.

        Raises:
            ValueError: for features that heads cannot read, and tasks named like a layer.
        """
        return self.compiled(self.heads(features))

    def heads(self, features: Mapping[str, Any], logits: bool = False) -> dict[str, Any]:
        """By task, what the head of each task in `features` makes of them.

        Args:
            features: as in `model`, of all tasks or of some.
            logits: whether to leave out the activations, see `Task.build_head`.

        Raises:
            ValueError: as `model`, and for logits of a head that is a layer.
        """
        self._check_names(features)
        return {
            task.name: task.build_head(self._head, logits)(_read(features[task.name], task))
            for task in self.tasks
            if task.name in features
        }

    def compiled(self, outputs: Mapping[str, Any]) -> MultiTaskModel:
        """The compiled model with these outputs by task."""
        outputs = {name: outputs[name] for name in self.names}
        model = MultiTaskModel(self.inputs, outputs, tasks=self.tasks, name=self._name)
        model.compile(**self._compile)
        return model

    def _check_names(self, features):
        taken = {"preprocessing"} | {x.name for x in keras.tree.flatten(self.inputs)}
        taken |= _names_above(keras.tree.flatten(features))
        clash = [name for name in self.names if name in taken]
        if clash:
            raise ValueError(
                "`tasks` must not be named like an input or a layer, nor 'preprocessing'. "
                f"Received: {clash}"
            )


def _names_above(tensors):
    names, seen, stack = set(), set(), list(tensors)
    while stack:
        tensor = stack.pop()
        operation = getattr(tensor, "_keras_history", (None,))[0]
        if operation is None or id(tensor) in seen:
            continue
        seen.add(id(tensor))
        names.add(operation.name)
        node = operation._inbound_nodes[tensor._keras_history.node_index]
        stack.extend(node.arguments.keras_tensors)
    return names


def _read(features, task):
    # What a head reads: the positions, or one vector a row.
    if isinstance(features, Mapping):
        key = "sequence_output" if task.per_position else "pooled_output"
        features = features.get(key, features)
    if not isinstance(features, keras.KerasTensor):
        raise ValueError(
            "`trunk` must return one tensor, or a dict with 'sequence_output' for tasks that label "
            f"positions and 'pooled_output' for the others, such as '{task.name}'. "
            f"Received: {features}"
        )
    rank = len(features.shape)
    if task.per_position:
        if rank != 2 + task.positions:
            axes = "length" if task.positions == 1 else "height, width"
            raise ValueError(
                f"Task '{task.name}' labels positions: `trunk` must return "
                f"(batch, {axes}, channels). Received: shape {tuple(features.shape)}"
            )
        return features
    pools = {3: keras.layers.GlobalAveragePooling1D, 4: keras.layers.GlobalAveragePooling2D}
    if rank == 2:
        return features
    return pools.get(rank, keras.layers.Flatten)(name=f"{task.name}_pool")(features)
