"""MultiTaskModel: a Functional Keras model that knows its tasks."""

from collections.abc import Mapping, Sequence
from typing import Any

import keras

from mtl_keras.balancing.base import Balancer
from mtl_keras.batches import (
    complete_arrays,
    complete_stream,
    is_stream,
    tensors_of_strings,
)
from mtl_keras.change import Changeable
from mtl_keras.data import MixedBatches
from mtl_keras.export.exportable import Exportable
from mtl_keras.gradients import training_step
from mtl_keras.gradients.balanced_step import BalancedStep
from mtl_keras.guard import TrainingGuard, check_logs
from mtl_keras.layers.layer_metric import LayerMetric
from mtl_keras.metrics import TaskScore
from mtl_keras.objective import Objective
from mtl_keras.optimizers import PerPart
from mtl_keras.packed_logs import packed, unpacked
from mtl_keras.resuming.resumable import Resumable
from mtl_keras.sharing import Sharing
from mtl_keras.soft_sharing import SoftSharing
from mtl_keras.tasks import Task, checked_tasks


@keras.saving.register_keras_serializable(package="mtl_keras")
class MultiTaskModel(Changeable, Exportable, Resumable, keras.Model):
    """A Functional model with one output a task, trained by plain `model.fit`.

    Losses, metrics and loss weights come from the tasks. A task that a batch has no labels
    for (key absent, `None`, every label missing) is left out of that step; the others train.
    Every log key has the task's prefix, even with one task, and `score` sums the model up.
    Losses are means over labelled entries: `loss` is their weighted sum plus regularisers.

    Args:
        inputs: Keras inputs.
        outputs: dict from task name to output tensor.
        tasks: the tasks, one an output.
        name: name of the model.

    Raises:
        ValueError: when outputs and tasks do not go together.

    Example:

    >>> x = keras.Input((4,))
    >>> tasks = [BinaryTask("clicked"), RegressionTask("price")]
    >>> h = keras.layers.Dense(8, activation="relu")(x)
    >>> model = MultiTaskModel(x, {t.name: t.build_head()(h) for t in tasks}, tasks=tasks)
    >>> model.compile("adam", loss_weights={"price": 0.1})
    >>> y = {"clicked": keras.ops.ones((8,)), "price": keras.ops.zeros((8,))}
    >>> sorted(model.fit(keras.ops.ones((8, 4)), y, verbose=0).history)[:4]
    ['clicked_auc', 'clicked_labels', 'clicked_loss', 'loss']
    """

    # On the class: the base class reads `variables` while it is built.
    _objective = _balanced_step = soft_sharing = None

    # *args: Keras rebuilds a Functional subclass from its config only with this signature.
    def __init__(self, *args: Any, tasks: Sequence[Task], **kwargs: Any):
        super().__init__(*args, **kwargs)
        # A tuple, which Keras does not wrap.
        self.tasks = tuple(checked_tasks(tasks))
        _check_outputs(self.output, self.tasks)

    @property
    def balancer(self) -> Balancer | None:
        """The compiled balancer, if any."""
        return self._balanced_step and self._balanced_step.balancer

    @property
    def balancer_state(self) -> keras.layers.Layer | None:
        """The balancer's variables; Keras saves and restores them with the model."""
        return self.balancer and self._balanced_step.state

    @property
    def sharing(self) -> list[Sharing]:
        """The compiled penalties of soft sharing."""
        return list(self.soft_sharing.penalties) if self.soft_sharing else []

    @property
    def sharing_state(self) -> keras.layers.Layer | None:
        """The penalties' variables; Keras saves and restores them with the model."""
        return self.soft_sharing.state if self.sharing else None

    @property
    def variables(self) -> list[keras.Variable]:
        """All variables of the layers, the balancer's and the penalties'."""
        states = (self.balancer_state, self.sharing_state)
        return super().variables + [v for state in states if state for v in state.variables]

    @property
    def trainable_weights(self) -> list[keras.Variable]:
        """What the optimizer trains, the balancer's own trainable variables too."""
        own = self.balancer_state.trainable_weights if self.balancer else []
        return super().trainable_weights + own

    @property
    def loss_weights(self) -> dict[str, float]:
        """The compiled loss weight of each task."""
        return dict(self._compiled_objective().weights)

    def compile(
        self,
        optimizer: Any = "adam",
        loss: Any = None,
        loss_weights: Any = None,
        metrics: Any = None,
        weighted_metrics: Any = None,
        score: TaskScore | None = None,
        balancer: Any = None,
        balancer_every: int = 1,
        scope: str = "shared",
        gramian: str = "exact",
        row_tasks: Mapping[str, int] | None = None,
        sharing: Sharing | Sequence[Sharing] | None = None,
        **options: Any,
    ) -> None:
        """Takes losses, weights and metrics from the tasks where they are not given here.

        Args:
            optimizer: Keras optimizer, or `mtl_keras.optimizers.per_part`.
            loss: dict by task, or a loss for all of them, instead of the tasks' own.
            loss_weights: dict by task of numbers, not negative. A task that is not in it
                keeps its own weight, 1 unless said otherwise.
            metrics: dict by task of lists of metrics, instead of the tasks' own; the
                scoring metric is always kept.
            weighted_metrics: likewise, in addition; these see the sample weights.
            score: what `score` is; default `TaskScore()`.
            balancer: how the losses become one update: a name of
                `mtl_keras.balancing.available()` or a balancer; default their sum.
            balancer_every: a balancer that weighs gradients does so on every n-th step; its
                weights are used again between.
            scope: which gradients it sees: those of the "shared" variables, or those at the
                "representation" that the heads read, which costs less (Sener & Koltun 2018).
            gramian: how a Gramian balancer learns of the gradients: "exact", from each task's
                own; "matrix_free", from one product G w a step, or two for "cagrad": close to
                exact, at a cost that does not grow with the number of tasks. For rules with
                `matrix_free`, such as "mgda".
            row_tasks: for a task-conditioned model, the input that says whose a row is and how
                many tasks it tells apart, such as {"task": 3}: integer ids, or one-hot rows. The
                balancer then sees one loss for each output and each of these tasks, the mean
                over its rows, and all variables are shared.
            sharing: penalties that draw the towers of tasks together, such as
                `mtl_keras.sharing.L2Sharing(0.01)`; each adds its value to `loss`, whose
                gradient nobody balances, and reports it under its name.
            options: further arguments of `keras.Model.compile`: run_eagerly,
                steps_per_execution, jit_compile, auto_scale_loss.

        Raises:
            ValueError: for unknown tasks, bad weights, or equal names of metrics.
        """
        if not isinstance(optimizer, PerPart):
            optimizer = keras.optimizers.get(optimizer)
        objective = Objective(self.tasks, loss, loss_weights, metrics, weighted_metrics, score)
        step = BalancedStep(self, balancer, balancer_every, scope, gramian, row_tasks)
        soft = SoftSharing(self, sharing)
        objective.arguments |= {"optimizer": optimizer, **step.arguments, **soft.arguments}
        objective.arguments |= options
        self._objective, self._balanced_step, self.soft_sharing = objective, step, soft
        if isinstance(optimizer, PerPart):
            optimizer = optimizer.for_model(self)
        super().compile(optimizer=optimizer, **options)

    def _compiled_objective(self) -> Objective:
        if self._objective is None:
            raise ValueError("The model must be compiled first: call `model.compile(optimizer)`.")
        return self._objective

    # -- the training step

    def compute_task_losses(
        self,
        x: Any = None,
        y: Any = None,
        y_pred: Any = None,
        sample_weight: Any = None,
        training: bool = True,
    ) -> dict[str, Any]:
        """Each task's loss on a batch, times its loss weight, in task order.

        Args:
            x: inputs; needed when `y_pred` is not given.
            y: labels by task; a task without labels has loss 0.
            y_pred: outputs of the model for `x`.
            sample_weight: weights by task, or one array for all tasks.
            training: whether `x` is passed through the model in training mode.
        """
        y_pred = self(x, training=training) if y_pred is None else y_pred
        objective = self._compiled_objective()
        return objective.weighted(objective.terms(y, y_pred, sample_weight))

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        """What a balancer makes of the task losses, or their sum, and the model's own losses."""
        # No loss is compiled into the base class: what it returns is regularisers alone. They are
        # read first: where replicas wait for each other, the next one clears what layers added.
        given = (x, y, y_pred, sample_weight, training)
        own = [super().compute_loss(*given)] if self.losses else []
        own += self.soft_sharing.terms(training)
        if not training:
            return sum(own, sum(self.update_task_losses(y, y_pred, sample_weight).values()))
        step = self._balanced_step
        losses = self.update_task_losses(y, y_pred, sample_weight, step.members(x))
        return sum(own, step.total(losses))

    def update_task_losses(
        self, y: Any, y_pred: Any, sample_weight: Any, members: Any = None
    ) -> dict[str, Any]:
        """Each task's loss times its loss weight; the batch goes into the report.

        With `members` (batch, G), weights of the rows in G groups, each loss is (G,).
        """
        objective = self._compiled_objective()
        terms = objective.terms(y, y_pred, sample_weight, members)
        seen = [t if members is None else t.over_groups() for t in terms.values()]
        objective.metrics.update_losses(seen)
        for metric in self.metrics:
            if isinstance(metric, LayerMetric):
                metric.settle()
        return objective.weighted(terms)

    def train_step(self, *args):
        """Keras's step, or one that balances the tasks' gradients."""
        if self._balanced_step.sees_gradients:
            result = training_step.train(self, self._balanced_step, *args)
        else:
            result = super().train_step(*args)
        if self.soft_sharing.follows_updates:
            return training_step.followed(self, result, self.soft_sharing.follow_update)
        return result

    def _make_function(self, step_function, **options):
        # Keras's own hook: what runs a train or a test step on an iterator.
        if keras.backend.backend() != "tensorflow":
            return super()._make_function(step_function, **options)
        return unpacked(super()._make_function(packed(step_function)))

    def compute_metrics(self, x, y, y_pred, sample_weight=None):
        """Updates the tasks' metrics and returns all of the model's."""
        self._compiled_objective().update_metrics(y, y_pred, sample_weight)
        return super().compute_metrics(x, y, y_pred, sample_weight)

    @property
    def metrics(self) -> list[keras.metrics.Metric]:
        """The loss, the tasks' report, what penalties add, then what layers own."""
        metrics = super().metrics
        if self.compiled:
            metrics[1:1] = [self._compiled_objective().metrics, *self.soft_sharing.metrics]
        return metrics

    # -- fit and evaluate, with complete batches and under guard

    def fit(
        self,
        x: Any = None,
        y: Any = None,
        *args: Any,
        callbacks: Any = None,
        validation_data: Any = None,
        sample_weight: Any = None,
        class_weight: Any = None,
        **kwargs: Any,
    ) -> keras.callbacks.History:
        """`keras.Model.fit`; labels and sample weights may lack tasks.

        Raises:
            ValueError: for an unknown task, an invalid label, a loss that is not finite, an
                epoch without a label of a trained task, an empty data set.
        """
        _refuse_class_weight(class_weight)
        mixed = isinstance(x, MixedBatches)
        if mixed or (is_stream(x) and not isinstance(x, keras.utils.PyDataset)):
            # Keras warns that it cannot shuffle a stream, also when nobody asked.
            kwargs.setdefault("shuffle", False)
        epochs = [x.follow_fit(kwargs.get("initial_epoch", 0))] if mixed else []
        if self.balancer is not None:
            end = self.balancer.end_epoch
            epochs.append(keras.callbacks.LambdaCallback(on_epoch_end=lambda *_: end()))
        x, y, sample_weight = self._complete(x, y, sample_weight)
        if isinstance(validation_data, (list, tuple)):
            validation_data = self._complete(*keras.utils.unpack_x_y_sample_weight(validation_data))
        return super().fit(
            x,
            y,
            *args,
            callbacks=self._guarded(callbacks, *epochs),
            validation_data=validation_data,
            sample_weight=sample_weight,
            **kwargs,
        )

    def evaluate(
        self,
        x: Any = None,
        y: Any = None,
        *args: Any,
        callbacks: Any = None,
        sample_weight: Any = None,
        **kwargs: Any,
    ) -> Any:
        """`keras.Model.evaluate`; labels and sample weights may lack tasks."""
        x, y, sample_weight = self._complete(x, y, sample_weight)
        return super().evaluate(
            x, y, *args, callbacks=self._guarded(callbacks), sample_weight=sample_weight, **kwargs
        )

    def predict(self, x: Any, *args: Any, **kwargs: Any) -> dict[str, Any]:
        """`keras.Model.predict`; NumPy arrays of strings are taken too."""
        return super().predict(x if is_stream(x) else tensors_of_strings(x), *args, **kwargs)

    def train_on_batch(self, x, y=None, sample_weight=None, class_weight=None, return_dict=False):
        """`keras.Model.train_on_batch`; labels and sample weights may lack tasks."""
        _refuse_class_weight(class_weight)
        x, y, sample_weight = self._complete(x, y, sample_weight)
        logs = super().train_on_batch(x, y, sample_weight, return_dict=True)
        check_logs(self, logs, "`train_on_batch`")
        return logs if return_dict else self._flatten_metrics_in_order(logs)

    def test_on_batch(self, x, y=None, sample_weight=None, return_dict=False):
        """`keras.Model.test_on_batch`; labels and sample weights may lack tasks."""
        x, y, sample_weight = self._complete(x, y, sample_weight)
        logs = super().test_on_batch(x, y, sample_weight, return_dict=True)
        check_logs(self, logs, "`test_on_batch`")
        return logs if return_dict else self._flatten_metrics_in_order(logs)

    def _complete(self, x, y, sample_weight):
        if is_stream(x):
            return complete_stream(x, self.tasks, self.output), y, sample_weight
        labels, weights = complete_arrays(y, sample_weight, self.tasks, self.output)
        return tensors_of_strings(x), labels, weights

    def _guarded(self, callbacks, *more):
        if isinstance(callbacks, keras.callbacks.CallbackList):
            guarded = any(isinstance(c, TrainingGuard) for c in callbacks.callbacks)
            first = list(more) if guarded else [TrainingGuard(), *more]
            for callback in first:
                callback.set_model(self)
            callbacks.callbacks[:0] = first
            return callbacks
        return [TrainingGuard(), *more, *keras.tree.flatten(callbacks or [])]

    # -- saving

    def get_config(self) -> dict:
        """The Functional config, and the tasks."""
        tasks = [keras.saving.serialize_keras_object(task) for task in self.tasks]
        return super().get_config() | {"tasks": tasks}

    @classmethod
    def from_config(cls, config: dict, custom_objects: dict | None = None) -> "MultiTaskModel":
        """The inverse of `get_config`."""
        tasks = [
            keras.saving.deserialize_keras_object(task, custom_objects=custom_objects)
            for task in config["tasks"]
        ]
        return super().from_config(dict(config) | {"tasks": tasks}, custom_objects)

    def get_compile_config(self) -> dict:
        """What `compile` was given; with it, `load_model` compiles again."""
        if self._objective is None:
            return {}
        return keras.saving.serialize_keras_object(self._objective.arguments)

    def compile_from_config(self, config: dict) -> None:
        """Compiles as `get_compile_config` says, with the optimizer's variables."""
        self.compile(**keras.saving.deserialize_keras_object(config))
        self.optimizer.build(self.trainable_variables)


def _refuse_class_weight(class_weight):
    if class_weight is not None:
        raise ValueError(
            "`class_weight` belongs to a task: BinaryTask('name', class_weight={1: 10.0}). "
            f"Received: class_weight={class_weight}"
        )


def _check_outputs(outputs, tasks):
    names = [task.name for task in tasks]
    if not isinstance(outputs, Mapping) or set(outputs) != set(names):
        received = list(outputs) if isinstance(outputs, Mapping) else type(outputs).__name__
        raise ValueError(
            f"`outputs` must be a dict with the tasks as keys, {names}. Received: {received}"
        )
    for task in tasks:
        width = outputs[task.name].shape[-1]
        if width != task.units:
            raise ValueError(
                f"Task '{task.name}': the output must be {task.units} wide. "
                f"Received: shape {tuple(outputs[task.name].shape)}"
            )
