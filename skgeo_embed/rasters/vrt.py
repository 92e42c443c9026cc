"""Checks VRTs, which describe rasters made of others, before GDAL follows them.

GDAL opens the sources of a VRT by any of its drivers, and no setting forbids that. So GDAL never
sees the file itself: it is read here, everything that is not known to be harmless is refused, each
source is checked, and GDAL gets a document made of the rest.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from skgeo_embed._errors import ImageError
from skgeo_embed.rasters.geotiff import check_geotiff, has_masks, is_address, opened_raster
from skgeo_embed.rasters.network import CURL, fetched, server_of, url_of

DEEPEST = 8  # levels of VRTs inside VRTs
MOST_LEVELS = 50  # of elements in each other; Python, and GDAL, walk through them by recursion
LARGEST = 2**26  # bytes of a VRT, with the VRTs inside
GTIFF = "GTIFF_DIR:1:"  # a prefix that only the GeoTIFF driver opens; it ignores masks
SOURCES = ("SourceFilename", "SourceDataset")
SYSTEMS = ("SRS", "SourceSRS", "TargetSRS")
UNUSED = ("OverviewList", "Overview")  # pixels are read as they are
PLAIN_DOMAINS = (None, "", "IMAGE_STRUCTURE")  # of metadata; others name files
KINDS = {"VRTWarpedDataset", "VRTWarpedRasterBand", "VRTSourcedRasterBand", "VRTDerivedRasterBand"}
ELEMENTS = """
    VRTDataset SRS GeoTransform GCPList GCP Metadata MDI BlockXSize BlockYSize VRTRasterBand
    MaskBand Description UnitType Offset Scale ColorInterp ColorTable Entry CategoryNames Category
    NoDataValue NodataValue HideNoDataValue Histograms HistItem HistMin HistMax BucketCount
    IncludeOutOfRange Approximate HistCounts SimpleSource ComplexSource AveragedSource
    KernelFilteredSource Kernel Size Coefs SourceFilename SourceBand SourceProperties SrcRect
    DstRect ScaleOffset ScaleRatio SrcMin SrcMax DstMin DstMax Exponent Clamp NODATA UseMaskBand
    LUT ColorTableComponent PixelFunctionType PixelFunctionArguments SourceTransferType
    GDALWarpOptions WarpMemoryLimit ResampleAlg WorkingDataType Option SourceDataset Transformer
    ApproxTransformer MaxError BaseTransformer GenImgProjTransformer SrcGeoTransform
    SrcInvGeoTransform DstGeoTransform DstInvGeoTransform ReprojectTransformer
    ReprojectionTransformer SourceSRS TargetSRS Options BandList BandMapping SrcNoDataReal
    SrcNoDataImag DstNoDataReal DstNoDataImag SrcAlphaBand DstAlphaBand Cutline CutlineBlendDist
"""
ATTRIBUTES = """
    subClass rasterXSize rasterYSize dataType band blockXSize blockYSize relativeToVRT relativetoVRT
    shared RasterXSize RasterYSize DataType BlockXSize BlockYSize xOff yOff xSize ySize domain key
    c1 c2 c3 c4 resampling dataAxisToSRSAxisMapping coordinateEpoch src dst name Pixel Line X Y Z Id
    Info normalized
