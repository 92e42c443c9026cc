# The public names, once: type checkers read them here, and the package loads them from here when
# they are first used.
from . import (
    datasets as datasets,
)
from . import (
    inspection as inspection,
)
from . import (
    model_selection as model_selection,
)
from ._errors import (
    CoordinateError as CoordinateError,
)
from ._errors import (
    ImageError as ImageError,
)
from ._errors import (
    InvalidCoordinateWarning as InvalidCoordinateWarning,
)
from ._errors import (
    ModelAccessError as ModelAccessError,
)
from ._errors import (
    ModelDownloadError as ModelDownloadError,
)
from ._errors import (
    ModelFormatError as ModelFormatError,
)
from ._errors import (
    ModelNotFoundError as ModelNotFoundError,
)
from ._errors import (
    SkgeoEmbedError as SkgeoEmbedError,
)
from ._errors import (
    SwappedCoordinateWarning as SwappedCoordinateWarning,
)
from ._errors import (
    TrainingDivergedError as TrainingDivergedError,
)
from ._errors import (
    TrainingWarning as TrainingWarning,
)
from ._versions import show_versions as show_versions
from .encoders.climplicit import ClimplicitEncoder as ClimplicitEncoder
from .encoders.csp import CSPEncoder as CSPEncoder
from .encoders.geoclip import GeoCLIPEncoder as GeoCLIPEncoder
from .encoders.gps2vec import GPS2VecEncoder as GPS2VecEncoder
from .encoders.mind import MINDEncoder as MINDEncoder
from .encoders.positional import PositionalEncoder as PositionalEncoder
from .encoders.range_ import RANGEEncoder as RANGEEncoder
from .encoders.raster import RasterEncoder as RasterEncoder
from .encoders.satclip import SatCLIPEncoder as SatCLIPEncoder
from .encoders.satclip_image import SatCLIPImageEncoder as SatCLIPImageEncoder
from .encoders.sinr import SINREncoder as SINREncoder
from .encoders.torchspatial import TorchSpatialEncoder as TorchSpatialEncoder
from .encoders.tte import TTEEncoder as TTEEncoder
from .export import to_onnx as to_onnx
from .geolocation import ImageGeolocator as ImageGeolocator
from .prediction.applicability import AreaOfApplicability as AreaOfApplicability
from .prediction.comparison import compare_encoders as compare_encoders
from .prediction.intervals import SpatialConformalRegressor as SpatialConformalRegressor
from .prediction.pipeline import spatial_pipeline as spatial_pipeline
from .prediction.residuals import ResidualInterpolator as ResidualInterpolator
from .prediction.sets import SpatialConformalClassifier as SpatialConformalClassifier
from .pretraining.pretrainer import SatCLIPPretrainer as SatCLIPPretrainer
from .pretraining.recipe import Recipe as Recipe
from .streaming.fit_table import fit_table as fit_table
from .streaming.grid import encode_grid as encode_grid
from .streaming.predict_grid import predict_grid as predict_grid
from .streaming.predict_table import predict_table as predict_table
from .streaming.table import encode_table as encode_table

__version__: str
