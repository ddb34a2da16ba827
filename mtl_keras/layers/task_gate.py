"""TaskGate: a network a task, of which the context opens one."""

import inspect
from typing import Any

import keras
from keras import ops

from mtl_keras.checks import checked_count, checked_positive
from mtl_keras.layers.context import context_vector, context_width
from mtl_keras.layers.copies import independent_layer, pattern_config


@keras.saving.register_keras_serializable(package="mtl_keras")
class TaskGate(keras.layers.Layer):
    """One branch a task; the context chooses whose output passes. Nothing is shared.

    `y = sum_j 1(z = j) f_j(x)`. The largest entry of a vector chooses, the first one of equals.
    With a temperature the entries are scores and `y = sum_j softmax(z / temperature)_j f_j(x)`,
    which becomes the hard gate as the temperature goes to zero. Every branch runs on the whole
    batch, so prefer `MultiplicativeConditioning` where branches are linear, and the other
    conditioning layers where tasks have something in common.

    The hard gate keeps branches apart in training too. A branch receives no gradient from rows
    of other tasks, and does not see them: they are replaced by rows of its own task, in turn
    (zeros where the batch has none). So infinity or NaN in a branch that was not chosen
    reaches neither outputs nor gradients, unless zeros give it and no row chose the branch, and
    a batch normalization inside a branch counts the branch's own rows. The soft gate gives
    every branch every row.

    Args:
        branches: a tuple of layers of equal output shapes and different names, used as they are;
            or one layer, which is copied for each task ("branch_0", "branch_1", ...) with weights
            and draws of its own.
        num_tasks: number of tasks; needed where `branches` is one layer.
        temperature: of the soft gate, above 0; by default the gate is hard.

    Call arguments:
        features: what the branches take, (batch, ...).
        context: (batch,) or (batch, 1) task ids, or (batch, num_tasks) one-hot rows or scores.
        features_mask: given to the branches that take a mask. Keras fills it in.

    Output shape:
        That of every branch.

    Raises:
        ValueError: for branches that are not layers or share a name, a `num_tasks` that is not
            their number, a `temperature` not above 0, branches of different output shapes, a
            context of another width, and an id out of range.

    Example:

    >>> layer = mtl_keras.layers.TaskGate(keras.layers.Dense(8), num_tasks=3)
    >>> features = np.ones((2, 4), "float32")
    >>> tuple(layer(features, np.array([0, 2])).shape)
    (2, 8)

    Reference:
        Finn, 2019, Deep Multi-Task and Meta Learning (Stanford CS330), lecture on multi-task
        learning, multiplicative gating by a one-hot task.
    """

    def __init__(
        self,
        branches: keras.layers.Layer | tuple[keras.layers.Layer, ...],
        num_tasks: int | None = None,
        temperature: float | None = None,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        self.num_tasks = None if num_tasks is None else checked_count(num_tasks, "num_tasks")
        self.temperature = (
            None if temperature is None else checked_positive(temperature, "temperature")
        )
        self.supports_masking = True
        if isinstance(branches, keras.layers.Layer):
            branches = self._copies(branches, checked_count(num_tasks, "num_tasks"))
        self.branches = list(_checked_branches(branches, self.num_tasks))

    def _copies(self, layer, count):
        return [
            independent_layer(layer, index, name=f"branch_{index}", dtype=self.dtype_policy)
            for index in range(count)
        ]

    def build(self, features_shape, context_shape):
        """Builds the branches."""
        context_width(context_shape, len(self.branches))
        for branch in self.branches:
            if not branch.built:
                branch.build(features_shape)
        self._output_shape(features_shape)

    def call(self, features, context, features_mask=None):
        """The output of the chosen branch, or the mixture of all."""
        weights = context_vector(context, len(self.branches), self.compute_dtype)
        if self.temperature is None:
            return self._chosen(features, weights, features_mask)
        return self._mixed(features, weights, features_mask)

    def _chosen(self, features, weights, mask):
        task = ops.argmax(weights, axis=-1)
        output = None
        for index, branch in enumerate(self.branches):
            chosen = ops.equal(task, index)
            rows = _own_rows(features, chosen, ops.zeros_like(features))
            rows_mask = None if mask is None else _own_rows(mask, chosen, ops.ones_like(mask))
            found = self._run(branch, rows, rows_mask)
            rest = ops.zeros_like(found) if output is None else output
            output = ops.where(_at_rank_of(found, chosen), found, rest)
        # An id that was refused arrives as NaN, which chooses no branch.
        refused = ops.any(ops.isnan(weights), axis=-1)
        return ops.where(_at_rank_of(output, refused), float("nan"), output)

    def _mixed(self, features, scores, mask):
        # The scores over a small temperature overflow in float16.
        scores = ops.cast(scores, keras.backend.result_type(self.compute_dtype, "float32"))
        shares = ops.cast(ops.softmax(scores / self.temperature), self.compute_dtype)
        found = [self._run(branch, features, mask) for branch in self.branches]
        return sum(
            _at_rank_of(output, shares[:, index]) * output for index, output in enumerate(found)
        )

    def _run(self, branch, features, mask):
        takes_mask = "mask" in inspect.signature(branch.call).parameters
        options = {"mask": mask} if takes_mask and mask is not None else {}
        return ops.cast(branch(features, **options), self.compute_dtype)

    def compute_mask(self, inputs, previous_mask=None):
        """That of the features, where the branches keep the axes it covers."""
        if previous_mask is None:
            return None
        axes = len(previous_mask.shape)
        kept = self._output_shape(inputs.shape)[1:axes] == tuple(inputs.shape)[1:axes]
        return previous_mask if kept else None

    def compute_output_shape(self, features_shape, context_shape):
        """That of every branch."""
        return self._output_shape(features_shape)

    def _output_shape(self, features_shape):
        shapes = [tuple(branch.compute_output_shape(features_shape)) for branch in self.branches]
        if len(set(shapes)) > 1:
            raise ValueError(
                f"`branches` must have equal output shapes. Received: branches of shapes {shapes}"
            )
        return shapes[0]

    def get_config(self):
        """All arguments; copies of one layer as a tuple, each with what has changed in it."""
        return {
            **super().get_config(),
            "branches": tuple(pattern_config(branch) for branch in self.branches),
            "num_tasks": self.num_tasks,
            "temperature": self.temperature,
        }

    @classmethod
    def from_config(cls, config):
        """A gate with new branches of the same arguments."""
        branches = keras.saving.deserialize_keras_object(config["branches"])
        return super().from_config({**config, "branches": branches})


def _checked_branches(branches, num_tasks):
    layers = isinstance(branches, (tuple, list)) and len(branches) > 0
    if not layers or not all(isinstance(branch, keras.layers.Layer) for branch in branches):
        raise ValueError(f"`branches` must be a layer or a tuple. Received: branches={branches!r}")
    names = [branch.name for branch in branches]
    if len(set(names)) < len(names):
        # Weights of equal paths could not be told apart in logs and weight files.
        raise ValueError(f"`branches` must have different names. Received: branches named {names}")
    if num_tasks not in (None, len(branches)):
        raise ValueError(
            f"`num_tasks` must be the number of branches, {len(branches)}, or be left out. "
            f"Received: num_tasks={num_tasks}"
        )
    return branches


def _own_rows(tensor, chosen, default):
    """`tensor` with other rows replaced by chosen ones, in turn; `default` where there are none."""
    ones = ops.ones_like(chosen, dtype="int32")
    order = ops.argsort(ops.where(chosen, 0, ones))
    count = ops.sum(ops.where(chosen, ones, 0))
    # Positions by cumulative sum: an exported graph may not know its batch size.
    turn = ops.mod(ops.cumsum(ones) - 1, ops.maximum(count, 1))
    substitutes = ops.stop_gradient(ops.take(tensor, ops.take(order, turn), axis=0))
    substitutes = ops.where(count > 0, substitutes, default)
    return ops.where(_at_rank_of(tensor, chosen), tensor, substitutes)


def _at_rank_of(tensor, rows):
    """(batch,) brought to the rank of (batch, ...)."""
    return ops.reshape(rows, (-1,) + (1,) * (len(tensor.shape) - 1))
