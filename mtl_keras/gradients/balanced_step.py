"""From a batch to one update: the gradients of K tasks meet a balancer."""

import functools
import math
from collections.abc import Mapping
from typing import Any

import keras
from keras import ops

from mtl_keras.balancing.base import GramianBalancer, JacobianBalancer, LossBalancer
from mtl_keras.balancing.registry import get
from mtl_keras.gradients.autodiff import cond, num_replicas, sum_over_replicas
from mtl_keras.gradients.dense_layers import DenseLayers
from mtl_keras.gradients.gramian_estimate import corrected, guessed
from mtl_keras.gradients.graph import SharedGraph
from mtl_keras.gradients.task_gradients import TaskGradients, gramian_of
from mtl_keras.row_tasks import RowTasks

SCOPES = ("shared", "representation")
GRAMIANS = ("exact", "matrix_free")


class BalancedStep:
    """What `compile` made of a balancer: one total from the losses, or one update from gradients.

    Args:
        model: the model.
        balancer: a balancer, its name, or None for the sum.
        every: the weights of gradients are computed on every n-th step, and used again between.
        scope: "shared": gradients of the shared variables; "representation": gradients at the
            trunk's outputs (Sener & Koltun 2018, MGDA-UB), with one pass through the trunk. A
            rule that asks for two halves of the batch gets the whole one there.
        gramian: "exact", or "matrix_free": a guess that one product G w a step corrects.
        row_tasks: {name of the input that says whose a row is: number of tasks}, or None.

    Raises:
        ValueError: for an unknown balancer or scope, or a balancer of another number of tasks.
    """

    def __init__(
        self,
        model: Any,
        balancer: Any,
        every: int,
        scope: str,
        gramian: str,
        row_tasks: Mapping[str, int] | None,
    ):
        if isinstance(every, bool) or not isinstance(every, int) or every < 1:
            raise ValueError(f"`balancer_every` must be 1 or more. Received: {every!r}")
        if scope not in SCOPES:
            raise ValueError(f"`scope` must be one of {SCOPES}. Received: scope={scope!r}")
        self.balancer = get(balancer)
        if gramian not in GRAMIANS:
            raise ValueError(f"`gramian` must be one of {GRAMIANS}. Received: gramian={gramian!r}")
        if gramian == "matrix_free":
            self._check_matrix_free(every, scope)
        if every > 1 and not isinstance(self.balancer, GramianBalancer):
            raise ValueError(
                "`balancer_every` needs a Gramian balancer, whose weights can be used again. "
                f"Received: balancer_every={every} with {self.balancer}"
            )
        self.arguments = {
            "balancer": self.balancer,
            "balancer_every": every,
            "scope": scope,
            "gramian": gramian,
        }
        self.row_tasks = None
        if row_tasks is not None:
            self._check_row_tasks(scope, gramian)
            self.row_tasks = RowTasks(model.inputs, row_tasks)
            self.arguments["row_tasks"] = dict(row_tasks)
        self.every, self.scope = every, scope
        self._model = model
        self._graph = self._dense = None
        self.state = keras.layers.Layer(name="balancing")
        if self.balancer is not None:
            self._build(len(model.tasks) * (self.row_tasks.count if self.row_tasks else 1))

    def _check_matrix_free(self, every, scope):
        if not getattr(self.balancer, "matrix_free", False):
            raise ValueError(
                "`gramian='matrix_free'` needs a rule that depends on products G w alone, such as "
                f"'mgda' or 'nash_mtl'. Received: balancer={self.balancer}"
            )
        if every != 1 or scope != "shared":
            raise ValueError(
                "`gramian='matrix_free'` goes with balancer_every=1 and scope='shared'. "
                f"Received: balancer_every={every}, scope={scope!r}"
            )

    def _check_row_tasks(self, scope, gramian):
        if self.balancer is None:
            raise ValueError("`row_tasks` needs a `balancer`. Received: balancer=None")
        if scope != "shared" or gramian != "exact":
            # Different rows of an output have nothing in common there.
            raise ValueError(
                "`row_tasks` goes with scope='shared' and gramian='exact'. "
                f"Received: scope={scope!r}, gramian={gramian!r}"
            )

    def _build(self, num_tasks):
        if getattr(self.balancer, "keeps_rows", False):
            if self.scope == "representation":
                raise ValueError(
                    "`scope='representation'` needs a rule that keeps nothing of the gradients' "
                    f"size, which is the batch's there. Received: balancer={self.balancer}"
                )
            self.balancer.build(num_tasks, size=sum(map(_size, self.graph.shared)))
        else:
            self.balancer.build(num_tasks)
        gramian = isinstance(self.balancer, GramianBalancer) and self.balancer.samples == 1
        if gramian and self.scope == "shared" and self.arguments["gramian"] == "exact":
            # Now, not with the first step: on JAX variables have no values there.
            self._dense = DenseLayers(self._read_graph(), self._model.inputs)
        self.state.balancer = self.balancer.state
        if self.every > 1:
            add = functools.partial(self.state.add_weight, trainable=False, autocast=False)
            add = functools.partial(add, initializer="zeros", aggregation="only_first_replica")
            self._steps = add(name="steps", shape=(), dtype="int32")
            self._kept = add(name="weights", shape=(num_tasks,), dtype="float32")

    def members(self, x: Any) -> Any:
        """Whose each row is, (batch, count), for tasks that are rows; else None."""
        if self.row_tasks is None:
            return None
        return self.row_tasks.members(self._model._standardize_inputs(x))

    @property
    def sees_gradients(self) -> bool:
        """Whether a step needs the tasks' gradients."""
        return self.balancer is not None and not isinstance(self.balancer, LossBalancer)

    def total(self, losses: dict[str, Any]) -> Any:
        """The task losses as one scalar, on this replica."""
        if self.balancer is None:
            return sum(losses.values())
        replicas = num_replicas()
        values = ops.stack(list(losses.values()))
        if self.row_tasks is not None:
            values = ops.reshape(values, (-1,))
        if replicas > 1:
            # The rule sees the losses of all replicas; the gradient flows through this one's.
            (summed,) = sum_over_replicas([values])
            values = ops.stop_gradient(summed - replicas * values) + replicas * values
        return self.balancer.total(values) / replicas

    @property
    def graph(self) -> SharedGraph:
        """What the tasks share, read when the first step is traced."""
        if self._graph is None:
            self._graph = self._read_graph()
        return self._graph

    def _read_graph(self):
        model = self._model
        by_rows = self.row_tasks is not None
        return SharedGraph(model.inputs, model.output, model.trainable_variables, by_rows)

    def __call__(self, x: Any, y: Any, sample_weight: Any) -> tuple:
        """Gradients of the trainable variables, the loss to report, and the outputs."""
        dense = self._dense_layers(ops.shape(keras.tree.flatten(x)[0])[0])
        found = TaskGradients(self._model, self.graph, x, y, sample_weight, self.row_tasks, dense)
        return found.gradients(self._shared(found)), found.total, found.y_pred

    def _dense_layers(self, rows):
        """Dense layers to read the Gramian from, if it may pay for a batch of so many rows."""
        # Of several replicas each would have to know the others' rows.
        if self._dense is None or num_replicas() > 1:
            return None
        self._rows_limit = self._dense.rows_limit(self.balancer.num_tasks, self.graph.shared)
        # The number of rows may become known no sooner than the step runs.
        return self._dense if (rows if isinstance(rows, int) else 1) <= self._rows_limit else None

    def _shared(self, found):
        if not self.graph.shared:
            return []
        if isinstance(self.balancer, JacobianBalancer):
            return self._along_direction(found)
        return self._by_weights(found)

    def _by_weights(self, found):
        if self.every == 1:
            return self._refreshed(found)[1:]
        if num_replicas() > 1:
            # Replicas cannot exchange gradients inside a condition.
            raise ValueError(
                "`balancer_every` must be 1 with several replicas of `tf.distribute`. "
                f"Received: {self.every} with {num_replicas()} replicas"
            )
        kept = ops.convert_to_tensor(self._kept)
        weights, *update = cond(
            ops.equal(ops.convert_to_tensor(self._steps) % self.every, 0),
            lambda: self._refreshed(found),
            lambda: [kept, *found.weighted(kept)],
            self.balancer.state.variables,
        )
        self._kept.assign(weights)
        self._steps.assign_add(1)
        return update

    def _refreshed(self, found):
        if self.scope == "representation" or self.arguments["gramian"] == "matrix_free":
            blocks = found.representations()
            weights = self._guessed_weights(found, blocks)
            return [weights, *found.weighted(weights, blocks)]
        if found.dense is None:
            return self._by_rows(found)
        if isinstance(found.num_rows, int):
            return self._by_layers(found)
        return cond(
            found.num_rows <= self._rows_limit,
            lambda: self._by_layers(found),
            lambda: self._by_rows(found),
            self.balancer.state.variables,
        )

    def _by_layers(self, found):
        weights = self._weights(found.gramian(), found)
        return [weights, *found.weighted(weights)]

    def _by_rows(self, found):
        if self.balancer.samples == 2:
            halves = [found.rows(half) for half in (0, 1)]
            blocks = [first + second for first, second in zip(*halves, strict=True)]
            # Each half holds half of a mean.
            gramian = 4.0 * gramian_of(*halves)
        else:
            blocks = found.rows()
            gramian = gramian_of(blocks, blocks)
        weights = self._weights(gramian, found)
        # Every replica holds the sum over all of them, which `apply` forms once more.
        return [weights, *_combined(blocks, weights / num_replicas(), self.graph.shared)]

    def _guessed_weights(self, found, blocks):
        (gramian,) = sum_over_replicas([gramian_of(blocks, blocks)])
        if self.scope == "representation":
            return self._weights(gramian, found)
        guess = guessed(gramian)
        weights = self._weights(guess, found)
        product = found.product(weights, blocks)
        return self._weights(corrected(guess, weights, product), found)

    def _weights(self, gramian, found):
        scale = ops.cast(found.scale, gramian.dtype)
        return self.balancer.weights(gramian / (scale * scale), found.losses)

    def _along_direction(self, found):
        local = self.scope == "representation"
        blocks = found.representations() if local else found.rows()
        jacobian = ops.concatenate(blocks, axis=1)
        scale = ops.cast(found.scale, jacobian.dtype)
        direction = self.balancer.direction(jacobian / scale, found.losses) * scale
        shapes = [ops.shape(fork) for fork in found.forks]
        if not local:
            direction = direction / num_replicas()
            shapes = [variable.shape for variable in self.graph.shared]
        parts = [
            ops.reshape(part, shape)
            for part, shape in zip(_split(direction, blocks), shapes, strict=True)
        ]
        if not local:
            return parts
        pairs = zip(parts, found.forks, strict=True)
        return found.pulled([ops.cast(part, fork.dtype) for part, fork in pairs])


def _combined(blocks, weights, variables):
    return [
        ops.reshape(ops.cast(weights[None], block.dtype) @ block, variable.shape)
        for block, variable in zip(blocks, variables, strict=True)
    ]


def _split(direction, blocks):
    position, parts = 0, []
    for block in blocks:
        # At the representation the size depends on the batch.
        end = position + ops.shape(block)[1]
        parts.append(direction[position:end])
        position = end
    return parts


def _size(variable):
    return math.prod(variable.shape)
