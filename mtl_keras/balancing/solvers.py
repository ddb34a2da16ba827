"""Small problems of K tasks, solved where the tensors are: quadratic programs and fair roots.

All work on cosines, the Gramian of unit rows: a gradient a million times longer than another
costs no digit. A solution for the Gramian follows by dividing by the norms.
"""

import functools
from typing import Any

import keras
import numpy as np
from keras import ops

from mtl_keras.precision import wide


def epsilon(tensor: Any) -> float:
    """The distance from 1 to the next number of the tensor's type."""
    return float(np.finfo(keras.backend.standardize_dtype(tensor.dtype)).eps)


def unit_rows(gramian: Any, present: Any) -> tuple[Any, Any]:
    """Cosines (K, K) between the tasks' gradients and the gradients' norms (K,), both wide.

    A task that is not present has norm 1 and cosine 0 with every other.
    """
    gramian = wide(gramian)
    identity = ops.eye(gramian.shape[0], dtype=gramian.dtype)
    norms = ops.sqrt(ops.where(present, ops.diagonal(gramian), ops.ones_like(gramian[0])))
    both = present[:, None] & present[None, :]
    cosines = ops.where(both, gramian / norms[:, None] / norms[None, :], identity)
    # Rounding must leave neither a diagonal other than 1 nor a cosine beyond it.
    return ops.where(identity > 0, identity, ops.clip(cosines, -1.0, 1.0)), norms


def spectrum(cosines: Any, gramian: Any) -> tuple[Any, Any, Any]:
    """Eigenvalues (K,), ascending, eigenvectors (K, K), and below what an eigenvalue is noise.

    Dependent rows have eigenvalues of 0, which the rounding of `gramian` moves, up or down. An
    accelerator that multiplies in less than float32 moves them more: the lowest tells.
    """
    values, vectors = ops.eigh(cosines)
    expected = max(8 * epsilon(gramian) * gramian.shape[0] ** 0.5, 1e-12)
    lowest = -2 * values[0]
    return values, vectors, ops.where(lowest > expected, lowest, ops.full_like(lowest, expected))


def definite(cosines: Any, gramian: Any) -> Any:
    """`cosines` with the eigenvalues that are noise raised to the level of the noise.

    Independent rows come back untouched; dependent ones give a matrix that has a factorisation
    and a problem that has one solution, the shortest, up to rounding.
    """
    values, vectors, noise = spectrum(cosines, gramian)
    lift = ops.where(values < noise, noise - values, ops.zeros_like(values))
    return cosines + (vectors * lift) @ ops.transpose(vectors)


def nonnegative_minimum(matrix: Any, linear: Any, near: Any = None) -> Any:
    """argmin over s >= 0 of s'As/2 + q's, for many q at once.

    A primal-dual active set: solve for the free entries, exchange all that violate a condition,
    repeat. Exchanging everything may cycle; after three rounds without fewer violations a row
    exchanges only its last one, which ends (Kim and Park, 2011, Fast nonnegative matrix
    factorization: an active-set-like method). Most rows take one to four rounds.

    Args:
        matrix: A, (K, K), symmetric, positive definite, of about unit scale.
        linear: q, (R, K).
        near: (R, K), the solution of a problem much like this one, where there is one.

    Returns:
        s, (R, K).
    """
    rows, count = linear.shape
    places = ops.arange(count, dtype="int32")
    rounding = 4 * epsilon(matrix)
    # Rounds as they are cost little where numbers are few; what saves arithmetic costs compiling.
    entries = rows * count**2 if rows > 1 else 0

    def step(free, fewest, patience, solution, wrong):
        if entries > 200_000:
            solution = _solved_where_wrong(matrix, linear, free, solution, wrong)
        else:
            solution = _solved(matrix, linear, free, count)
        size = ops.sum(ops.abs(solution), axis=1, keepdims=True)
        slope = solution @ matrix + linear
        wrong = ops.where(
            free, solution < -rounding * size, slope < -rounding * (size + ops.abs(linear))
        )
        number = _number(wrong)
        fewer = number < fewest
        patience = ops.where(fewer, ops.full_like(patience, 3), patience - 1)
        last = ops.max(ops.where(wrong, places[None], -1), axis=1)
        exchanged = wrong & ((patience >= 0)[:, None] | (places[None] == last[:, None]))
        return free ^ exchanged, ops.where(fewer, number, fewest), patience, solution, wrong

    start = _likely_free(matrix, linear) if entries > 10_000 else linear < 0
    state = (
        start if near is None else near > 0,
        ops.full((rows,), count + 1, dtype="int32"),
        ops.full((rows,), 3, dtype="int32"),
        ops.zeros_like(linear),
        linear < float("inf"),
    )
    *_, solution, _ = ops.while_loop(
        lambda *state: ops.any(state[-1]), step, state, maximum_iterations=50 + 5 * count
    )
    return ops.where(solution > 0, solution, ops.zeros_like(solution))


