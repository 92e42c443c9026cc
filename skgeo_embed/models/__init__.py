"""From a model's name to its weights: what can be named, where it lies, how it is read."""
