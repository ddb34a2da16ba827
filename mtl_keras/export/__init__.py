"""Models for serving: what is written, `part.py`, and how, one format a file.

`MultiTaskModel.export` is the way in.
"""
