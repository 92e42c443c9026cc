"""From what a user passes to checked places: longitude and latitude in degrees, WGS84."""
