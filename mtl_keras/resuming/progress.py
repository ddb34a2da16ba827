"""Progress: where a fit is, and what of its state Keras does not save."""

import dataclasses
import threading
import weakref
from typing import Any

import keras
import numpy as np

# Not in a `Place`: a lock cannot be copied.
_REACHING = threading.Lock()


@dataclasses.dataclass
class Place:
    """Where a fit is.

    Attributes:
        epoch: number of epochs that are finished.
        batch: batches of the next one that are done.
        calls: training steps, or executions of several, of the whole fit.
    """

    epoch: int = 0
    batch: int = 0
    calls: int = 0

    def begin(self, epoch: int) -> None:
        """Is at the beginning of an epoch."""
        self.epoch, self.batch = epoch, 0

    def reach(self, batch: int) -> None:
        """Is at a batch of the epoch; behind it already if a thread says so late."""
        # Asked without the lock first: half of the calls tell what is known.
        if batch <= self.batch:
            return
        with _REACHING:
            if batch > self.batch:
                self.batch, self.calls = batch, self.calls + 1


class Progress(keras.layers.Layer):
    """Where a model's fit is; saved and restored with the model, as are its random draws.

    Keras saves the weights of a model and of its optimizer. A fit depends on more: the state of
    seeded random draws, as dropout makes, and in the middle of an epoch its metrics so far. It
    also has to know what the saved weights have seen, of which Keras tells in a file of its own,
    written later than the weights.

    A file without it, such as one of another model, leaves everything as it was.

    Args:
        model: the `MultiTaskModel`.

    Attributes:
        place: where it is.
        metric_values: in the middle of an epoch, the values of the metrics' variables; else empty.
    """

    def __init__(self, model: Any):
        super().__init__(name="progress")
        # Not a part of this layer.
        self._model = weakref.ref(model)
        self.start()

    def start(self) -> None:
        """Is at the beginning of a fit."""
        # By itself: a layer takes ten times as long to set an attribute, felt in each step.
        self.place = Place()
        self.metric_values = ()
        self._generators = {}

    def save_own_variables(self, store: Any) -> None:
        """Called by Keras, with what is like a dict of arrays."""
        store["position"] = np.array(dataclasses.astuple(self.place), "int64")
        for i, state in enumerate(self._random_states()):
            store[f"random_{i}"] = state
        for i, variable in enumerate(self._model().metrics_variables if self.place.batch else ()):
            store[f"metric_{i}"] = variable
        for name, state in _generators().items():
            store[name] = state.numpy()

    def load_own_variables(self, store: Any) -> None:
        """Called by Keras, with what is like a dict of arrays."""
        keys = set(store.keys())
        if "position" not in keys:
            return
        self.place = Place(*(int(number) for number in store["position"]))
        self.metric_values = tuple(_saved(store, "metric"))
        self._generators = {name: np.asarray(store[name]) for name in _generators() if name in keys}
        saved, states = _saved(store, "random"), self._random_states()
        # A model with the same weights may have other layers without any, such as one dropout
        # more: Keras loads its weights, and this has nothing to tell it.
        if [array.shape for array in saved] == [tuple(state.shape) for state in states]:
            for state, array in zip(states, saved, strict=True):
                state.assign(array)

    def restore_metrics(self) -> None:
        """Gives the metrics the values that they had in the middle of the epoch.

        Raises:
            ValueError: when the model has other metrics than the one that was saved.
        """
        variables = self._model().metrics_variables
        shapes = [tuple(variable.shape) for variable in variables]
        saved = [array.shape for array in self.metric_values]
        if shapes != saved:
            raise ValueError(
                "A fit goes on in the middle of an epoch only with the metrics that it had. "
                f"Received: metrics with variables of shapes {shapes}, saved were {saved}"
            )
        for variable, array in zip(variables, self.metric_values, strict=True):
            variable.assign(array)
        self.metric_values = ()

    def restore_generators(self) -> None:
        """Lets draws without a seed go on, which on PyTorch come from one generator for all.

        Not done by loading alone: they are the process's, not the model's.
        """
        if self._generators:
            import torch

            setters = {"torch": torch.set_rng_state, "torch_cuda": torch.cuda.set_rng_state}
            for name, state in self._generators.items():
                setters[name](torch.from_numpy(state))
        self._generators = {}

    def _random_states(self):
        # Of the variables, those that are no weights.
        model = self._model()
        others = (model, model.balancer_state, model.sharing_state)
        weights = {id(weight) for other in others if other for weight in other.weights}
        return [variable for variable in model.variables if id(variable) not in weights]


def _generators():
    # States of PyTorch's generators: the host's, and that of the device in use.
    if keras.backend.backend() != "torch":
        return {}
    import torch

    of_device = {"torch_cuda": torch.cuda.get_rng_state()} if torch.cuda.is_available() else {}
    return {"torch": torch.get_rng_state(), **of_device}


def _saved(store, kind):
    count = sum(key.startswith(f"{kind}_") for key in store.keys())  # noqa: SIM118
    return [np.asarray(store[f"{kind}_{i}"]) for i in range(count)]
