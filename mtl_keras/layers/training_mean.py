"""TrainingMean: what a layer reports about its training, under a log key of its own."""

from typing import Any

import keras
from keras import ops

from mtl_keras.layers.layer_metric import LayerMetric


@keras.saving.register_keras_serializable(package="mtl_keras")
class TrainingMean(LayerMetric, keras.metrics.Mean):
    """A mean that is NaN, not 0, where nothing was seen.

    A layer updates it while training only, so that an evaluation reports NaN under its key.
    Two metrics of one name would share a log key: name it after the layer's path.

    Example:

    >>> mean = mtl_keras.layers.TrainingMean(name="gate_z_loss")
    >>> bool(np.isnan(mean.result()))
    True
    >>> mean.update_state(3.0)
    >>> float(mean.result())
    3.0
    """

    def add(self, values: Any) -> None:
        """Adds values of a step."""
        keras.metrics.Mean.update_state(self, values)

    def result(self) -> Any:
        """The mean so far."""
        return ops.where(ops.convert_to_tensor(self.count) > 0, super().result(), float("nan"))
