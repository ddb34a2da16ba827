"""TaskRouting: each task sees its own fixed choice of the channels."""

import random
from typing import Any

import keras
import numpy as np
from keras import ops

from mtl_keras.checks import checked_between, checked_count
from mtl_keras.layers.context import context_vector, context_width, over_positions


@keras.saving.register_keras_serializable(package="mtl_keras")
class TaskRouting(keras.layers.Layer):
    """Multiplies the channels by a fixed random binary mask of the task.

    y = m_t * h,  m_t in {0, 1}^channels

    round(sharing * channels) channels are open to all tasks. The others are dealt out at
    random, each to one task and as evenly as they go. So the tasks run through overlapping
    parts of one network: `sharing=0` gives each a part of its own, `sharing=1` is hard
    parameter sharing and changes nothing. Nothing is learned here; the masks are
    non-trainable weights, saved and loaded with the model. A context row that is not one-hot
    mixes the masks in its proportions.

    Place it after the activation of a layer. It costs no weights to train, and stays usable
    with hundreds of tasks; prefer `FiLM` or `TaskAdapter` when the tasks should find out by
    themselves what they share.

    Args:
        num_tasks: number of tasks.
        sharing: share of the channels that all tasks use, from 0 to 1.
        seed: whole number that fixes the masks, on every backend alike; `None` for other masks
            in every layer.

    Call arguments:
        features: (batch, ..., channels).
        context: (batch,) or (batch, 1) task ids, or (batch, num_tasks) rows.

    Output shape:
        That of features.

    Raises:
        ValueError: for a count below 1, a share that is not from 0 to 1, a seed below 0, fewer
            channels than tasks where none is shared, a context of another width than
            `num_tasks`, and task ids out of range.

    Example:
        >>> layer = mtl_keras.layers.TaskRouting(num_tasks=2, sharing=0.5, seed=0)
        >>> outputs = layer(np.ones((2, 8), "float32"), np.array([0, 1]))
        >>> [int(kept) for kept in keras.ops.sum(outputs, axis=1)]
        [6, 6]

    Reference:
        Strezoski, van Noord and Worring, 2019, "Many Task Learning With Task Routing". Taken
        from it: binary masks drawn once and kept, multiplied onto the channels of the task at
        hand, and the sharing ratio, from a network of its own for each task to one for all.
        The code that the authors published differs: there each task drops a given number of
        channels on its own, so that the channels of two tasks overlap by chance.
    """

    def __init__(
        self, num_tasks: int, sharing: float = 0.5, seed: int | None = None, **kwargs: Any
    ):
        super().__init__(**kwargs)
        self.num_tasks = checked_count(num_tasks, "num_tasks")
        self.sharing = checked_between(sharing, "sharing", 0, 1)
        self.seed = None if seed is None else checked_count(seed, "seed", minimum=0)
        # As Keras chooses seeds, so that `keras.utils.set_random_seed` fixes the masks too.
        self._chosen_seed = random.randrange(2**31) if self.seed is None else self.seed
        self.supports_masking = True

    def build(self, features_shape, context_shape):
        """Draws the masks (tasks, channels)."""
        context_width(context_shape, self.num_tasks)
        shared = round(self.sharing * features_shape[-1])
        if shared == 0 and features_shape[-1] < self.num_tasks:
            raise ValueError(
                "`features` must have a channel for each task where no channel is shared. "
                f"Received: features of shape {tuple(features_shape)}, "
                f"num_tasks={self.num_tasks}, sharing={self.sharing}"
            )
        self.masks = self.add_weight(
            name="masks",
            shape=(self.num_tasks, features_shape[-1]),
            initializer=lambda shape, dtype=None: self._draw(shared, shape, dtype),
            trainable=False,
        )

    def _draw(self, shared, shape, dtype):
        tasks, channels = shape
        # NumPy's, because one seed means other numbers on each backend of Keras.
        order = np.random.default_rng(self._chosen_seed).permutation(channels)
        masks = np.zeros(shape)
        masks[:, order[:shared]] = 1
        masks[np.arange(channels - shared) % tasks, order[shared:]] = 1
        return ops.convert_to_tensor(masks, dtype)

    def call(self, features, context):
        """m_t * h."""
        tasks = context_vector(context, self.num_tasks, self.compute_dtype)
        return features * over_positions(ops.matmul(tasks, self.masks), features)

    def compute_output_shape(self, features_shape, context_shape):
        """That of features."""
        return tuple(features_shape)

    def get_config(self):
        """All arguments."""
        return {
            **super().get_config(),
            "num_tasks": self.num_tasks,
            "sharing": self.sharing,
            "seed": self.seed,
        }
