"""The recurrent cells. One more needs a line here, its step in `recurrence`, and a search space in params.yaml."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Cell:
    """How a recurrent cell is called in Keras and in ONNX.

    Attributes:
        layer: name of the Keras layer.
        onnx_op: name of the ONNX operator.
        onnx_gates: for each gate in ONNX order, its place in the Keras kernel.
        states: number of state tensors.
        onnx_attributes: attributes that make the operator equal to the Keras layer.
    """

    layer: str
    onnx_op: str
    onnx_gates: tuple[int, ...]
    states: int
    onnx_attributes: tuple[tuple[str, int], ...] = ()


CELLS: dict[str, Cell] = {
    "lstm": Cell("LSTM", "LSTM", (0, 3, 1, 2), 2),
    "gru": Cell("GRU", "GRU", (0, 1, 2), 1, (("linear_before_reset", 1),)),
    "rnn": Cell("SimpleRNN", "RNN", (0,), 1),
}
