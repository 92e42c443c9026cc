"""Pages to look at: one HTML file each, which needs neither a server nor a network."""
