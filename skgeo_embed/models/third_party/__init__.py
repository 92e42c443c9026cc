"""Third-party encoders: for each its network, and how that is built from a file's tensors."""
