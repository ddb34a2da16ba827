"""Hard sharing: one trunk, one head a task."""

from collections.abc import Mapping, Sequence
from typing import Any

import keras

from mtl_keras import MultiTaskModel, Task
from mtl_keras.tasks import checked_tasks, checked_widths
from zoo.builders.inputs import encode_inputs


def shared_trunk(
    tasks: Sequence[Task],
    inputs: Any,
    trunk: Sequence[int] | keras.layers.Layer = (128, 64),
    *,
    head: Sequence[int] | keras.layers.Layer | None = None,
    activation: str = "relu",
    dropout: float = 0.0,
    adapt: Any = None,
    optimizer: Any = "adam",
    loss_weights: Mapping[str, float] | None = None,
    name: str = "shared_trunk",
    **compile_options: Any,
) -> MultiTaskModel:
    """A compiled model in which all tasks read the output of one trunk.

    The oldest form of multi-task learning (Caruana 1997, "Multitask Learning"): every weight
    of the trunk is trained by every task, the heads by their own task alone.

    Args:
        tasks: the tasks; a task that has a head of its own keeps it.
        inputs: a shape without the batch; a dict from name to kind ("numeric", "categorical",
            "text") or `zoo.features` object; an adapted `keras.utils.FeatureSpace`; or Keras
            inputs. Preprocessing is part of the model, which takes raw values.
        trunk: widths of dense layers, or any Keras layer or model. A layer gets the single
            feature as it is (image, token ids), or the vectors of several side by side.
            Feature maps and sequences that it returns are averaged for the heads of tasks
            with one label a row.
        head: hidden widths of the heads, or a layer to copy; default one dense layer.
        activation: activation of the trunk's dense layers.
        dropout: rate after each of the trunk's dense layers.
        adapt: data to learn missing statistics of features from: a dict of arrays or a
            `tf.data.Dataset`.
        optimizer: Keras optimizer.
        loss_weights: dict by task, in place of the tasks' weights.
        name: name of the model.
        compile_options: further arguments of `MultiTaskModel.compile`.

    Raises:
        ValueError: for tasks of equal names or named like an input, and inputs that
            cannot be read.

    Example:

    >>> import mtl_keras as mtl
    >>> tasks = [mtl.BinaryTask("clicked"), mtl.RegressionTask("price")]
    >>> inputs = {"age": Numeric(mean=40.0, variance=100.0), "shop": Categorical(num_categories=5)}
    >>> model = shared_trunk(tasks, inputs, trunk=[16, 8])
    >>> outputs = model.predict({"age": np.array([30.0]), "shop": np.array([4])}, verbose=0)
    >>> {task: value.shape for task, value in outputs.items()}
    {'clicked': (1, 1), 'price': (1, 1)}
    """
    tasks = checked_tasks(tasks)
    widths = None if isinstance(trunk, keras.layers.Layer) else checked_widths(trunk, "trunk")
    if head is not None and not isinstance(head, keras.layers.Layer):
        head = checked_widths(head, "head")
    tensors, encoded = encode_inputs(inputs, adapt, as_vector=widths is not None)
    trunk = _dense_trunk(widths, activation, dropout) if widths is not None else trunk
    _check_names(tasks, tensors, trunk)
    features = trunk(encoded)
    outputs = {task.name: task.build_head(head)(_read(features, task)) for task in tasks}
    model = MultiTaskModel(tensors, outputs, tasks=tasks, name=name)
    model.compile(optimizer, loss_weights=loss_weights, **compile_options)
    return model


def _dense_trunk(widths, activation, dropout):
    layers = []
    for i, width in enumerate(widths):
        layers.append(keras.layers.Dense(width, activation=activation, name=f"trunk_{i}"))
        if dropout:
            layers.append(keras.layers.Dropout(dropout, name=f"trunk_dropout_{i}"))
    return keras.Sequential(layers, name="trunk")


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
        if rank != 3:
            raise ValueError(
                f"Task '{task.name}' labels positions: `trunk` must return "
                f"(batch, length, channels). Received: shape {tuple(features.shape)}"
            )
        return features
    pools = {3: keras.layers.GlobalAveragePooling1D, 4: keras.layers.GlobalAveragePooling2D}
    if rank == 2:
        return features
    return pools.get(rank, keras.layers.Flatten)(name=f"{task.name}_pool")(features)


def _check_names(tasks, tensors, trunk):
    taken = {tensor.name for tensor in keras.tree.flatten(tensors)} | {trunk.name, "preprocessing"}
    clash = [task.name for task in tasks if task.name in taken]
    if clash:
        raise ValueError(
            "`tasks` must not be named like an input or the trunk, nor 'preprocessing'. "
            f"Received: {clash}"
        )
