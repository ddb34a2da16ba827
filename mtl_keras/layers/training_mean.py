"""TrainingMean: what a layer reports about its training, under a log key of its own."""

from typing import Any

import keras
from keras import ops


@keras.saving.register_keras_serializable(package="mtl_keras")
class TrainingMean(keras.metrics.Mean):
    """A mean that is NaN, not 0, where nothing was seen.

    A layer updates it while training only, so that an evaluation reports NaN under its key.
    Two metrics of one name would share a log key: name it after the layer's path. In a fit on
    JAX it stays NaN, because Keras keeps the state of metrics from layers there.

    Example:

    >>> mean = mtl_keras.layers.TrainingMean(name="gate_z_loss")
    >>> bool(np.isnan(mean.result()))
    True
    >>> mean.update_state(3.0)
    >>> float(mean.result())
    3.0
    """

    def update_state(self, values: Any, sample_weight: Any = None) -> None:
        """Adds values, where there is a state to add them to."""
        if has_state(self):
            super().update_state(values, sample_weight)

    def result(self) -> Any:
        """The mean so far."""
        return ops.where(self.count > 0, super().result(), float("nan"))


def has_state(metric: keras.metrics.Metric) -> bool:
    """Whether the metric's variables have values: in a fit on JAX a layer's metrics have none."""
    try:
        return metric.variables[0].value is not None
    except TypeError:  # What Keras raises for a variable without value and initializer.
        return False


def log_key(layer: keras.layers.Layer, what: str) -> str:
    """A log key that no other layer of a model has."""
    return f"{layer.path.replace('/', '_')}_{what}"
