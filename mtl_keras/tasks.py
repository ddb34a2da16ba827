"""Tasks: a data distribution and a loss, under one name."""

import keyword
import math
from collections.abc import Sequence
from typing import Any

import keras

from mtl_keras.checks import checked_weight, checked_widths
from mtl_keras.labels import LabelSpec
from mtl_keras.losses import MaskedLoss, cosine_distance, unit_length
from mtl_keras.metrics import angular_error, masked_metric

RESERVED_NAMES = ("loss", "score", "trunk", "epoch", "step", "lr", "learning_rate", "tasks")


@keras.saving.register_keras_serializable(package="mtl_keras")
class Task:
    """What a model learns under one name: head, loss, metrics, and which labels are missing.

    The name is used everywhere: output key, head layer, `<task>_loss`, `<task>_<metric>`,
    export signature. The subclasses fill in the arguments for the usual kinds of task.

    Args:
        name: a Python identifier; not a reserved log key such as "loss" or "score".
        kind: "real", "probability", "class" or "vector", see `LabelSpec`.
        units: width of the output.
        activation: activation of the output.
        loss: Keras loss (name, function or object) of one label.
        metrics: Keras metrics (names, functions or objects) of one label.
        score: name of the metric that scores the task, or "loss".
        direction: "max" when a higher score is better, else "min".
        weight: default loss weight, not negative.
        class_weight: dict from class to weight, see `MaskedLoss`.
        missing_value: the label that means "no label"; NaN always does.
        head: hidden widths of the head, or a Keras layer that is copied for each model.
            Default: one dense layer.
        positions: what has a label of its own: 0 a row; 1 each position of a sequence, which
            makes labels (batch, length) where they would be (batch,); 2 each pixel of an image,
            (batch, height, width). The head is applied to every position alike.

    Raises:
        ValueError: for a bad name, kind, weight, direction, number of positions, or an unknown
            scoring metric.

    Example:

    >>> task = BinaryTask("clicked", weight=2.0, class_weight={1: 10.0})
    >>> task
    BinaryTask('clicked')
    >>> tuple(task.build_head()(keras.ops.ones((4, 8))).shape)
    (4, 1)
    """

    def __init__(
        self,
        name: str,
        *,
        kind: str = "real",
        units: int = 1,
        activation: str | None = None,
        loss: Any = "mean_squared_error",
        metrics: Sequence[Any] = (),
        score: str = "loss",
        direction: str = "min",
        weight: float = 1.0,
        class_weight: dict[int, float] | None = None,
        missing_value: float = math.nan,
        head: Sequence[int] | keras.layers.Layer | None = None,
        positions: int = 0,
    ):
        self.name = _checked_name(name)
        if positions not in (0, 1, 2) or isinstance(positions, bool):
            raise self._error("positions", "0 (rows), 1 (sequences) or 2 (images)", positions)
        self.positions = positions
        if direction not in ("max", "min"):
            raise self._error("direction", "'max' or 'min'", direction)
        if not isinstance(units, int) or units < 1:
            raise self._error("units", "a positive integer", units)
        self.units = units
        self.activation = activation
        self.loss = loss
        self.metrics = tuple(metrics)
        self.score = score
        self.direction = direction
        self.weight = checked_weight(weight, f"Task '{name}': `weight`")
        self.labels = LabelSpec(kind, missing_value, units if kind == "class" else None, name)
        self.class_weight = class_weight
        self.head = head
        if head is not None and not isinstance(head, keras.layers.Layer):
            self.head = checked_widths(head, "head", f"Task '{name}': ")
        self.masked_loss()
        names = ["loss"] + [metric.name for metric in self.masked_metrics()]
        if score not in names:
            raise self._error("score", f"one of {names}", score)

    @property
    def per_position(self) -> bool:
        """Whether the task labels each position, and so its head needs them all."""
        return self.positions > 0

    @property
    def missing_value(self) -> float:
        """The label that means "no label"."""
        return self.labels.missing_value

    def masked_loss(self, loss: Any = None) -> MaskedLoss:
        """The task's loss, or another one, over its labelled entries."""
        loss = self.loss if loss is None else loss
        if isinstance(loss, MaskedLoss):
            return loss
        return MaskedLoss(loss, self.labels, self.class_weight, name=f"{self.name}_loss")

    def masked_metrics(self, metrics: Sequence[Any] | None = None) -> list[keras.metrics.Metric]:
        """Fresh metrics, the task's or others, over its labelled entries."""
        metrics = self.metrics if metrics is None else metrics
        return [masked_metric(metric, self.labels, self.units) for metric in metrics]

    def build_head(
        self, head: Sequence[int] | keras.layers.Layer | None = None, logits: bool = False
    ):
        """A new head layer named after the task; outputs are float32 under any policy.

        Args:
            head: used where the task has no head of its own.
            logits: whether to leave out the activation, for what `build_activation` makes of
                logits that a model has changed; the layer is then named "<task>_logits".

        Raises:
            ValueError: for logits of a head that is a layer, whose activation is its own.
        """
        head = self.head if self.head is not None else head
        if logits and isinstance(head, keras.layers.Layer):
            raise self._error("head", "widths where the logits are asked for", head)
        if isinstance(head, keras.layers.Layer):
            return type(head).from_config(head.get_config() | {"name": self.name})
        name = f"{self.name}_logits" if logits else self.name
        activation = None if logits else self.activation
        if not head:
            return self._output_layer(name, activation)
        hidden = [
            keras.layers.Dense(width, activation="relu", name=f"{self.name}_hidden_{i}")
            for i, width in enumerate(head)
        ]
        return keras.Sequential(
            [*hidden, self._output_layer(f"{self.name}_output", activation)], name=name
        )

    def build_activation(self) -> keras.layers.Layer:
        """A new layer named after the task: from logits to the output."""
        dtype = keras.config.floatx()
        return keras.layers.Activation(self.activation, name=self.name, dtype=dtype)

    def _output_layer(self, name, activation):
        dtype = keras.config.floatx()
        return keras.layers.Dense(self.units, activation=activation, name=name, dtype=dtype)

    def _error(self, argument, expected, received):
        return ValueError(
            f"Task '{self.name}': `{argument}` must be {expected}. Received: {argument}={received}"
        )

    def get_config(self) -> dict:
        """Constructor arguments that the class does not fix."""
        serialize = keras.saving.serialize_keras_object
        config = {
            "name": self.name,
            "loss": serialize(self.loss),
            "metrics": [serialize(metric) for metric in self.metrics],
            "score": self.score,
            "direction": self.direction,
            "weight": self.weight,
            "class_weight": self.class_weight and list(self.class_weight.items()),
            "missing_value": self.labels.get_config()["missing_value"],
            "head": serialize(self.head),
            "positions": self.positions,
        }
        if type(self) is Task:
            config |= {
                "kind": self.labels.kind,
                "units": self.units,
                "activation": self.activation,
            }
        return config

    @classmethod
    def from_config(cls, config: dict) -> "Task":
        """The inverse of `get_config`."""
        config = dict(config)
        for key in ("loss", "head"):
            config[key] = keras.saving.deserialize_keras_object(config[key])
        config["metrics"] = [
            keras.saving.deserialize_keras_object(metric) for metric in config["metrics"]
        ]
        config["class_weight"] = config["class_weight"] and dict(config["class_weight"])
        return cls(**config)

    def __eq__(self, other):
        return type(self) is type(other) and self.get_config() == other.get_config()

    def __hash__(self):
        return hash((type(self), self.name))

    def __repr__(self):
        return f"{type(self).__name__}({self.name!r})"


