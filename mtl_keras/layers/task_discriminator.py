"""TaskDiscriminator: features are not to show whose they are."""

from typing import Any

import keras
from keras import ops

from mtl_keras.checks import checked_count, checked_positive
from mtl_keras.layers.context import context_vector, context_width, over_positions
from mtl_keras.layers.copies import independent_initializer
from mtl_keras.layers.generator import checked_hidden_units
from mtl_keras.layers.gradient_reversal import GradientReversal
from mtl_keras.layers.layer_metric import log_key
from mtl_keras.layers.towers import mask_over_positions
from mtl_keras.layers.training_mean import TrainingMean


@keras.saving.register_keras_serializable(package="mtl_keras")
class TaskDiscriminator(keras.layers.Layer):
    """Passes features on, and while training adds the loss of a classifier of their task.

    The classifier reads the features through a `GradientReversal`: it learns to tell which
    task a row belongs to, and whatever made the features learns that it cannot. The added
    loss is strength * cross-entropy(softmax(D(features)), task), a mean over rows, and over
    the positions of each that are not masked. Rows without any label count too.

    It appears, without its strength, under the log key `<layer path>_loss`, with
    `<layer path>_accuracy`. An accuracy that falls to that of guessing, with a loss near
    log(num_tasks), says that the features do not show the task.

    Args:
        num_tasks: how many tasks there are to tell apart.
        strength: weight of the loss, above 0.
        hidden_units: widths of hidden layers of the classifier; none makes it linear.
        activation: of the hidden layers.
        kernel_initializer: of all layers.

    Call arguments:
        features: (batch, ..., channels), which are passed on.
        context: whose each row is: (batch,) or (batch, 1) task ids, or (batch, num_tasks) rows.
        features_mask: as Keras gives it; masked positions do not count.

    Output shape:
        That of the features.

    Raises:
        ValueError: for bad counts, a strength not above 0, a context of another width, and ids
            out of range.

    Example:

    >>> layer = mtl_keras.layers.TaskDiscriminator(num_tasks=2, kernel_initializer="zeros")
    >>> _ = layer(np.ones((4, 3)), np.array([0, 1, 1, 0]), training=True)
    >>> round(float(layer.losses[0]), 4)  # log 2
    0.6931

    Reference:
        Liu, Qiu, Huang, 2017, Adversarial Multi-task Learning for Text Classification, the
        task discriminator; Ganin et al., 2016, Domain-Adversarial Training of Neural Networks.
    """

    def __init__(
        self,
        num_tasks: int,
        strength: float = 1.0,
        hidden_units: tuple[int, ...] = (),
        activation: Any = "relu",
        kernel_initializer: Any = "glorot_uniform",
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        self.num_tasks = checked_count(num_tasks, "num_tasks")
        self.strength = checked_positive(strength, "strength")
        self.hidden_units = checked_hidden_units(hidden_units)
        self.activation = keras.activations.get(activation)
        self.kernel_initializer = keras.initializers.get(kernel_initializer)
        self.supports_masking = True
        self.reversal = GradientReversal(name="reversal", dtype=self.dtype_policy)
        widths = [*self.hidden_units, self.num_tasks]
        self.classifier = [
            keras.layers.Dense(
                width,
                self.activation if i < len(self.hidden_units) else None,
                kernel_initializer=independent_initializer(self.kernel_initializer, i),
                name=f"hidden_{i}" if i < len(self.hidden_units) else "out",
                dtype=self.dtype_policy,
            )
            for i, width in enumerate(widths)
        ]

    def build(self, features_shape, context_shape):
        """Builds the classifier and makes the trackers."""
        context_width(context_shape, self.num_tasks)
        self.reversal.build(features_shape)
        for dense in self.classifier:
            dense.build(features_shape)
            features_shape = (*features_shape[:-1], dense.units)
        self.loss_tracker = TrainingMean(name=log_key(self, "loss"))
        self.accuracy_tracker = TrainingMean(name=log_key(self, "accuracy"))

    def call(self, features, context, features_mask=None, training=None):
        """The features."""
        if training:
            self._classify(features, context, features_mask)
        return features

    def _classify(self, features, context, mask):
        logits = self.reversal(features)
        for dense in self.classifier:
            logits = dense(logits)
        logits = ops.cast(logits, self.variable_dtype)
        tasks = context_vector(context, self.num_tasks, self.variable_dtype)
        tasks = over_positions(tasks, logits)
        losses = -ops.sum(tasks * ops.log_softmax(logits), axis=-1)
        hits = ops.equal(ops.argmax(logits, axis=-1), ops.argmax(tasks, axis=-1))
        counts = ops.ones_like(losses)
        if mask is not None:
            valid = mask_over_positions(mask, logits)
            counts, losses = ops.where(valid, counts, 0.0), ops.where(valid, losses, 0.0)
        total = ops.maximum(ops.sum(counts), 1.0)
        loss = ops.sum(losses) / total
        self.loss_tracker.update_state(loss)
        self.accuracy_tracker.update_state(ops.sum(counts * ops.cast(hits, counts.dtype)) / total)
        self.add_loss(self.strength * loss)

    def compute_mask(self, features, previous_mask=None):
        """That of the features."""
        return previous_mask[0] if isinstance(previous_mask, (list, tuple)) else previous_mask

    def compute_output_shape(self, features_shape, context_shape):
        """That of the features."""
        return tuple(features_shape)

    def get_config(self):
        """Constructor arguments."""
        return {
            **super().get_config(),
            "num_tasks": self.num_tasks,
            "strength": self.strength,
            "hidden_units": self.hidden_units,
            "activation": keras.activations.serialize(self.activation),
            "kernel_initializer": keras.initializers.serialize(self.kernel_initializer),
        }
