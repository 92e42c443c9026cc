"""Pretraining: the estimator, its recipe, and distillation; data, content and run have drawers."""
