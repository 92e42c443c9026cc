"""Vision towers: networks that map an image to an embedding."""