@keras.saving.register_keras_serializable(package="mtl_keras")
class BinaryTask(Task):
    """Yes or no: labels 0 and 1 (or a probability), one sigmoid output, scored by ROC AUC.

    Args:
        name: name of the task.
        options: any argument of `Task` but `kind`, `units` and `activation`.
    """

    def __init__(self, name: str, **options: Any):
        usual = {"loss": "binary_crossentropy", "metrics": ("auc",)}
        usual |= {"score": "auc", "direction": "max"}
        super().__init__(
            name, kind="probability", units=1, activation="sigmoid", **(usual | options)
        )


@keras.saving.register_keras_serializable(package="mtl_keras")
class CategoricalTask(Task):
    """One class of several: integer labels, a softmax output, scored by accuracy.

    With `positions=2` it is segmentation, a class a pixel, scored by the mean intersection over
    union of the classes.

    Args:
        name: name of the task.
        num_classes: number of classes; labels are 0 ... num_classes - 1, -1 where missing.
        options: any argument of `Task` but `kind`, `units` and `activation`.
    """

    def __init__(self, name: str, num_classes: int, **options: Any):
        usual = {"loss": "sparse_categorical_crossentropy", "metrics": ("accuracy",)}
        usual |= {"score": "accuracy", "direction": "max", "missing_value": -1}
        if options.get("positions") == 2:
            usual |= {"metrics": ("accuracy", "mean_iou"), "score": "mean_iou"}
        super().__init__(
            name, kind="class", units=num_classes, activation="softmax", **(usual | options)
        )

    def get_config(self) -> dict:
        """Constructor arguments."""
        return super().get_config() | {"num_classes": self.units}


