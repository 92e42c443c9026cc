"""From features to predictions that can be trusted."""
