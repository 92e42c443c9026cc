"""The run behind a fit: its identity, options, checkpoints and training loop, and its files."""
