"""How entries are trained: recipes, runs of them, and what the runs show together.

A recipe says what data, which builder with which arguments, and how long. A run is one training
with one seed, of the entry or of a baseline; a study is all runs of a recipe.
"""
