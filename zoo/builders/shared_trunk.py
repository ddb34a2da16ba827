"""Hard sharing: one trunk, one head a task."""

from collections.abc import Sequence
from typing import Any, Unpack

import keras

from mtl_keras import MultiTaskModel, Task
from zoo.builders.backbone import Backbone
from zoo.builders.draft import Draft, ModelOptions


def shared_trunk(
    tasks: Sequence[Task],
    inputs: Any,
    trunk: Sequence[int] | keras.layers.Layer = (128, 64),
    *,
    share: float = 1.0,
    activation: Any = "relu",
    dropout: float = 0.0,
    name: str = "shared_trunk",
    **options: Unpack[ModelOptions],
) -> MultiTaskModel:
    """A compiled model in which all tasks read the output of one trunk.

    The oldest form of multi-task learning (Caruana 1997, "Multitask Learning"): every weight
    of the trunk is trained by every task, the heads by their own task alone. With `share`
    below 1 the upper part of the trunk is a tower a task.

    Args:
        tasks: the tasks; a task that has a head of its own keeps it.
        inputs: a shape without the batch; a dict from name to kind ("numeric", "categorical",
            "text") or `zoo.features` object; an adapted `keras.utils.FeatureSpace`; or Keras
            inputs. Preprocessing is part of the model, which takes raw values.
        trunk: widths of dense layers, or any Keras layer or model. A layer gets the single
            feature as it is (image, token ids), or the vectors of several side by side.
            Feature maps and sequences that it returns are averaged for the heads of tasks
            with one label a row.
        share: how much of the trunk's depth is shared: 0 gives separate networks, 1 all but
            the heads; between, widths or the layers of a `keras.Sequential` are cut at the
            nearest layer.
        activation: activation of the trunk's dense layers.
        dropout: rate after each of the trunk's dense layers.
        name: name of the model.
        options: `head`, `adapt`, `optimizer`, `loss_weights`, `balancer` and further arguments
            of `compile`: see `zoo.builders.ModelOptions`.

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
    backbone = Backbone(trunk, activation, dropout)
    count = backbone.num_shared(share)
    draft = Draft(tasks, inputs, name, as_vector=backbone.reads_vectors, **options)
    first = backbone.first(count, "trunk")
    features = first(draft.encoded) if first else draft.encoded
    return draft.model(backbone.towers(draft.names, features, start=count))