def _number(flags):
    # A sum of int32 is int64 on JAX with x64 enabled, which no loop carries as int32.
    return ops.cast(ops.sum(ops.cast(flags, "int32"), axis=1), "int32")


def _likely_free(matrix, linear):
    """Entries that projected gradient descent with momentum leaves above 0, in float32.

    It goes on until its steps change few rows: a product of all rows with one matrix costs a
    hundredth of an exact round, of which a good start saves several.
    """
    matrix, linear = ops.cast(matrix, "float32"), ops.cast(linear, "float32")
    # No eigenvalue of the fourth power is larger than its sums of rows; those of the matrix
    # itself are further off, and steps would be shorter.
    square = matrix @ matrix
    largest = ops.max(ops.sum(ops.abs(square @ square), axis=1)) ** 0.25
    descent = ops.eye(linear.shape[1], dtype="float32") - matrix / largest
    shift = linear / largest

    def steps(solution, ahead, moving):
        start = solution
        for _ in range(8):
            before, solution = solution, ops.relu(ahead @ descent - shift)
            ahead = solution + 0.7 * (solution - before)
        return solution, ahead, ops.any((solution > 0) ^ (start > 0), axis=1)

    start = ops.relu(-shift)
    solution, *_ = ops.while_loop(
        lambda solution, ahead, moving: ops.mean(ops.cast(moving, "float32")) > 1 / 32,
        steps,
        (start, start, linear[:, 0] < float("inf")),
        maximum_iterations=12,
    )
    return solution > 0


