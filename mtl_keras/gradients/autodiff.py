"""Vector-Jacobian products of Keras code, and what goes with them, on every backend.

`vjp(function, variables, tensors, state)` runs `function(copies of tensors)`, which returns a list
of tensors and anything else. It gives back both, and `pullback(cotangents, wanted)`: the
gradients with respect to the variables, then the tensors. A cotangent may be None: that output
takes no part. `wanted` says for each source whether its gradient is asked for; what is not, or
does not depend on an output, may be None. `state` are the variables that the function may
assign.

`cond(predicate, first, second, state)` runs one of two functions, which may assign `state`.

`row_products(first, second)` are the scalar products of the rows of two matrices, (K, size) and
(K, size) to (K, K).
"""

import importlib

import keras

_backend = importlib.import_module(f"mtl_keras.gradients.{keras.backend.backend()}")

vjp = _backend.vjp
cond = _backend.cond
dense = _backend.dense
sum_over_replicas = _backend.sum_over_replicas
num_replicas = _backend.num_replicas
row_products = _backend.row_products
