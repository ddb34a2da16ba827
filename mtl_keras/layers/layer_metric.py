"""LayerMetric: a metric that a layer updates while it is called."""

from typing import Any

import keras


class LayerMetric:
    """Base of metrics that belong to a layer, on every backend.

    In a fit on JAX Keras keeps the state of metrics from the layers of a model. What a call
    reports is kept aside there until the loss is computed, where `MultiTaskModel` settles it; in
    a plain `keras.Model` the metric stays without a value.
    """

    pending = None

    def update_state(self, *values: Any) -> None:
        """Adds what a layer reports, now or when there is a state to add it to."""
        if _has_state(self):
            self.add(*values)
        else:
            self.pending = values

    def settle(self) -> None:
        """Adds what was kept aside."""
        if self.pending is not None:
            values, self.pending = self.pending, None
            self.add(*values)


def log_key(layer: keras.layers.Layer, what: str) -> str:
    """A log key that no other layer of a model has."""
    return f"{layer.path.replace('/', '_')}_{what}"


def _has_state(metric):
    try:
        return metric.variables[0].value is not None
    except TypeError:  # What Keras raises for a variable without value and initializer.
        return False
