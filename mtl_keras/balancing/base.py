"""What every balancer is: three protocols, and the state that a rule may keep."""

from typing import Any, ClassVar

import keras
from keras import ops


class Balancer:
    """Base of the rules that turn K task losses into one update.

    A rule has no variables until it knows the number of tasks: `compile` builds it, or the
    first call on plain arrays does. A task takes part in a step when its loss (loss level) or
    its gradient (the other two) is not exactly 0: a task without a label in the batch is left
    out, and the others are balanced as if it did not exist.

    Each call is a step of a rule that has state: running means and random draws go on.
    """

    # Filled by the registry.
    key: ClassVar[str]
    source: ClassVar[str]
    family: ClassVar[str]
    needs: ClassVar[tuple[str, ...]] = ()
    # 2: the rule asks for G = J1 J2^T of two independent halves of the batch, not symmetric.
    samples: ClassVar[int] = 1

    def __init__(self):
        self.num_tasks = None
        # A Keras layer only holds the variables: Keras knows how to save and restore those.
        self.state = keras.layers.Layer(name="balancer")

    @property
    def built(self) -> bool:
        """Whether the number of tasks is known."""
        return self.num_tasks is not None

    def build(self, num_tasks: int, dtype: str = "float32") -> None:
        """Makes the variables for `num_tasks` tasks; once.

        Raises:
            ValueError: when built for another number of tasks, or when arguments of the
                rule, such as a preference, have another length.
        """
        if self.built:
            if num_tasks != self.num_tasks:
                raise ValueError(
                    f"This {type(self).__name__} was built for {self.num_tasks} tasks; use a "
                    f"new one. Received: {num_tasks} tasks"
                )
            return
        self.make_state(num_tasks, dtype)
        self.state.built = True
        self.num_tasks = num_tasks

    def make_state(self, num_tasks: int, dtype: str) -> None:
        """Checks arguments against the number of tasks and adds variables, where needed."""

    def add_variable(
        self,
        name: str,
        shape: tuple[int, ...],
        initializer: Any = "zeros",
        dtype: str = "float32",
        trainable: bool = False,
    ) -> keras.Variable:
        """A variable of the rule; a trainable one is trained by the model's optimizer."""
        return self.state.add_weight(
            name=name,
            shape=shape,
            initializer=initializer,
            dtype=dtype,
            trainable=trainable,
            autocast=False,
            # Replicas compute the same value.
            aggregation="only_first_replica",
        )

    def add_draws(self, seed: int | None) -> keras.random.SeedGenerator:
        """A generator for `keras.random`, which goes on where a saved one stopped.

        Keras saves no seed generator: its place in the sequence is a variable of the rule.
        """
        draws = keras.random.SeedGenerator(seed)
        place = self.add_variable("draws", tuple(draws.state.shape), dtype=draws.state.dtype)
        place.assign(draws.state)
        draws.state = place
        return draws

    def end_epoch(self) -> None:
        """Called after each epoch of a fit."""

    def get_config(self) -> dict:
        """Constructor arguments."""
        return {}

    def __repr__(self):
        arguments = ", ".join(f"{key}={value!r}" for key, value in self.get_config().items())
        return f"{type(self).__name__}({arguments})"

    @classmethod
    def from_config(cls, config: dict) -> "Balancer":
        """The inverse of `get_config`."""
        return cls(**config)


class LossBalancer(Balancer):
    """A rule that sees the losses alone; a step costs what a plain step costs.

    A rule states `weigh`, and `combine` too where the total is not a weighted sum with
    constant weights.
    """

    family = "loss"

    def total(self, losses: Any) -> Any:
        """The scalar to minimise, differentiable in the losses and the rule's own weights.

        NaN when a loss is not finite.

        Args:
            losses: task losses, (K,).
        """
        losses = self._read(losses)
        usable, present, fault = _usable(losses)
        # A product, so that the gradient is NaN too, and a loss scaler skips the step.
        return self.combine(usable, present) + fault * ops.sum(losses)

    def weights(self, losses: Any) -> Any:
        """What multiplies each task's gradient, (K,): the derivative of `total`.

        NaN when a loss is not finite.

        Args:
            losses: task losses, (K,).
        """
        usable, present, fault = _usable(self._read(losses))
        return ops.where(present, self.weigh(usable, present), ops.zeros_like(usable)) + fault

    def combine(self, losses: Any, present: Any) -> Any:
        """The total of the tasks that are present; the weights are constants."""
        weights = ops.where(present, self.weigh(losses, present), ops.zeros_like(losses))
        return ops.sum(ops.stop_gradient(weights) * losses)

    def weigh(self, losses: Any, present: Any) -> Any:
        """Weights (K,) from losses (K,); `present` (K,) says which tasks take part."""
        raise NotImplementedError

    def _read(self, losses):
        losses = _tensor(losses)
        if len(losses.shape) != 1:
            raise ValueError(f"`losses` must be (K,). Received: shape {tuple(losses.shape)}")
        self.build(losses.shape[0], _dtype(losses))
        return losses


