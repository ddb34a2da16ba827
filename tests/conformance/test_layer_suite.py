"""The layer suite passes good layers, and fails each broken one where it is broken."""

import dataclasses
import unittest

import keras
import numpy as np
import pytest

from conformance.broken_layers import (
    CannotBeCompiled,
    ChangesWithOpenBatch,
    CreatesWeightsInCall,
    DependsOnOtherRows,
    DestroysMask,
    DrawsFromNumpyInCall,
    ForgetsArgument,
    HardcodesSeed,
    HasDeadWeight,
    HasNanInputGradient,
    HasNanWeightGradient,
    HasWrongEquation,
    HasWrongGradient,
    IgnoresMask,
    InitialisesFromNumpy,
    KeepsPolicyFromChild,
    LeavesChildUnbuilt,
    LeavesPlainChildUnbuilt,
    LiesAboutShape,
    LosesWeightsOnSave,
    MixesMaskedSteps,
    NamesChildrenByCount,
    OverflowsFloat16,
    SharesInitializer,
    StoresHalfPrecision,
    TrainsDifferently,
    Unregistered,
    WorksEagerlyOnly,
)
from conformance.good_layers import (
    GOOD,
    MIXED,
    Linear,
    draw,
    linear_case,
    linear_statement,
    perceptron_case,
    sequence_case,
)
from conformance.layer_suite import LAYER_CHECKS, LayerCase, check_layer

BACKEND = keras.backend.backend()
NOT_RUN = {
    "tensorflow": set(),
    "jax": {"numerical_gradients"},
    "torch": {"numerical_gradients", "fit_step_jit", "saved_model"},
}[BACKEND]


@pytest.mark.parametrize("case", GOOD, ids=lambda case: case.name)
def test_a_good_layer_passes_every_point(case):
    assert set(check_layer(case)) == NOT_RUN | set(case.exempt)


@dataclasses.dataclass(frozen=True)
class Broken:
    """`points`: all that must fail, and no other; `message`: what the first of them says."""

    case: LayerCase
    points: tuple
    message: str


ZERO_ROW = draw(4, 5) * np.array([[0], [1], [1], [1]], "float32")
FILES = ("keras_file_round_trip", "weights_file_round_trip")
FIT = ("fit_step", "fit_step_jit")
# Torch runs everything eagerly: there the conversion only cuts the gradient.
TRACED = () if BACKEND == "torch" else ("symbolic_equals_eager", *FIT, "saved_model")

# JAX cannot create the missing weights while it traces the exported function.
TRACED_BUILD = ("saved_model",) if BACKEND == "jax" else ()

BROKEN = [
    Broken(
        linear_case(ForgetsArgument),
        ("config_round_trip", "json_round_trip", "keras_file_round_trip"),
        "get_config lacks ['scale']",
    ),
    Broken(
        linear_case(Unregistered),
        ("registration", "json_round_trip", "keras_file_round_trip"),
        "not registered with keras.saving",
    ),
    Broken(
        linear_case(LiesAboutShape),
        ("symbolic_equals_eager",),
        "compute_output_shape says (None, 4), the eager shape is (None, 3)",
    ),
    Broken(linear_case(HasDeadWeight), ("gradients",), "the gradient of ['unused'] is zero"),
    Broken(
        perceptron_case(LeavesChildUnbuilt),
        ("sublayers_built_by_build", "build_equals_call", *FILES, *TRACED_BUILD),
        "build leaves the sublayers ['out'] unbuilt",
    ),
    Broken(
        linear_case(LeavesPlainChildUnbuilt),
        ("sublayers_built_by_build",),
        "build leaves the sublayers ['plain'] unbuilt",
    ),
    Broken(
        linear_case(CreatesWeightsInCall),
        # Keras refuses to call such a layer at all.
        ("build_equals_call", *(set(LAYER_CHECKS) - {"registration", "sublayers_built_by_build"})),
        "cannot add new elements of state",
    ),
    Broken(
        linear_case(
            NamesChildrenByCount,
            expected=lambda weights, x: 2.0 * x @ next(iter(weights.values())),
        ),
        ("build_equals_call",),
        "a call makes ['dense",
    ),
    Broken(
        perceptron_case(KeepsPolicyFromChild),
        (*MIXED, "numerical_gradients"),
        "sublayer out has the policy float32",
    ),
    Broken(
        linear_case(StoresHalfPrecision),
        ("float32", *MIXED, "numerical_gradients"),
        "kernel is stored as float16",
    ),
    Broken(linear_case(OverflowsFloat16), ("mixed_float16",), "an output is not finite"),
    Broken(
        linear_case(DrawsFromNumpyInCall, training_differs=True),
        ("determinism",),
        "training outputs under one seed",
    ),
    Broken(
        linear_case(InitialisesFromNumpy), ("determinism",), "kernel differs under the same seed"
    ),
    Broken(
        linear_case(HardcodesSeed),
        ("determinism",),
        "kernel is the same in two instances without a seed",
    ),
    Broken(
        linear_case(
            SharesInitializer,
            expected=lambda weights, x: linear_statement(weights, x) + x @ weights["second"],
        ),
        ("determinism",),
        "second starts equal to kernel",
    ),
    Broken(
        linear_case(TrainsDifferently),
        ("determinism",),
        "training=True changes the outputs, but the case says training_differs=False",
    ),
    Broken(
        linear_case(Linear, training_differs=True, name="TrainsAlike"),
        ("determinism",),
        "training=True does not change the outputs",
    ),
    Broken(
        linear_case(HasWrongEquation),
        ("numpy_statement",),
        "against the NumPy statement: output 0 differs by up to 0.001",
    ),
    Broken(
        linear_case(
            HasNanWeightGradient,
            inputs=(ZERO_ROW,),
            expected=lambda weights, x: abs(linear_statement(weights, x)),
        ),
        ("gradients", "numerical_gradients", *FIT),
        "the gradient of ['kernel', 'float input 0'] is not finite",
    ),
    Broken(
        linear_case(
            HasNanInputGradient,
            inputs=(ZERO_ROW,),
            expected=lambda weights, x: (
                linear_statement(weights, x) + np.linalg.norm(x, axis=-1, keepdims=True)
            ),
        ),
        ("gradients", "numerical_gradients"),
        "the gradient of ['float input 0'] is not finite",
    ),
    Broken(
        linear_case(
            WorksEagerlyOnly, expected=lambda weights, x: linear_statement(weights, abs(x))
        ),
        ("gradients", "numerical_gradients", *TRACED),
        "WorksEagerlyOnly: gradients: ",
    ),
    Broken(
        sequence_case(IgnoresMask),
        ("masks",),
        "garbage at masked positions reaches the output",
    ),
    Broken(
        sequence_case(
            MixesMaskedSteps,
            expected=lambda weights, x: linear_statement(weights, x + x.mean(1, keepdims=True)),
        ),
        ("masks",),
        "garbage at masked positions reaches the output",
    ),
    Broken(linear_case(DestroysMask), ("masks",), "supports_masking is False"),
    Broken(
        linear_case(
            DependsOnOtherRows, expected=lambda weights, x: linear_statement(weights, x - x.mean(0))
        ),
        ("batch_invariance",),
        "first row on its own: output 0 differs",
    ),
    Broken(linear_case(LosesWeightsOnSave), FILES, "after loading the .keras file"),
]
if BACKEND != "torch":
    BROKEN.append(
        Broken(
            linear_case(ChangesWithOpenBatch),
            ("saved_model",),
            "the SavedModel: output 0 differs",
        )
    )
