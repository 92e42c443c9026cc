"""skgeo_embed: learned features for longitude/latitude columns in scikit-learn pipelines."""

import lazy_loader

__version__ = "0.1.0"

# the names are in __init__.pyi; importing the package imports neither torch nor scikit-learn
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