class GramianBalancer(Balancer):
    """A rule that sees G = J J^T, the inner products of the tasks' gradients.

    The update of the shared variables is J^T w. A rule states `solve`.
    """

    family = "gramian"
    # Whether at the rule's solution w nothing but G w matters: then a Gramian that is right along
    # w is enough.
    matrix_free: ClassVar[bool] = False

    def weights(self, gramian: Any, losses: Any = None) -> Any:
        """Weights of the tasks' gradients, (K,); NaN when the Gramian is not finite.

        Args:
            gramian: (K, K), symmetric unless the rule has `samples` 2.
            losses: task losses, (K,), for the rules that need them.

        Raises:
            ValueError: for another shape, or when the rule needs losses and has none.
        """
        gramian = _tensor(gramian)
        shape = tuple(gramian.shape)
        if len(shape) != 2 or shape[0] != shape[1]:
            raise ValueError(f"`gramian` must be (K, K). Received: shape {shape}")
        self.build(shape[0], _dtype(gramian))
        losses = _losses(self, losses, shape[0], gramian.dtype)
        present = ops.diagonal(gramian) > 0
        if self.samples == 2:
            # The halves of one task may disagree, or one may have no label.
            present = ops.any(gramian != 0, axis=0) | ops.any(gramian != 0, axis=1)
        # No solver meets a NaN, none loops on it: it comes back in the weights. State waits.
        finite = _finite(gramian, losses)
        gramian = ops.where(finite, gramian, ops.eye(shape[0], dtype=gramian.dtype))
        present = present & finite
        weights = ops.where(present, self.solve(gramian, present, losses), 0.0)
        return ops.where(finite, ops.cast(weights, gramian.dtype), float("nan"))

    def solve(self, gramian: Any, present: Any, losses: Any) -> Any:
        """Weights (K,) from a finite Gramian; `present` (K,) says which rows are not zero."""
        raise NotImplementedError


class JacobianBalancer(Balancer):
    """A rule that needs the tasks' gradients themselves; states `aggregate`."""

    family = "jacobian"
    # Whether its state has the size of the gradients, which then has to stay the same.
    keeps_rows: ClassVar[bool] = False

    def direction(self, jacobian: Any, losses: Any = None) -> Any:
        """The update of the shared variables, (P,); NaN when a gradient is not finite.

        Args:
            jacobian: the tasks' gradients, (K, P).
            losses: task losses, (K,), for the rules that need them.

        Raises:
            ValueError: for another shape, or when the rule needs losses and has none.
        """
        jacobian = _tensor(jacobian)
        shape = tuple(jacobian.shape)
        if len(shape) != 2:
            raise ValueError(f"`jacobian` must be (K, P). Received: shape {shape}")
        self.build(shape[0], _dtype(jacobian), shape[1])
        losses = _losses(self, losses, shape[0], jacobian.dtype)
        # A step that is skipped for its overflow must not stay in a running mean.
        finite = _finite(jacobian, losses)
        jacobian = ops.where(finite, jacobian, ops.zeros_like(jacobian))
        present = ops.any(jacobian != 0, axis=1)
        direction = self.aggregate(jacobian, present, losses)
        return ops.where(finite, direction, float("nan"))

    def build(self, num_tasks: int, dtype: str = "float32", size: int | None = None) -> None:
        """Makes the variables for `num_tasks` gradients of `size` entries; once.

        Raises:
            ValueError: when built for others; without `size`, where the rule keeps gradients.
        """
        if self.keeps_rows and size is None:
            raise ValueError(
                f"`size` must be the number of entries of a gradient, which {type(self).__name__} "
                "keeps. Received: size=None"
            )
        if self.keeps_rows and self.built and size != self.size:
            raise ValueError(
                f"This {type(self).__name__} was built for gradients of {self.size} entries; "
                f"use a new one. Received: {size}"
            )
        self.size = size
        super().build(num_tasks, dtype)

    def aggregate(self, jacobian: Any, present: Any, losses: Any) -> Any:
        """The direction (P,); `present` (K,) says which rows are not zero."""
        raise NotImplementedError


def _tensor(value):
    tensor = ops.convert_to_tensor(value)
    # Numbers without a type of their own get Keras's; arrays keep float32 or float64.
    return tensor if _dtype(tensor) in ("float32", "float64") else ops.cast(tensor, "float32")


def _dtype(tensor):
    return keras.backend.standardize_dtype(tensor.dtype)


def _usable(losses):
    """Finite losses, which of them take part, and NaN when a loss was not finite, else 0."""
    finite = ops.all(ops.isfinite(losses))
    usable = ops.where(finite, losses, ops.zeros_like(losses))
    fault = ops.cast(ops.where(finite, 0.0, float("nan")), losses.dtype)
    return usable, usable != 0, fault


def _finite(gradients, losses):
    finite = ops.all(ops.isfinite(gradients))
    return finite if losses is None else finite & ops.all(ops.isfinite(losses))


def _losses(balancer, losses, count, dtype):
    if losses is None:
        if "losses" in balancer.needs:
            raise ValueError(f"{type(balancer).__name__} needs `losses`. Received: losses=None")
        return None
    losses = ops.cast(_tensor(losses), dtype)
    if tuple(losses.shape) != (count,):
        raise ValueError(f"`losses` must be ({count},). Received: shape {tuple(losses.shape)}")
    return losses
