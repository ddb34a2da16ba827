"""Rules of the loss level with arguments: each case makes a rule for a choice of tasks."""

import numpy as np

from mtl_keras import balancing

# One entry for each of 40 tasks; a case takes those of the tasks it is asked for.
PREFERENCE = np.random.default_rng(1).uniform(0.2, 3.0, 40)
BOUNDS = -np.random.default_rng(2).uniform(0.0, 2.0, 40)
KINDS = np.random.default_rng(3).permutation(["regression", "classification"] * 20)

# A tuple (name of the rule, what is special) -> a function of the tasks' indices.
CASES = {
    ("static_weights", "weights"): lambda t: balancing.StaticWeights(PREFERENCE[t]),
    ("hard_max", "preference"): lambda t: balancing.HardMax(PREFERENCE[t]),
    ("group_dro", "eager"): lambda t: balancing.GroupDRO(eta=1.0),
    ("stch", "no_warmup"): lambda t: balancing.SmoothTchebycheff(warmup_epochs=0),
    ("stch", "short_warmup"): lambda t: balancing.SmoothTchebycheff(
        mu=0.3, preference=PREFERENCE[t], warmup_epochs=2
    ),
    ("stch", "nadir"): lambda t: balancing.SmoothTchebycheff(
        nadir=1 + PREFERENCE[t], lower_bounds=BOUNDS[t]
    ),
    ("uw", "kinds"): lambda t: balancing.UncertaintyWeighting(KINDS[t].tolist()),
    ("rlw", "normal"): lambda t: balancing.RandomLossWeighting(seed=3),
    ("rlw", "uniform"): lambda t: balancing.RandomLossWeighting("uniform", seed=3),
    ("rlw", "dirichlet"): lambda t: balancing.RandomLossWeighting("dirichlet", seed=3),
    ("rlw", "one_hot"): lambda t: balancing.RandomLossWeighting("one_hot", seed=3),
    ("scheduled_weights", "linear"): lambda t: balancing.ScheduledWeights(
        [1, 2, 5], [PREFERENCE[t], 1 + PREFERENCE[t], PREFERENCE[t] ** 2]
    ),
    ("scheduled_weights", "constant"): lambda t: balancing.ScheduledWeights(
        [0, 3], [PREFERENCE[t], 1 + PREFERENCE[t]], interpolation="constant"
    ),
    ("log", "bounds"): lambda t: balancing.LogScalarization(PREFERENCE[t], BOUNDS[t]),
    ("famo", "bounds"): lambda t: balancing.FAMO(gamma=0.0, lower_bounds=BOUNDS[t]),
    ("cosmos", "preference"): lambda t: balancing.COSMOS(PREFERENCE[t], penalty=0.5),
    ("pbi", "preference"): lambda t: balancing.PenaltyBoundaryIntersection(
        PREFERENCE[t], theta=0.7, lower_bounds=BOUNDS[t]
    ),
}

# Draws at random have no order of tasks to keep, and a seed of their own without one.
RANDOM = {"rlw"}


def all_cases():
    """Each rule of the family as its name makes it, and with arguments."""
    names = [info.name for info in balancing.available() if info.family == "loss"]
    plain = {(name, "default"): lambda t, name=name: balancing.get(name) for name in names}
    return {key: make for key, make in (plain | CASES).items() if key != ("rlw", "default")}
