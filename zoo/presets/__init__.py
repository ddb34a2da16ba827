"""The entries of the zoo, a folder each: recipe, and what `zoo.save` wrote of the trained model."""
