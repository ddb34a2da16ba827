"""An estimate of the Gramian that is right where a rule looks, from one product G w."""

from typing import Any

from keras import ops

# Added to the diagonal at the forks, as a share of it: rows that are dependent there need not be
# so in the parameters, and along a combination of length 0 nothing could be learned.
RIDGE = 0.05


def guessed(at_forks: Any) -> Any:
    """The first guess at G: the Gramian of the gradients at the forks, with a ridge.

    Args:
        at_forks: (K, K), known for each batch without any pass through the trunk; 0 in the rows
            of tasks that are not in it.
    """
    return at_forks + RIDGE * ops.diag(ops.diagonal(at_forks))


def corrected(guess: Any, weights: Any, product: Any) -> Any:
    """B with B w = G w, near s guess, where s makes the guess right about w'Gw.

    The update that quasi-Newton methods make to a Hessian (Broyden, Fletcher, Goldfarb, Shanno
    1970): it keeps B positive definite, and commutes with a change of the rows' units. The
    error of a rule's weights for B is of second order where the rule depends on G w alone at
    its solution w, and these are near it. Where w or G w is 0 the guess is returned.

    Args:
        guess: (K, K).
        weights: w, (K,).
        product: G w, (K,).
    """
    before = (guess @ weights[:, None])[:, 0]
    lengths = ops.stack([ops.sum(weights * before), ops.sum(weights * product)])
    learns = ops.all(lengths > 0)
    was, found = ops.unstack(ops.where(learns, lengths, 1.0))
    # Roots first: squares of long gradients overflow.
    moved = (guess - _square(before / ops.sqrt(was))) * (found / was)
    return ops.where(learns, moved + _square(product / ops.sqrt(found)), guess)


def _square(vector):
    return vector[:, None] * vector[None, :]
