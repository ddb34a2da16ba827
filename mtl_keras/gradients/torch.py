"""Vector-Jacobian products on PyTorch: one graph, kept for all of them."""

from collections.abc import Callable
from typing import Any

import torch
from keras import ops


def vjp(function: Callable, variables: list, tensors: list, state: list) -> tuple:
    """Runs `function(tensors)`; see `mtl_keras.gradients.autodiff`."""
    copies = [tensor.detach().requires_grad_() for tensor in tensors]
    sources = [variable.value for variable in variables] + copies
    outputs, aux = function(copies)

    def pullback(cotangents: list, wanted: list[bool] | None = None) -> list:
        given = [i for i, c in enumerate(cotangents) if c is not None and outputs[i].requires_grad]
        asked = [i for i in range(len(sources)) if wanted is None or wanted[i]]
        gradients: list[Any] = [None] * len(sources)
        if given and asked:
            found = torch.autograd.grad(
                [outputs[i] for i in given],
                [sources[i] for i in asked],
                [cotangents[i] for i in given],
                retain_graph=True,
                # For a product of a product: pulled back along what itself is differentiated.
                create_graph=any(cotangents[i].requires_grad for i in given),
                allow_unused=True,
            )
            for i, gradient in zip(asked, found, strict=True):
                gradients[i] = gradient
        return gradients

    return outputs, aux, pullback


def cond(predicate: Any, first: Callable, second: Callable, state: list) -> Any:
    """`first()` or `second()`; see `mtl_keras.gradients.autodiff`."""
    return ops.cond(predicate, first, second)


def dense(gradient: Any) -> Any:
    """The gradient."""
    return gradient


def sum_over_replicas(tensors: list) -> list:
    """The tensors: Keras has no replicas on PyTorch."""
    return tensors


def num_replicas() -> int:
    """One."""
    return 1


def row_products(first: Any, second: Any) -> Any:
    """Scalar products of rows; see `mtl_keras.gradients.autodiff`."""
    return first @ second.T
