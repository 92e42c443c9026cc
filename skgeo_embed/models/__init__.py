"""Models, from a name to towers: what can be named, where its files are, how they are read."""
