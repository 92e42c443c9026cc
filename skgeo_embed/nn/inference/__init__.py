"""Running frozen networks over many places or images: devices, batches, precision, grids."""
