"""Pretraining with Lightning: data sources, augmentation, the module, callbacks."""
