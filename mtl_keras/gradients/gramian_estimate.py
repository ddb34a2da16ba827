"""An estimate of the Gramian that one product a step keeps right where a rule looks."""

from typing import Any

import keras
from keras import ops

# Added to the diagonal at the representation, as a share of it: nearly dependent rows there need
# not be so in the parameters.
RIDGE = 0.05


class GramianEstimate:
    """B = L T L^T, which tracks G = J J^T from the products G w of the steps.

    L L^T is the Gramian of the gradients at the forks: known for each batch without any pass
    through the trunk, and often close to G. T is what the trunk makes of it, and starts as 1.
    Rules such as MGDA or Nash-MTL depend on G w alone at their solution w. So each step takes the
    rule's w for B, and corrects T so that B w = G w, by the update that quasi-Newton
    methods make to a Hessian (Broyden, Fletcher, Goldfarb, Shanno 1970): it keeps B positive
    definite. Where w comes to rest, it is the rule's answer for G itself.

    Args:
        num_tasks: K.
        state: the layer that holds the variables.
    """

    def __init__(self, num_tasks: int, state: keras.layers.Layer):
        options = {
            "dtype": "float32",
            "trainable": False,
            "autocast": False,
            "aggregation": "only_first_replica",
        }
        shape = (num_tasks, num_tasks)
        identity = keras.initializers.Identity()
        self._trunk = state.add_weight(name="trunk", shape=shape, initializer=identity, **options)
        self._begun = state.add_weight(name="begun", shape=(), initializer="zeros", **options)

    def predict(self, representation: Any) -> Any:
        """B for this batch, 0 in the rows of tasks that are not in it.

        Args:
            representation: the Gramian of the gradients at the forks, (K, K), float32.
        """
        present = ops.diagonal(representation) > 0
        self._both = present[:, None] & present[None, :]
        finite = ops.all(ops.isfinite(representation))
        identity = ops.eye(representation.shape[0])
        sizes = ops.where(finite & present, ops.diagonal(representation), 1.0)
        ridged = representation + RIDGE * ops.diag(sizes)
        # In units of the rows, so that lengths of 1000 : 1 cost no digit.
        units = ops.sqrt(sizes)
        cosines = ops.where(self._both & finite, ridged / _outer(units), identity)
        self._root = ops.cholesky(cosines) * units[:, None]
        estimate = self._root @ ops.convert_to_tensor(self._trunk) @ ops.transpose(self._root)
        estimate = ops.where(self._both, estimate, 0.0)
        return ops.where(finite, estimate, float("nan"))

    def correct(self, weights: Any, product: Any) -> None:
        """Makes T such that B w = G w in the rows of the tasks that are in this batch.

        Args:
            weights: w, (K,).
            product: G w, (K,).
        """
        trunk = ops.convert_to_tensor(self._trunk)
        along = (weights[None] @ self._root)[0]
        after = ops.solve_triangular(self._root, product[:, None], lower=True)[:, 0]
        before = (trunk @ along[:, None])[:, 0]
        was, found = ops.sum(along * before), ops.sum(along * after)
        # Along a direction without length there is nothing to learn.
        learns = (was > 0) & (found > 0) & ops.isfinite(was) & ops.isfinite(found)
        was, found = ops.where(learns, was, 1.0), ops.where(learns, found, 1.0)
        # The first product tells how long gradients are, beside what they are along w.
        first = ops.where(ops.convert_to_tensor(self._begun) > 0, 1.0, found / was)
        change = _outer(after) / found - first * _outer(before) / was
        moved = first * trunk + change
        self._trunk.assign(ops.where(learns, moved, trunk))
        self._begun.assign(ops.where(learns, 1.0, ops.convert_to_tensor(self._begun)))


def _outer(vector):
    return vector[:, None] * vector[None, :]
