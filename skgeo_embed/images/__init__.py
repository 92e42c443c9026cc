"""From what a user passes to checked images: (n, bands, height, width), scaled."""
