"""Tables and grids larger than memory, to disk."""
