"""An HTTP server for a SavedModel, which speaks TensorFlow Serving's REST predict API.

From a request to its answer: `connection.py` (a client's patience is bounded), `application.py`
(routes; what is refused), `served_model.py` (a SavedModel in plain TensorFlow), `signature.py` (a
request's rows, and its answer), `tensor_format.py` (one input or output as JSON), `batcher.py`
(requests that wait are run together), `server.py` (start and stop). Beside them `limits.py`,
`refusal.py`, and `saved_model_folder.py` (where a SavedModel lies).

No file here imports Keras or `mtl_keras`: what is served may come from anywhere.
"""