@keras.saving.register_keras_serializable(package="mtl_keras")
class MultiLabelTask(Task):
    """Several yes-or-no labels a row, each of which may be missing; scored by their mean AUC.

    Args:
        name: name of the task.
        num_labels: labels a row.
        options: any argument of `Task` but `kind`, `units` and `activation`.
    """

    def __init__(self, name: str, num_labels: int, **options: Any):
        usual = {"loss": "binary_crossentropy", "metrics": ("auc",)}
        usual |= {"score": "auc", "direction": "max"}
        super().__init__(
            name, kind="probability", units=num_labels, activation="sigmoid", **(usual | options)
        )

    def get_config(self) -> dict:
        """Constructor arguments."""
        return super().get_config() | {"num_labels": self.units}


@keras.saving.register_keras_serializable(package="mtl_keras")
class RegressionTask(Task):
    """Real numbers, squared error, scored by the mean absolute error (lower is better).

    Args:
        name: name of the task.
        dim: numbers a row, each of which may be missing.
        options: any argument of `Task` but `kind`, `units` and `activation`.
    """

    def __init__(self, name: str, dim: int = 1, **options: Any):
        usual = {"loss": "mean_squared_error", "metrics": ("mae", "rmse")}
        usual |= {"score": "mae", "direction": "min"}
        super().__init__(name, kind="real", units=dim, **(usual | options))

    def get_config(self) -> dict:
        """Constructor arguments."""
        return super().get_config() | {"dim": self.units}


@keras.saving.register_keras_serializable(package="mtl_keras")
class TokenTask(Task):
    """One class a position of a sequence: (batch, length) labels, padding -1.

    Needs a trunk that keeps the sequence, (batch, length, channels). Scored by accuracy over
    the labelled positions.

    Args:
        name: name of the task.
        vocabulary_size: number of classes; labels are 0 ... vocabulary_size - 1.
        options: any argument of `Task` but `kind`, `units`, `activation` and `positions`.
    """

    def __init__(self, name: str, vocabulary_size: int, **options: Any):
        usual = {"loss": "sparse_categorical_crossentropy", "metrics": ("accuracy",)}
        usual |= {"score": "accuracy", "direction": "max", "missing_value": -1}
        super().__init__(
            name,
            kind="class",
            units=vocabulary_size,
            activation="softmax",
            **(usual | options | {"positions": 1}),
        )

    def get_config(self) -> dict:
        """Constructor arguments."""
        return super().get_config() | {"vocabulary_size": self.units}


@keras.saving.register_keras_serializable(package="mtl_keras")
class DirectionTask(Task):
    """A direction: an output of length 1, such as the normal of the surface at each pixel.

    Labels are vectors of any length but 0, which like NaN means that there is none. The loss is
    one minus the cosine, the score the mean angle in degrees (lower is better).

    Args:
        name: name of the task.
        dim: length of the vectors, 2 or more.
        options: any argument of `Task` but `kind`, `units` and `activation`.

    Raises:
        ValueError: for one dimension.
    """

    def __init__(self, name: str, dim: int = 3, **options: Any):
        usual = {"loss": cosine_distance, "metrics": (angular_error,), "missing_value": 0.0}
        usual |= {"score": "angular_error", "direction": "min"}
        super().__init__(
            name, kind="vector", units=dim, activation=unit_length, **(usual | options)
        )
        if dim < 2:
            raise self._error("dim", "2 or more", dim)

    def get_config(self) -> dict:
        """Constructor arguments."""
        return super().get_config() | {"dim": self.units}


def checked_tasks(tasks: Sequence[Task]) -> list[Task]:
    """`tasks` as a list; ValueError unless they are tasks of different names."""
    tasks = [tasks] if isinstance(tasks, Task) else list(tasks)
    if not tasks or not all(isinstance(task, Task) for task in tasks):
        raise ValueError(f"`tasks` must be one or more tasks. Received: tasks={tasks}")
    names = [task.name for task in tasks]
    if len(set(names)) < len(names):
        raise ValueError(f"`tasks` must have different names. Received: {names}")
    return tasks


def checked_task_names(names: Sequence[str], known: Sequence[str]) -> list[str]:
    """`names` as a list; ValueError unless they are some of the `known`, each once."""
    listed = [] if isinstance(names, str) else list(names)
    if not listed or len(set(listed)) < len(listed) or not set(listed) <= set(known):
        raise ValueError(
            f"`tasks` must be a list of the model's tasks, {list(known)}, each once. "
            f"Received: tasks={names!r}"
        )
    return listed


def _checked_name(name):
    identifier = isinstance(name, str) and name.isidentifier() and not keyword.iskeyword(name)
    if not identifier or name.startswith(("_", "val_")) or name in RESERVED_NAMES:
        raise ValueError(
            "`name` of a task must be an identifier that does not begin with '_' or 'val_' and "
            f"is none of {list(RESERVED_NAMES)}. Received: name={name!r}"
        )
    return name
