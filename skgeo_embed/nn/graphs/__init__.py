"""Functions of torch tensors as graphs of ONNX's operators."""
