"""Files that are no model, for every encoder that opens one, and one that runs code."""

import io
import pickle
import zipfile

import torch

from skgeo_embed.nn.location import LocationEncoder


def write_bytes(path, content):
    path.write_bytes(content)
    return path


def write_torch(path, content):
    torch.save(content, path)
    return path


def checkpoint(**changes):
    """Make a small SatCLIP checkpoint."""
    torch.manual_seed(0)
    module = LocationEncoder(4, 5, 6).eval()
    state = {f"model.location.{key}": value for key, value in module.state_dict().items()}
    hyper = {"le_type": "sphericalharmonics", "legendre_polys": 4, "embed_dim": 5}
    return {"state_dict": state, "hyper_parameters": hyper, **changes}


def to_bytes(content):
    buffer = io.BytesIO()
    torch.save(content, buffer)
    return buffer.getvalue()


def other_zip():
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as file:
        file.writestr("archive/hello.txt", "hello")
    return buffer.getvalue()


def flipped(content, first, step=1):
    """Turn the bits of every `step`-th byte."""
    damaged = bytearray(content)
    for position in range(first, len(damaged), step):
        damaged[position] ^= 0xFF
    return bytes(damaged)


WHOLE = to_bytes(checkpoint())
NO_CHECKPOINTS = {  # contents of files that no encoder can open
    "empty": b"",
    "text": b"hello",
    "web page": b"<!DOCTYPE html><html></html>",
    "git-lfs pointer": b"version https://git-lfs.github.com/x",
    "numpy file": b"\x93NUMPY\x01\0v\0",
    "HDF5": b"\x89HDF\r\n\x1a\n" + b"\0" * 100,
    "pickle": pickle.dumps({"state_dict": {}}),
    "pickle protocol 0": pickle.dumps([1, 2], 0),
    "pickle cut": pickle.dumps(list(range(99)))[:20],
    "another zip": other_zip(),
    "zip cut": WHOLE[: len(WHOLE) // 2],
    "zip cut at its end": WHOLE[:-5],
    "zip with bits turned": flipped(WHOLE, 60, 97),
    "zip with its directory turned": flipped(WHOLE, len(WHOLE) - 60),
    "half a zip after text": b"x" * 50 + b"PK\x05\x06" + b"\0" * 18,
}


class Payload:
    """Writes to a file when it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return exec, (f"open({str(self.path)!r}, 'w').close()",)


def open_with_code(encoder, path):
    """Open a file whose pickle runs code; it must not run."""
    mark = path.with_name("the-code-ran")
    write_torch(path, {"state_dict": Payload(mark), "params": Payload(mark)})
    try:
        return encoder(path).fit()
    finally:
        if mark.exists():
            raise SystemError("the pickle's code ran")
