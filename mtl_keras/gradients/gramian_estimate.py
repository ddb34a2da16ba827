"""An estimate of the Gramian that is right where a rule looks, from one product G w."""

from typing import Any

from keras import ops

# Added to the diagonal at the forks, as a share of it: rows that are dependent there need not be
# so in the parameters, and along a combination of length 0 nothing could be learned.
RIDGE = 0.05
# A smaller share of a squared length is rounding.
NOISE = 1e-4


def guessed(at_forks: Any) -> Any:
    """The first guess at G: the Gramian of the gradients at the forks, with a ridge.

    Args:
        at_forks: (K, K), known for each batch without any pass through the trunk; 0 in the rows
            of tasks that are not in it.
    """
    return at_forks + RIDGE * ops.diag(ops.diagonal(at_forks))


def corrected(guess: Any, weights: Any, product: Any, kept: tuple[Any, Any] | None = None) -> Any:
    """B with B w = G w, near s guess, where s makes the guess right about w'Gw.

    The update that quasi-Newton methods make to a Hessian (Broyden, Fletcher, Goldfarb, Shanno
    1970): it keeps B positive definite, and commutes with a change of the rows' units. The
    error of a rule's weights for B is of second order where the rule depends on G w alone at
    its solution w, and these are near it. Where w or G w is 0 the guess is returned.

    Args:
        guess: (K, K).
        weights: w, (K,).
        product: G w, (K,).
        kept: v and G v of an earlier correction. B v = G v then stays, s is 1, and only what is
            conjugate to v in w is learned.
    """
    least = 0.0
    if kept is not None:
        least = NOISE * ops.stack(
            [ops.sum(weights * (guess @ weights[:, None])[:, 0]), ops.sum(weights * product)]
        )
        share = _ratio(ops.sum(kept[0] * product), ops.sum(kept[0] * kept[1]))
        weights, product = weights - share * kept[0], product - share * kept[1]
    before = (guess @ weights[:, None])[:, 0]
    lengths = ops.stack([ops.sum(weights * before), ops.sum(weights * product)])
    learns = ops.all(lengths > least)
    was, found = ops.unstack(ops.where(learns, lengths, 1.0))
    # Roots first: squares of long gradients overflow.
    moved = guess - _square(before / ops.sqrt(was))
    moved = moved * (found / was) if kept is None else moved
    return ops.where(learns, moved + _square(product / ops.sqrt(found)), guess)


def _ratio(part, whole):
    return ops.where(whole > 0, part / ops.where(whole > 0, whole, 1.0), 0.0)


def _square(vector):
    return vector[:, None] * vector[None, :]
