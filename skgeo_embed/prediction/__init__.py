"""Predictions from features: corrections, intervals, applicability, pipelines, comparisons."""