def _solved_where_wrong(matrix, linear, free, solution, wrong):
    """`solution`, solved anew for the rows that are wrong; when many are, for all."""
    count = linear.shape[1]
    faults = _number(wrong)
    some = linear.shape[0] // 4 + 1

    def anew(linear, free):
        # Systems no larger than the row with the most free entries needs.
        sizes = (count // 3 + 1, 2 * count // 3 + 1, count)
        most = ops.max(_number(free))
        place = ops.cast(most > sizes[0], "int32") + ops.cast(most > sizes[1], "int32")
        branches = [functools.partial(_solved, size=size) for size in sizes]
        return ops.switch(place, branches, matrix, linear, free)

    def few():
        _, rows = ops.top_k(faults, some)
        part = anew(ops.take(linear, rows, axis=0), ops.take(free, rows, axis=0))
        return ops.scatter_update(solution, rows[:, None], part)

    return ops.cond(ops.sum(ops.cast(faults > 0, "int32")) <= some, few, lambda: anew(linear, free))


def _solved(matrix, linear, free, size):
    """The entries that are free, at most `size` a row, from their equations; the others 0."""
    count = linear.shape[1]
    if size == count:
        both = free[:, :, None] & free[:, None, :]
        systems = ops.where(both, matrix[None], ops.eye(count, dtype=matrix.dtype)[None])
        targets = ops.where(free, -linear, ops.zeros_like(linear))
        return ops.solve(systems, targets[:, :, None])[:, :, 0]
    keys, places = ops.top_k(ops.where(free, count - ops.arange(count, dtype="int32"), 0), size)
    # Where fewer are free, entries with equations of their own fill up: s = 0.
    places = ops.where(keys > 0, places, count + ops.arange(size, dtype="int32")[None])
    filled = ops.pad(matrix, ((0, size), (0, size))) + ops.diag(
        ops.cast(ops.arange(count + size) >= count, matrix.dtype)
    )
    pairs = places[:, :, None] * (count + size) + places[:, None, :]
    targets = ops.take_along_axis(ops.pad(-linear, ((0, 0), (0, size))), places, axis=1)
    found = ops.solve(ops.take(ops.reshape(filled, (-1,)), pairs), targets[:, :, None])[:, :, 0]
    rows = ops.broadcast_to(ops.arange(linear.shape[0], dtype="int32")[:, None], places.shape)
    padded = ops.scatter(ops.stack([rows, places], axis=-1), found, (linear.shape[0], count + size))
    return padded[:, :count]


def fair_root(matrix: Any, scales: Any, alpha: float) -> Any:
    """The b > 0 with A b = s (s / b)^(1/alpha), entry by entry; b = s where A is the identity.

    It minimises b'Ab/2 - sum h(b), h' being the right-hand side, which is convex: Newton's
    method gets there from anywhere when steps are short enough. The second derivative of h
    grows by at most (1 - t m)^(-1 - 1/alpha) along a step t u that shrinks no entry by more
    than the fraction t m; the longest t for which the slope surely stays downhill follows in
    closed form, and tends to 1.

    With alpha above 1 entries of b may differ by many orders of magnitude. Then y = A b is
    sought, which solves the same equation for the inverse of A and 1/alpha: the method is the
    same, and the inverse cancels.

    Args:
        matrix: A, (K, K), symmetric, positive definite, of about unit scale.
        scales: s, (K,), positive.
        alpha: positive.

    Returns:
        b, (K,).
    """
    identity = ops.eye(matrix.shape[0], dtype=matrix.dtype)
    strength = max(alpha, 1 / alpha)

    def product(vector):
        return (matrix @ vector[:, None])[:, 0]

    def root_of(values):
        return values if alpha <= 1 else scales * (scales / values) ** alpha

    def newton(values):
        root = root_of(values)
        if alpha <= 1:
            # Beyond 1e30 the right-hand side is nothing to A b; float32 ends at 1e38.
            ease = ops.clip((root / scales) ** (1 + strength), 0.0, 1e30)
            system = strength * identity + ease[:, None] * matrix
            return ops.solve(system, (root - ease * product(root))[:, None])[:, 0]
        system = identity + matrix * (strength * root / values)[None, :]
        return ops.solve(system, (product(root) - values)[:, None])[:, 0]

    def step(values, change, before):
        relative = newton(values) / values
        shrink = -ops.min(relative)
        shrink = ops.where(shrink > 1e-9, shrink, ops.full_like(shrink, 1e-9))
        length = -ops.expm1(-ops.log1p(shrink * strength) / strength) / shrink
        # Rounding must not take the longest allowed step, just short of 0, to 0.
        stride = ops.clip(length * relative, -0.99, float("inf"))
        return values * (1 + stride), strength * ops.max(ops.abs(relative)), change

    # Of all multiples of s the best.
    power = alpha / (1 + alpha)
    multiple = (ops.sum(scales**2) / ops.sum(scales * product(scales))) ** power
    start = scales * (multiple if alpha <= 1 else multiple ** (-1 / alpha))
    # The error after a step is the square of the step; where rounding keeps steps from becoming
    # that short, they stop shrinking.
    enough = epsilon(matrix) ** 0.5 / 8
    endless = ops.full_like(start[0], float("inf"))
    values, *_ = ops.while_loop(
        lambda _, change, before: (change > enough) & ((change < before) | (change > 0.25)),
        step,
        (start, endless, endless),
        maximum_iterations=100,
    )
    return root_of(values)


def best_worst(matrix: Any, linear: Any, rates: Any, radius: float) -> Any:
    """The x that maximises min_k (u_k.x + b_k) / c_k over |x| <= radius, u_k being unit vectors.

    x = sum_k s_k u_k with s >= 0: the shortest that reaches a level t solves a quadratic
    program, and its length is convex in t. Newton's method on t, from a level that is out of
    reach, comes down to the one where the length is the radius.

    Args:
        matrix: u_k.u_l, (K, K), symmetric, positive definite.
        linear: b, (K,), of about unit scale.
        rates: c, (K,), at least 0; 0: k takes no part, and b_k must be at least 0.
        radius: of the ball.

    Returns:
        s, (K,).
    """
    zero = ops.zeros_like(linear)
    counts = ops.where(rates > 0, rates, ops.ones_like(rates))
    highest = ops.where(rates > 0, (linear + radius) / counts, float("inf"))
    # Where no row takes part, any level will do.
    highest = ops.where(ops.any(rates > 0), ops.min(highest), zero[0])

    def shortest(level, near=None):
        near = None if near is None else near[None]
        solution = nonnegative_minimum(matrix, (linear - level * rates)[None], near)
        return solution[0], ops.sqrt(ops.sum(solution * (solution @ matrix)))

    def step(level, solution, length):
        slope = ops.sum(rates * solution) / length
        level = level - (length - radius) / slope
        return (level, *shortest(level, solution))

    _, solution, _ = ops.while_loop(
        lambda level, solution, length: length > radius + 16 * epsilon(matrix),
        step,
        (highest, *shortest(highest)),
        maximum_iterations=30,
    )
    return solution
