"""OrthogonalityPenalty: two encoders are to say different things."""

from typing import Any

import keras
from keras import ops

from mtl_keras.checks import checked_count, checked_positive
from mtl_keras.layers.context import context_vector, context_width, over_positions
from mtl_keras.layers.layer_metric import log_key
from mtl_keras.layers.towers import joint_mask, mask_over_positions
from mtl_keras.layers.training_mean import TrainingMean


@keras.saving.register_keras_serializable(package="mtl_keras")
class OrthogonalityPenalty(keras.layers.Layer):
    """Passes features on, and adds strength * ||S'H / n||_F^2 to the loss while training.

    S (n, channels) and H (n, channels) are the features and those of another encoder, a row a
    position of the batch that is not masked. The penalty is zero when no channel of one
    correlates (without centring) with any channel of the other. The paper sums over the batch;
    here it is the mean, so that the strength does not depend on the size of the batch.

    With a context of task ids it is the sum over the tasks, each over its own n rows: what cancels
    out between two tasks counts.

    It appears, without its strength, under the log key `<layer path>_loss`.

    Args:
        strength: its weight, above 0.
        num_tasks: number of tasks; needed where there is a context of ids.

    Call arguments:
        features: (batch, ..., channels), which are passed on.
        others: (batch, ..., channels), over equal positions.
        context: whose each row is: (batch,) or (batch, 1) task ids, or (batch, num_tasks) rows;
            `None`: there is one task.
        features_mask, others_mask: as Keras gives them; masked positions do not count.

    Output shape:
        That of the features.

    Raises:
        ValueError: for a strength not above 0, `num_tasks` that is no whole number, features
            over different positions, a context of another width, and ids out of range.

    Example:

    >>> layer = mtl_keras.layers.OrthogonalityPenalty(0.5)
    >>> _ = layer(np.array([[1.0, 0.0]]), np.array([[0.0, 2.0]]), training=True)
    >>> [float(loss) for loss in layer.losses]
    [2.0]

    Reference:
        Liu, Qiu, Huang, 2017, Adversarial Multi-task Learning for Text Classification,
        orthogonality constraints; Bousmalis et al., 2016, Domain Separation Networks.
    """

    def __init__(self, strength: float, num_tasks: int | None = None, **kwargs: Any):
        super().__init__(**kwargs)
        self.strength = checked_positive(strength, "strength")
        self.num_tasks = None if num_tasks is None else checked_count(num_tasks, "num_tasks")
        self.supports_masking = True

    def build(self, features_shape, others_shape, context_shape=None):
        """Makes the tracker of the penalty."""
        if len(features_shape) != len(others_shape) or len(features_shape) < 2:
            raise ValueError(
                "`features` and `others` must be (batch, ..., channels) over equal positions. "
                f"Received: shapes {tuple(features_shape)} and {tuple(others_shape)}"
            )
        if context_shape is not None:
            context_width(context_shape, self.num_tasks)
        self.tracker = TrainingMean(name=log_key(self, "loss"))

    def call(
        self,
        features,
        others,
        context=None,
        features_mask=None,
        others_mask=None,
        training=None,
    ):
        """The features."""
        if training:
            penalty = self._penalty(
                features, others, context, joint_mask((features_mask, others_mask))
            )
            self.tracker.update_state(penalty)
            self.add_loss(self.strength * penalty)
        return features

    def _penalty(self, features, others, context, mask):
        # Squares of sums over a batch leave the range of float16.
        features, others = (ops.cast(x, self.variable_dtype) for x in (features, others))
        counts = ops.ones_like(features[..., :1])
        if context is not None:
            tasks = context_vector(context, self.num_tasks, self.variable_dtype)
            counts = counts * over_positions(tasks, features)
        if mask is not None:
            valid = ops.expand_dims(mask_over_positions(mask, features), -1)
            counts, features, others = (
                ops.where(valid, x, 0.0) for x in (counts, features, others)
            )
        width, channels = features.shape[-1], others.shape[-1]
        counts = ops.reshape(counts, (-1, counts.shape[-1]))
        features = ops.reshape(features, (-1, 1, width))
        of_tasks = ops.reshape(
            ops.expand_dims(counts, -1) * features, (-1, counts.shape[-1] * width)
        )
        moments = ops.matmul(ops.transpose(of_tasks), ops.reshape(others, (-1, channels)))
        sizes = ops.repeat(ops.maximum(ops.sum(counts, axis=0), 1.0), width)
        return ops.sum(ops.square(moments / ops.expand_dims(sizes, -1)))

    def compute_mask(self, features, previous_mask=None):
        """That of the features."""
        return previous_mask[0] if isinstance(previous_mask, (list, tuple)) else previous_mask

    def compute_output_shape(self, features_shape, others_shape, context_shape=None):
        """That of the features."""
        return tuple(features_shape)

    def get_config(self):
        """Constructor arguments."""
        return {**super().get_config(), "strength": self.strength, "num_tasks": self.num_tasks}