"""


def is_vrt(path: str) -> bool:
    """Say whether a file or address is a VRT by its name."""
    before = path.partition("?")[0] if is_address(path) else path
    return before.lower().endswith(".vrt")


def checked_vrt(path: str, *, remote: bool, depth: int = 1) -> str:
    """Return a document that stands for a VRT and leads only to allowed files.

    Parameters
    ----------
    path : str
        A file, or an http or https address, whose sources must all be on the same server.
    remote : bool
        Whether sources may be at addresses.
    depth : int, default=1
        Level of the VRT among those that lead to it.

    Raises
    ------
    ImageError
        If it cannot be read, or leads to anything else.
    """
    if depth > DEEPEST:
        raise ImageError(
            f"{path} lies inside {DEEPEST} other VRTs, or in itself; pass its GeoTIFFs."
        )
    root = _parsed(path)
    _check_depth(root, path)
    _check_known(root, path)
    checked: dict[str, str] = {}
    length = 0
    for parent in root.iter():
        for element in parent:
            if element.tag not in SOURCES:
                continue
            source = _resolved(element, path, remote)
            if source not in checked:
                checked[source] = _safe(source, path, remote, depth)
            if GTIFF in checked[source]:
                _check_plain(parent, element, source, path)
            element.text = checked[source]
            element.attrib = {"relativeToVRT": "0"}
            length += len(checked[source])
            if length > LARGEST:
                raise ImageError(
                    f"{path} needs more than {LARGEST >> 20} MiB to describe its sources."
                )
    return ElementTree.tostring(root, encoding="unicode")


def files_of(document: str) -> Iterator[str]:
    """Yield the files on this disk that a checked document leads to."""
    for element in ElementTree.fromstring(document).iter():
        if element.tag not in SOURCES:
            continue
        source = element.text or ""
        if source.startswith("<"):
            yield from files_of(source)
        elif not source.startswith(GTIFF):
            yield source


class _WithoutDoctype(ElementTree.TreeBuilder):
    def doctype(self, *_: Any) -> None:
        raise ValueError("it declares a document type, and entities are not allowed")


def _parsed(path: str) -> ElementTree.Element:
    try:
        content = _fetched(path) if is_address(path) else _read(path)
        if len(content) > LARGEST:
            raise ImageError(f"{path} is a VRT of more than {LARGEST >> 20} MiB.")
        parser = ElementTree.XMLParser(target=_WithoutDoctype())
        parser.feed(content)
        root = parser.close()
    except ImageError:  # a ValueError too
        raise
    except (OSError, ValueError, ElementTree.ParseError) as error:
        raise ImageError(f"{path} cannot be read as a VRT: {error}.") from error
    if root.tag != "VRTDataset":
        raise ImageError(f"{path} cannot be read as a VRT: it begins with <{root.tag}>.")
    return root


def _check_depth(root: ElementTree.Element, path: str) -> None:
    level, depth = [root], 0
    while level := [child for element in level for child in element]:
        depth += 1
        if depth > MOST_LEVELS:
            raise ImageError(
                f"{path} cannot be read as a VRT: its elements lie in more than {MOST_LEVELS} "
                "others."
            )


def _read(path: str) -> bytes:
    with Path(path).open("rb") as file:
        return file.read(LARGEST + 1)


def _fetched(address: str) -> bytes:
    url = url_of(address)
    if url is None:
        raise ImageError(
            f"{address} is a VRT at an address that is not http or https; download it and pass the "
            "file, or pass its GeoTIFFs."
        )
    return fetched(url, most=LARGEST + 1, same_server=True)[0]


def _check_known(root: ElementTree.Element, path: str) -> None:
    for parent in root.iter():
        for element in list(parent):
            named = element.tag == "Metadata" and element.get("domain") not in PLAIN_DOMAINS
            if named or element.tag in UNUSED:
                parent.remove(element)
    elements, attributes = set(ELEMENTS.split()), set(ATTRIBUTES.split())
    for element in root.iter():
        odd = sorted(({element.tag} - elements) | (set(element.keys()) - attributes))
        odd += [kind for kind in [element.get("subClass")] if kind and kind not in KINDS]
        if element.tag in SOURCES and len(element):
            odd.append(element[0].tag)
        if odd:
            raise ImageError(
                f"{path} is a VRT with {odd[0]!r} in <{element.tag}>, which may lead to other "
                "files or servers; pass its GeoTIFFs, or convert it by gdal_translate."
            )
        text = (element.text or "").strip()
        if element.tag in SYSTEMS and text and not re.match(r"EPSG:\d+$|[A-Z_a-z0-9]+\[", text):
            raise ImageError(
                f"{path} is a VRT with <{element.tag}>{text[:60]}; write the coordinate reference "
                "system as WKT or EPSG code."
            )


def _resolved(element: ElementTree.Element, path: str, remote: bool) -> str:
    """Return the file or address of a source, after checking that it is allowed."""
    name = (element.text or "").strip()
    if "<" in name:  # GDAL takes it for a document itself
        raise ImageError(f"{path} contains another document, {name[:60]}; write that to a file.")
    relative = "1" in (element.get("relativeToVRT"), element.get("relativetoVRT"))
    if name.startswith(("http://", "https://")):
        name = CURL + name
    if is_address(path) and not is_address(name):
        if not relative or Path(name).is_absolute():
            raise ImageError(f"{path} is at an address, but leads to a file on this disk: {name}.")
        name = path.partition("?")[0].rpartition("/")[0] + "/" + name
        name = name if name.startswith(CURL) else CURL + name
    if not is_address(name):
        return str(Path(path).parent / name if relative else Path(name).absolute())
    if not name.startswith("/vsi"):
        raise ImageError(f"{path} leads to {name[:80]}, which is not the address of a GeoTIFF.")
    if not remote:
        raise ImageError(
            f"{path} leads to addresses or virtual files, such as {name[:80]}; pass remote=True to "
            "read over the network."
        )
    if is_address(path) and (not name.startswith(CURL) or server_of(name) != server_of(path)):
        raise ImageError(f"{path} leads to another server than its own: {name[:80]}.")
    return name


def _safe(source: str, path: str, remote: bool, depth: int) -> str:
    """Check a source, and return what GDAL gets in its place."""
    if is_vrt(source):
        return checked_vrt(source, remote=remote, depth=depth + 1)
    try:
        if is_address(source):
            with opened_raster(source):  # GDAL may read zeros of a source that it cannot open
                return GTIFF + source
        check_geotiff(source)
    except ImageError as error:
        raise ImageError(f"{path} leads to a file that is not a GeoTIFF: {error}") from error
    return source


def _check_plain(
    parent: ElementTree.Element, element: ElementTree.Element, source: str, path: str
) -> None:
    """Refuse masks of sources at addresses, and resampling: GDAL would open more files for them."""
    if element.tag == "SourceDataset":
        masked = False
        if not is_vrt(source):
            with opened_raster(source) as file:
                masked = has_masks(file)
    else:
        use = (parent.findtext("UseMaskBand") or "").strip().lower()
        masked = (parent.findtext("SourceBand") or "").strip().startswith("mask")
        masked |= use not in ("", "0", "false", "no", "off")
    if masked or not (element.tag == "SourceDataset" or _is_whole(parent)):
        what = "the mask" if masked else "pixels of another size"
        raise ImageError(
            f"{path} takes {what} of a source at an address, {source[:80]}; pass its GeoTIFFs as a "
            "list, or download them."
        )


def _is_whole(parent: ElementTree.Element) -> bool:
    """Say whether a source is read without resampling."""
    read, written = parent.find("SrcRect"), parent.find("DstRect")
    if read is None or written is None:
        return False
    try:
        sides = [[float(r.get(k, "nan")) for k in ("xSize", "ySize")] for r in (read, written)]
        starts = [float(r.get(k, "nan")) for r in (read, written) for k in ("xOff", "yOff")]
    except ValueError:
        return False
    return sides[0] == sides[1] and all(n.is_integer() for n in [*starts, *sides[0]])
