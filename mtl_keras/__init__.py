"""Multi-task learning for Keras 3: tasks, layers, masked losses and metrics, multi-task models.

Classes are registered on import, so that `keras.saving.load_model` needs no custom objects.
"""

from mtl_keras import (
    balancing,
    callbacks,
    data,
    labels,
    layers,
    losses,
    metrics,
    optimizers,
    sharing,
    tasks,
)
from mtl_keras.labels import LabelSpec
from mtl_keras.losses import MaskedLoss
from mtl_keras.metrics import MaskedAUC, MaskedMetric, TaskScore, delta_m
from mtl_keras.model import MultiTaskModel
from mtl_keras.span_f1 import SpanF1
from mtl_keras.tasks import (
    BinaryTask,
    CategoricalTask,
    DirectionTask,
    MultiLabelTask,
    RegressionTask,
    Task,
    TokenTask,
)

__version__ = "0.1.0"

__all__ = [
    "BinaryTask",
    "CategoricalTask",
    "DirectionTask",
    "LabelSpec",
    "MaskedAUC",
    "MaskedLoss",
    "MaskedMetric",
    "MultiLabelTask",
    "MultiTaskModel",
    "RegressionTask",
    "SpanF1",
    "Task",
    "TaskScore",
    "TokenTask",
    "balancing",
    "callbacks",
    "data",
    "delta_m",
    "labels",
    "layers",
    "losses",
    "metrics",
    "optimizers",
    "sharing",
    "tasks",
]