if BACKEND == "tensorflow":
    BROKEN += [
        Broken(linear_case(CannotBeCompiled), ("fit_step_jit",), "EagerPyFunc"),
        Broken(linear_case(HasWrongGradient), ("numerical_gradients",), "automatic slope"),
    ]


def _failures(case):
    failures = {}
    for point, check in LAYER_CHECKS.items():
        try:
            check(case)
        except AssertionError as error:
            failures[point] = str(error)
        except unittest.SkipTest:
            pass
    return failures


@pytest.mark.parametrize("broken", BROKEN, ids=lambda broken: broken.case.name)
def test_a_broken_layer_fails_where_it_is_broken(broken):
    failures = _failures(broken.case)
    assert set(failures) == set(broken.points) - NOT_RUN
    first = broken.points[0]
    assert failures[first].startswith(f"{broken.case.name}: {first}: ")
    assert broken.message in failures[first]


def test_every_point_has_a_layer_that_fails_it():
    telling = [set(b.points) for b in BROKEN if b.case.layer_class is not CreatesWeightsInCall]
    assert set().union(*telling) - NOT_RUN == set(LAYER_CHECKS) - NOT_RUN


# The suite's own interface


@pytest.mark.parametrize("check", LAYER_CHECKS)
def test_points_run_one_at_a_time(check):
    LAYER_CHECKS[check](linear_case(Linear))


def test_check_layer_raises_the_first_failure():
    with pytest.raises(AssertionError, match="ForgetsArgument: config_round_trip: "):
        check_layer(linear_case(ForgetsArgument))


def test_an_exempt_point_is_skipped_with_its_reason():
    case = linear_case(DestroysMask, exempt={"masks": "no time axis"})
    with pytest.raises(unittest.SkipTest, match="no time axis"):
        LAYER_CHECKS["masks"](case)


def test_an_exemption_from_an_unknown_point_is_refused():
    with pytest.raises(AssertionError, match="exempt names no point of the suite: \\['mask'\\]"):
        LAYER_CHECKS["masks"](linear_case(Linear, exempt={"mask": "misspelt"}))


def test_what_the_case_allows_is_not_a_failure():
    LAYER_CHECKS["gradients"](linear_case(HasDeadWeight, dead_gradients=("unused",)))
    LAYER_CHECKS["determinism"](linear_case(HardcodesSeed, fixed_weights=("kernel",)))
    LAYER_CHECKS["determinism"](linear_case(TrainsDifferently, training_differs=True))


def test_layers_in_the_config_are_copied_for_each_instance():
    case = linear_case(keras.layers.TimeDistributed, config={"layer": keras.layers.Dense(2)})
    assert case.new_layer().layer is not case.new_layer().layer
