"""Embedding rasters: which tiles there are, and their pixels at places."""
