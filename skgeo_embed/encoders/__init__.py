"""Transformers of places and of images, one a file."""
