"""Inference with frozen networks on many places or images: devices, batches, precision, grids."""
