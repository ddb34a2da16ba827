"""What takes part in a fit from outside of its training step."""

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from mtl_keras.balancing.auto_lambda import AutoLambda
from mtl_keras.batches import endless_batches
from mtl_keras.checks import checked_count
from mtl_keras.gradients.meta_gradient import MetaGradient
from mtl_keras.sharing import TraceNormSharing


class AutoLambdaUpdates(keras.callbacks.Callback):
    """Teaches the weights of `AutoLambda` in a fit (Liu et al., 2022, algorithm of the paper).

    Before a training step it asks what a step with the present weights, on a batch of `train`,
    would do to the primary tasks' loss on a batch of `validation`, and moves the weights so that
    it would do better. The weights and their Adam belong to the saved model; the two streams
    start anew with each callback, but in a fit that `keras.callbacks.BackupAndRestore` resumes
    they go on, past batches that are drawn in vain.

    The official code takes for the first batch the one that the step will train on, which a
    callback does not see, and for the second one another draw of the training set: give the same
    data twice to follow it. Its step has the optimizer's momentum and weight decay; as in the
    paper, here it has none: alpha is the optimizer's learning rate, whatever the optimizer. Both
    batches pass in training mode. An update costs about as much as two plain steps.

    Losses are multiplied by the model's loss weights, also among the primary tasks. Running
    means, metrics and random draws of the model are after an update what they were before; only
    draws without a seed on PyTorch come from one generator for all.

    Args:
        train: the training data: arrays `(x, y)` or `(x, y, sample_weight)`, or a stream of
            batches, such as a `tf.data.Dataset` or a `PyDataset`. Labels may lack tasks. It
            starts again when it ends; arrays are shuffled.
        validation: the data to do well on, likewise.
        primary: names of the tasks to do well at. Defaults to all.
        every: update before the first and then each n-th batch. With `steps_per_execution`, the
            batches of one execution count as one.
        batch_size: rows a batch of arrays. Defaults to 32.
        seed: of the orders of arrays.

    Raises:
        ValueError: for bad arguments; in `fit`, for a model that is not compiled with
            `AutoLambda` on tasks that are outputs, unknown tasks, several replicas, or a
            gradient that is not finite.

    Example:

    >>> x = keras.Input((4,))
    >>> h = keras.layers.Dense(8, activation="relu")(x)
    >>> tasks = [BinaryTask("bought"), BinaryTask("clicked")]
    >>> model = MultiTaskModel(x, {t.name: t.build_head()(h) for t in tasks}, tasks=tasks)
    >>> model.compile("adam", balancer="auto_lambda")
    >>> data = np.ones((64, 4)), {"bought": np.ones(64), "clicked": np.ones(64)}
    >>> learn = callbacks.AutoLambdaUpdates(data, data, primary=["bought"])
    >>> _ = model.fit(*data, callbacks=[learn], verbose=0)
    >>> bool(model.balancer.task_weights[0] > 0.1)
    True
    """

    def __init__(
        self,
        train: Any,
        validation: Any,
        primary: Sequence[str] | None = None,
        every: int = 1,
        batch_size: int = 32,
        seed: int | None = None,
    ):
        super().__init__()
        self.primary = _checked_names(primary)
        self.every = checked_count(every, "every")
        self.batch_size = checked_count(batch_size, "batch_size")
        self._data, self._seed = (train, validation), seed
        self._streams = self._meta = None

    def on_train_begin(self, logs=None):
        """Looks at the model."""
        self._check_model()
        model, names = self.model, [task.name for task in self.model.tasks]
        primary = names if self.primary is None else self.primary
        if unknown := [name for name in primary if name not in names]:
            raise ValueError(
                f"`primary` must name tasks of the model, {names}. "
                f"Received: unknown task {', '.join(map(repr, unknown))}"
            )
        # What is trained, and how, may have changed since the last fit.
        self._meta = MetaGradient(model, model.balancer.task_weights, primary)
        self._batches = self._last = None
        self._drawn = self._streams is not None
        if not self._drawn:
            # Two orders from one seed.
            seeds = np.random.default_rng(self._seed).integers(2**32, size=2)
            self._streams = [
                endless_batches(data, model.tasks, model.output, self.batch_size, seed)
                for data, seed in zip(self._data, seeds, strict=True)
            ]

    def on_train_batch_begin(self, batch, logs=None):
        """Updates the weights, on every n-th batch."""
        if self._batches is None:
            self._go_on(self.model.progress.place.calls)
        if self._batches % self.every == 0:
            self._update()
        self._batches += 1

    def on_train_end(self, logs=None):
        """Looks at the last update."""
        self._check_last()
        self._meta = None

    def _go_on(self, batches):
        # Of a fit that is resumed, batches were seen by another callback.
        self._batches = batches
        for stream in () if self._drawn else self._streams:
            for _ in range(-(-batches // self.every)):
                next(stream)

    def _update(self):
        # One update late: looking at the newest would wait for the device.
        self._check_last()
        if keras.backend.backend() == "jax":
            # Within a fit, variables have no value until they are asked for.
            self.model.jax_state_sync()
        self._last = self._meta(*(_tensors(next(stream)) for stream in self._streams))
        self.model.balancer.learn(self._last)

    def _check_model(self):
        balancer = getattr(self.model, "balancer", None)
        if not isinstance(balancer, AutoLambda):
            raise ValueError(
                "`AutoLambdaUpdates` needs a model compiled with balancer='auto_lambda'. "
                f"Received: balancer={balancer}"
            )
        if balancer.num_tasks != len(self.model.tasks):
            raise ValueError(
                "`AutoLambdaUpdates` needs tasks that are outputs of the model, not rows. "
                f"Received: {balancer.num_tasks} tasks of {len(self.model.tasks)} outputs"
            )
        if keras.backend.backend() == "tensorflow":
            replicas = self.model.distribute_strategy.num_replicas_in_sync
            if replicas > 1:
                raise ValueError(
                    "`AutoLambdaUpdates` works without replicas of `tf.distribute`. "
                    f"Received: {replicas} replicas"
                )

    def _check_last(self):
        last, self._last = self._last, None
        # A loss scaler takes scales that are too high until some are not; such an update waits.
        scaled = isinstance(self.model.optimizer, keras.optimizers.LossScaleOptimizer)
        if last is None or scaled or np.isfinite(ops.convert_to_numpy(last)).all():
            return
        raise ValueError(
            "The gradient of the validation loss must be finite. Received: "
            f"{ops.convert_to_numpy(last).tolist()} by tasks. Look for invalid labels or NaN in "
            "`train` and `validation`, or a learning rate that is too high."
        )


def _tensors(batch):
    return keras.tree.map_structure(_tensor, batch)


def _tensor(value):
    if keras.backend.backend() != "tensorflow":
        # What tf.data yields, too.
        value = np.asarray(value)
    tensor = ops.convert_to_tensor(value)
    # As in `fit`.
    floating = keras.backend.is_float_dtype(keras.backend.standardize_dtype(tensor.dtype))
    return ops.cast(tensor, keras.config.floatx()) if floating else tensor


def _checked_names(names):
    if names is None:
        return None
    listed = isinstance(names, (list, tuple)) and names
    if not listed or not all(isinstance(name, str) for name in names):
        raise ValueError(
            f"`primary` must be a list of names of tasks, or None. Received: primary={names!r}"
        )
    return list(names)


class EffectiveRanks(keras.callbacks.Callback):
    """Logs after each epoch how many factors explain the stacked weights of the tasks' towers.

    For each layer under a trace norm, `<path>_rank`: the effective rank of its unfolding (Roy &
    Vetterli 2007), from 1, one factor for all tasks, to full rank, no sharing. With several
    unfoldings `<path>_rank_0` and so on.

    Args:
        sharing: whose towers and unfoldings; default every `TraceNormSharing` of the model.

    Raises:
        ValueError: in `fit`, for a model without a trace norm when `sharing` is not given.

    Example:

    >>> nuclear = sharing.TraceNormSharing(0.01, exclude=("bias",))
    >>> tasks = [BinaryTask("clicked"), RegressionTask("price")]
    >>> model = zoo.soft_sharing(tasks, 4, [8], sharing=nuclear)
    >>> data = np.ones((8, 4)), {"clicked": np.ones(8), "price": np.zeros(8)}
    >>> history = model.fit(*data, callbacks=[callbacks.EffectiveRanks()], verbose=0).history
    >>> 1 <= history["tower_0_kernel_rank"][0] <= 2
    True
    """

    def __init__(self, sharing: TraceNormSharing | None = None):
        super().__init__()
        self.sharing = sharing

    def on_train_begin(self, logs=None):
        """Looks for trace norms."""
        given = [self.sharing] if self.sharing else self.model.sharing
        self._norms = [norm for norm in given if isinstance(norm, TraceNormSharing)]
        if not self._norms:
            raise ValueError(
                "EffectiveRanks needs a model with a TraceNormSharing, or one as `sharing`. "
                f"Received: sharing={self.sharing!r}, and a model with {self.model.sharing}"
            )

    def on_epoch_end(self, epoch, logs=None):
        """Adds the ranks to the logs."""
        if keras.backend.backend() == "jax":
            # Within a fit, variables have no value until they are asked for.
            self.model.jax_state_sync()
        for norm in self._norms:
            for path, ranks in norm.effective_ranks(self.model).items():
                key = f"{path.replace('/', '_')}_rank"
                if len(ranks) == 1:
                    logs[key] = ranks[0]
                else:
                    logs |= {f"{key}_{i}": rank for i, rank in enumerate(ranks)}
