"""Training data: pairs of images and coordinates, views of images, cached features, batches."""
