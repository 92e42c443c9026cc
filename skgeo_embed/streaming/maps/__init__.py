"""Maps: the values of a model at the cells of a grid, block after block, to files."""
