"""Torch modules: encodings, networks, towers, the loss and the inference engine.

Nothing in here opens a file, uses the network or knows scikit-learn.
"""
