"""Models for serving: what of a model, `part.py`, as what, `saved_model.py` and `portable.py`.

`exportable.py` has `export`, the way in.
"""
