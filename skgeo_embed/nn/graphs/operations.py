"""Operations of torch in nodes of ONNX."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from skgeo_embed.nn.graphs.names import TensorNames

aten = torch.ops.aten
Names = str | list[str]
LAST = np.iinfo(np.int64).max


def _elementwise(operator: str, to: TensorNames, result: Tensor, *values: Any, **_: Any) -> str:
    return getattr(to.graph, operator)(*to.several(values, result.dtype))


def _sum(operator: str, to: TensorNames, result: Tensor, a: Any, b: Any, alpha: Any = 1) -> str:
    second = to.tensor(b, result.dtype)
    if alpha != 1:
        second = to.graph.Mul(second, to.tensor(alpha, result.dtype))
    return getattr(to.graph, operator)(to.tensor(a, result.dtype), second)


def _difference_from(to: TensorNames, result: Tensor, a: Any, b: Any, alpha: Any = 1) -> str:
    return _sum("Sub", to, result, b, a, alpha)


def _comparison(operator: str, to: TensorNames, result: Tensor, a: Any, b: Any) -> str:
    dtype = torch.result_type(a, b)
    if operator != "NotEqual":
        return getattr(to.graph, operator)(*to.several((a, b), dtype))
    return to.graph.Not(to.graph.Equal(*to.several((a, b), dtype)))


def _logical(
    on_booleans: str, on_numbers: str, to: TensorNames, result: Tensor, a: Any, b: Any
) -> str:
    operator = on_booleans if result.dtype == torch.bool else on_numbers
    return getattr(to.graph, operator)(*to.several((a, b), result.dtype))


def _shift(direction: str, to: TensorNames, result: Tensor, a: Any, b: Any) -> str:
    """Shift integers that are not negative."""
    shifted = to.graph.BitShift(*to.several((a, b), torch.uint32), direction=direction)
    return to.cast(shifted, result.dtype)


def _remainder(to: TensorNames, result: Tensor, a: Any, b: Any) -> str:
    first, second = to.several((a, b), result.dtype)
    if not result.is_floating_point():
        return to.graph.Mod(first, second)
    whole = to.graph.Floor(to.graph.Div(first, second))
    return to.graph.Sub(first, to.graph.Mul(whole, second))


def _floor_divide(to: TensorNames, result: Tensor, a: Any, b: Any) -> str:
    first, second = to.several((a, b), result.dtype)
    if result.is_floating_point():
        return to.graph.Floor(to.graph.Div(first, second))
    return to.graph.Div(to.graph.Sub(first, to.graph.Mod(first, second)), second)


def _clamp(to: TensorNames, result: Tensor, x: Tensor, low: Any = None, high: Any = None) -> str:
    name = to.tensor(x, result.dtype)
    if high is not None:
        name = to.graph.Min(name, to.tensor(high, result.dtype))
    return name if low is None else to.graph.Max(name, to.tensor(low, result.dtype))


def _where(to: TensorNames, result: Tensor, condition: Tensor, a: Any, b: Any) -> str:
    return to.graph.Where(to.tensor(condition, torch.bool), *to.several((a, b), result.dtype))


def _leaky_relu(to: TensorNames, result: Tensor, x: Tensor, slope: float = 0.01) -> str:
    name, zero = to.several((x, 0.0), result.dtype)
    below = to.graph.Mul(name, to.tensor(slope, result.dtype))
    return to.graph.Where(to.graph.Greater(name, zero), name, below)


def _elu(
    to: TensorNames, result: Tensor, x: Tensor, alpha: float = 1, scale: float = 1, rise: float = 1
) -> str:
    name, zero, one = to.several((x, 0.0, 1.0), result.dtype)
    grown = to.graph.Sub(to.graph.Exp(to.graph.Mul(name, to.tensor(rise, result.dtype))), one)
    below = to.graph.Mul(grown, to.tensor(alpha * scale, result.dtype))
    above = to.graph.Mul(name, to.tensor(scale, result.dtype))
    return to.graph.Where(to.graph.Greater(name, zero), above, below)


def _gelu(to: TensorNames, result: Tensor, x: Tensor, approximate: str = "none") -> str:
    graph, name = to.graph, to.tensor(x)

    def number(value: float) -> str:
        return to.tensor(value, result.dtype)

    if approximate == "none":  # onnxruntime has the error function in single precision
        inside = to.cast(graph.Mul(name, number(math.sqrt(0.5))), torch.float32)
        share = to.cast(graph.Erf(inside), result.dtype)
    else:
        cube = graph.Mul(graph.Mul(name, name), graph.Mul(name, number(0.044715)))
        share = graph.Tanh(graph.Mul(graph.Add(name, cube), number(math.sqrt(2 / math.pi))))
    return graph.Mul(graph.Mul(name, number(0.5)), graph.Add(share, number(1.0)))


def _silu(to: TensorNames, result: Tensor, x: Tensor) -> str:
    return to.graph.Mul(to.tensor(x), to.graph.Sigmoid(to.tensor(x)))


def _sinh(to: TensorNames, result: Tensor, x: Tensor) -> str:
    name, half = to.several((x, 0.5), result.dtype)
    grown, shrunk = to.graph.Exp(name), to.graph.Exp(to.graph.Neg(name))
    return to.graph.Mul(to.graph.Sub(grown, shrunk), half)


def _product(to: TensorNames, result: Tensor, a: Tensor, b: Tensor) -> str:
    return to.graph.MatMul(to.tensor(a), to.tensor(b))


def _sum_and_product(
    to: TensorNames, result: Tensor, c: Tensor, a: Tensor, b: Tensor, *, beta: float = 1,
    alpha: float = 1,
) -> str:  # fmt: skip
    return to.graph.Gemm(*to.several((a, b, c), result.dtype), alpha=float(alpha), beta=float(beta))


def _reduce(
    operator: str, to: TensorNames, result: Tensor, x: Tensor, axes: Any = None, keep: bool = False,
    **_: Any,
) -> str:  # fmt: skip
    axes = [axes] if isinstance(axes, int) else axes
    names = [to.tensor(x, result.dtype)] + ([np.array(axes)] if axes else [])
    return getattr(to.graph, operator)(*names, keepdims=int(keep))


def _norm(
    to: TensorNames, result: Tensor, x: Tensor, order: float = 2, axes: Any = None,
    keep: bool = False, **_: Any,
) -> str:  # fmt: skip
    if order != 2:
        raise TypeError(f"to_onnx cannot export a network that uses a norm of order {order}.")
    name = to.tensor(x, result.dtype)
    square = to.graph.ReduceSum(
        to.graph.Mul(name, name), *([np.array(axes)] if axes else []), keepdims=int(keep)
    )
    return to.graph.Sqrt(square)


def _cumulated(to: TensorNames, result: Tensor, x: Tensor, axis: int, **_: Any) -> str:
    return to.graph.CumSum(to.tensor(x, result.dtype), np.array(axis))


def _softmax(to: TensorNames, result: Tensor, x: Tensor, axis: int, *_: Any) -> str:
    return to.graph.Softmax(to.tensor(x, result.dtype), axis=axis)


def _layer_norm(
    to: TensorNames,
    result: Any,
    x: Tensor,
    shape: Sequence[int],
    weight: Any,
    bias: Any,
    epsilon: float,
) -> str:
    weight = torch.ones(shape) if weight is None else weight
    parts = [weight] if bias is None else [weight, bias]
    names = to.several((x, *parts), x.dtype)
    return to.graph.LayerNormalization(*names, axis=-len(shape), epsilon=epsilon)


def _batch_norm(
    to: TensorNames, result: Any, x: Tensor, weight: Any, bias: Any, mean: Tensor, variance: Tensor,
    *options: Any,
) -> str:  # fmt: skip
    if len(options) == 3 and options[0]:
        raise TypeError("to_onnx cannot export a network in training: call its method eval.")
    weight = torch.ones_like(mean) if weight is None else weight
    bias = torch.zeros_like(mean) if bias is None else bias
    names = to.several((x, weight, bias, mean, variance), x.dtype)
    return to.graph.BatchNormalization(*names, epsilon=options[-1])


def _view(to: TensorNames, result: Tensor, x: Tensor, *_: Any) -> str:
    return to.graph.Reshape(to.tensor(x), to.sizes_to_fill(result.shape))


def _expand(to: TensorNames, result: Tensor, x: Tensor, *_: Any, **__: Any) -> str:
    return to.graph.Expand(to.tensor(x, result.dtype), to.shape(result.shape))


def _permute(to: TensorNames, result: Tensor, x: Tensor, order: Sequence[int]) -> str:
    return to.graph.Transpose(to.tensor(x), perm=[axis % x.ndim for axis in order])


def _transpose(to: TensorNames, result: Tensor, x: Tensor, first: int = 0, second: int = 1) -> str:
    order = list(range(x.ndim))
    if len(order) > 1:
        order[first], order[second] = order[second], order[first]
    return to.graph.Transpose(to.tensor(x), perm=order)


def _unsqueeze(to: TensorNames, result: Tensor, x: Tensor, axis: int) -> str:
    return to.graph.Unsqueeze(to.tensor(x), np.array([axis]))


def _squeeze(to: TensorNames, result: Tensor, x: Tensor, axis: Any) -> str:
    if result.ndim == x.ndim:
        return to.tensor(x)
    return to.graph.Squeeze(to.tensor(x), np.array([axis] if isinstance(axis, int) else axis))


def _slice(
    to: TensorNames, result: Tensor, x: Tensor, axis: int = 0, start: Any = None, end: Any = None,
    step: int = 1,
) -> str:  # fmt: skip
    size = x.shape[axis]
    end = LAST if end is None or end >= size else end
    if (start or 0) == 0 and end == LAST and step == 1:
        return to.tensor(x)
    bounds = [np.array([value]) for value in (start or 0, end, axis, step)]
    return to.graph.Slice(to.tensor(x), *bounds)


def _slice_replaced(
    to: TensorNames, result: Tensor, x: Tensor, source: Tensor, axis: int = 0, start: Any = None,
    end: Any = None, step: int = 1,
) -> str:  # fmt: skip
    if step != 1:
        raise TypeError("to_onnx cannot export a network that writes to every other element.")
    first, size = start or 0, x.shape[axis]
    first = first + size if first < 0 else first
    before = _slice(to, result, x, axis, 0, first) if first else ""
    last = first + source.shape[axis]
    after = _slice(to, result, x, axis, last) if last < size else ""
    parts = [name for name in (before, to.tensor(source, result.dtype), after) if name]
    return parts[0] if len(parts) == 1 else to.graph.Concat(*parts, axis=axis % x.ndim)


def _select_replaced(
    to: TensorNames, result: Tensor, x: Tensor, source: Tensor, axis: int, number: int
) -> str:
    number, axis = number % x.shape[axis], axis % x.ndim
    parts = [to.graph.Unsqueeze(to.tensor(source, result.dtype), np.array([axis]))]
    if number:
        parts.insert(0, _slice(to, result, x, axis, 0, number))
    if number + 1 < x.shape[axis]:
        parts.append(_slice(to, result, x, axis, number + 1))
    return parts[0] if len(parts) == 1 else to.graph.Concat(*parts, axis=axis)


def _select(to: TensorNames, result: Tensor, x: Tensor, axis: int, number: int) -> str:
    return to.graph.Gather(to.tensor(x), np.array(number), axis=axis)


def _split(
    to: TensorNames, result: Sequence[Tensor], x: Tensor, _: Any, axis: int = 0
) -> list[str]:
    if len(result) == 1:
        return [to.tensor(x)]
    sizes = np.array([part.shape[axis] for part in result])
    return to.graph.Split(to.tensor(x), sizes, axis=axis, n_outputs=len(sizes))


def _unbind(to: TensorNames, result: Sequence[Tensor], x: Tensor, axis: int = 0) -> list[str]:
    name = to.tensor(x)
    return [to.graph.Gather(name, np.array(number), axis=axis) for number in range(len(result))]


def _join(to: TensorNames, result: Tensor, parts: Sequence[Tensor], axis: int = 0) -> str:
    names = to.several([part for part in parts if part.numel()], result.dtype)
    return names[0] if len(names) == 1 else to.graph.Concat(*names, axis=axis % result.ndim)


def _stack(to: TensorNames, result: Tensor, parts: Sequence[Tensor], axis: int = 0) -> str:
    apart = [to.graph.Unsqueeze(name, np.array([axis]))
             for name in to.several(parts, result.dtype)]  # fmt: skip
    return to.graph.Concat(*apart, axis=axis % result.ndim)


def _flip(to: TensorNames, result: Tensor, x: Tensor, axes: Sequence[int]) -> str:
    from_end, to_start, step = (np.full(len(axes), number) for number in (-1, -LAST, -1))
    return to.graph.Slice(to.tensor(x), from_end, to_start, np.array(axes), step)


def _rows_of(to: TensorNames, result: Tensor, table: Tensor, number: Tensor, *_: Any) -> str:
    return to.graph.Gather(to.tensor(table), to.tensor(number), axis=0)


def _index_select(to: TensorNames, result: Tensor, x: Tensor, axis: int, number: Tensor) -> str:
    return to.graph.Gather(to.tensor(x), to.tensor(number), axis=axis)


def _gather(to: TensorNames, result: Tensor, x: Tensor, axis: int, number: Tensor, **_: Any) -> str:
    return to.graph.GatherElements(to.tensor(x), to.tensor(number), axis=axis)


def _index(to: TensorNames, result: Tensor, x: Tensor, numbers: Sequence[Any]) -> str:
    given = [axis for axis, one in enumerate(numbers) if one is not None]
    if len(given) > 1 or numbers[given[0]].dtype == torch.bool:
        raise TypeError(
            "to_onnx cannot export a network that indexes a tensor by several tensors, or by "
            "booleans; use torch.where, or one tensor of numbers."
        )
    chosen = to.tensor(numbers[given[0]], torch.int64)
    return to.graph.Gather(to.tensor(x), chosen, axis=given[0])


def _filled(to: TensorNames, result: Tensor, x: Tensor, value: Any, *_: Any, **__: Any) -> str:
    return to.graph.Expand(to.tensor(value, result.dtype), to.shape(result.shape))


def _zeros(to: TensorNames, result: Tensor, *_: Any, **__: Any) -> str:
    return _filled(to, result, result, 0)


def _copied(to: TensorNames, result: Tensor, x: Tensor, source: Tensor, *_: Any) -> str:
    name = to.tensor(source, result.dtype)
    if source.shape == result.shape:
        return name
    return to.graph.Expand(name, to.shape(result.shape))


def _converted(to: TensorNames, result: Tensor, x: Tensor, *_: Any, **__: Any) -> str:
    return to.tensor(x, result.dtype)


_ELEMENTWISE = {
    "Abs": [aten.abs], "Ceil": [aten.ceil], "Cos": [aten.cos], "Div": [aten.div], "Exp": [aten.exp],
    "Floor": [aten.floor], "Log": [aten.log], "Max": [aten.maximum], "Min": [aten.minimum],
    "Mul": [aten.mul], "Neg": [aten.neg], "Pow": [aten.pow], "Reciprocal": [aten.reciprocal],
    "Relu": [aten.relu], "Round": [aten.round], "Sigmoid": [aten.sigmoid], "Sign": [aten.sign],
    "Sin": [aten.sin], "Sqrt": [aten.sqrt], "Tanh": [aten.tanh], "Asin": [aten.asin],
}  # fmt: skip
_COMPARISONS = {
    "Equal": aten.eq, "NotEqual": aten.ne, "Greater": aten.gt, "GreaterOrEqual": aten.ge,
    "Less": aten.lt, "LessOrEqual": aten.le,
}  # fmt: skip
_BY_PACKET: dict[Any, Callable[..., Names]] = {
    **{packet: partial(_elementwise, operator)
       for operator, packets in _ELEMENTWISE.items() for packet in packets},
    **{packet: partial(_comparison, operator) for operator, packet in _COMPARISONS.items()},
    aten.add: partial(_sum, "Add"),
    aten.sub: partial(_sum, "Sub"),
    aten.rsub: _difference_from,
    aten.bitwise_and: partial(_logical, "And", "BitwiseAnd"),
    aten.bitwise_or: partial(_logical, "Or", "BitwiseOr"),
    aten.bitwise_xor: partial(_logical, "Xor", "BitwiseXor"),
    aten.bitwise_right_shift: partial(_shift, "RIGHT"),
    aten.bitwise_left_shift: partial(_shift, "LEFT"),
    aten.__rshift__: partial(_shift, "RIGHT"),
    aten.__lshift__: partial(_shift, "LEFT"),
    aten.logical_and: partial(_logical, "And", "And"),
    aten.logical_or: partial(_logical, "Or", "Or"),
    aten.logical_not: partial(_elementwise, "Not"),
    aten.bitwise_not: partial(_elementwise, "Not"),
    aten.remainder: _remainder,
    aten.floor_divide: _floor_divide,
    aten.clamp: _clamp,
    aten.clamp_min: _clamp,
    aten.where: _where,
    aten.leaky_relu: _leaky_relu,
    aten.elu: _elu,
    aten.gelu: _gelu,
    aten.silu: _silu,
    aten.sinh: _sinh,
    aten.mm: _product,
    aten.bmm: _product,
    aten.mv: _product,
    aten.dot: _product,
    aten.addmm: _sum_and_product,
    aten.sum: partial(_reduce, "ReduceSum"),
    aten.mean: partial(_reduce, "ReduceMean"),
    aten.amax: partial(_reduce, "ReduceMax"),
    aten.amin: partial(_reduce, "ReduceMin"),
    aten.prod: partial(_reduce, "ReduceProd"),
    aten.linalg_vector_norm: _norm,
    aten.cumsum: _cumulated,
    aten._softmax: _softmax,
    aten.native_layer_norm: _layer_norm,
    aten.native_batch_norm: _batch_norm,
    aten._native_batch_norm_legit_no_training: _batch_norm,
    aten.view: _view,
    aten._unsafe_view: _view,
    aten._reshape_alias: _view,
    aten.expand: _expand,
    aten.permute: _permute,
    aten.transpose: _transpose,
    aten.t: _transpose,
    aten.unsqueeze: _unsqueeze,
    aten.squeeze: _squeeze,
    aten.slice: _slice,
    aten.select: _select,
    aten.slice_scatter: _slice_replaced,
    aten.select_scatter: _select_replaced,
    aten.split: _split,
    aten.split_with_sizes: _split,
    aten.unbind: _unbind,
    aten.cat: _join,
    aten.stack: _stack,
    aten.flip: _flip,
    aten.embedding: _rows_of,
    aten.index_select: _index_select,
    aten.gather: _gather,
    aten.index: _index,
    aten.full_like: _filled,
    aten.fill: _filled,
    aten.new_full: lambda to, result, x, sizes, value, **_: _filled(to, result, x, value),
    aten.zeros_like: _zeros,
    aten.new_zeros: _zeros,
    aten.empty_like: _zeros,
    aten.new_empty: _zeros,
    aten.ones_like: lambda to, result, *_, **__: _filled(to, result, result, 1),
    aten.new_ones: lambda to, result, *_, **__: _filled(to, result, result, 1),
    aten.copy: _copied,
    aten._to_copy: _converted,
}  # fmt: skip
_AS_THEY_ARE = aten.alias, aten.detach, aten.lift_fresh, aten.lift_fresh_copy, aten.clone
OPERATIONS: dict[Any, Callable[..., Names]] = {
    getattr(packet, overload): translate
    for packet, translate in _BY_PACKET.items()
    for overload in packet.overloads()
    if overload not in ("Tensor_mode", "Scalar_mode", "decimals")  # they round
}
SAME_VALUES = {
    getattr(packet, overload) for packet in _AS_THEY_ARE for overload in packet.overloads()
}
