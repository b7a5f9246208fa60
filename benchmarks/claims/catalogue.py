"""The claims: what is said, by whom, with which figure."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from benchmarks.claims import measures
from benchmarks.claims.judging import Result
from benchmarks.claims.laboratory import Laboratory
from benchmarks.claims.measures import Plan

MUCCINO = (
    "E. Muccino, [LSTM vs GRU: Experimental Comparison]"
    "(https://medium.com/mindboard/lstm-vs-gru-experimental-comparison-955820c21e8b) (2019)"
)
BANSAL = "R. Bansal, [When to Use GRUs Over LSTMs?](https://analyticsvidhya.com/blog/2025/03/lstms-and-grus) (2025)"
YANG = (
    "S. Yang, X. Yu, Y. Zhou, *LSTM and GRU Neural Network Performance Comparison Study: Taking Yelp Review Dataset as "
    "an Example* (2020)"
)


@dataclass(frozen=True)
class Claim:
    """A claim.

    Attributes:
        words: the claim in a sentence.
        said_by: who says it, with their own figure.
        measure: puts it to the test.
    """

    words: str
    said_by: str
    measure: Callable[[Laboratory, Plan], Result]


CLAIMS: dict[str, Claim] = {
    "parameters": Claim(
        "An LSTM has parameters to a GRU's as 4 to 3.",
        "Commonly said. It follows from the equations: three gates and a candidate (F. A. Gers, J. Schmidhuber, "
        "F. Cummins 2000) against two gates and a candidate (K. Cho et al. 2014, arXiv 1406.1078). Figure: 1.333.",
        measures.measure_parameters,
    ),
    "speed": Claim(
        "A GRU trains 20 to 40 % faster.",
        f"Commonly said. {YANG}: 29.29 % faster. {BANSAL}: 20 to 30 %, of which 3.2 h against 2.4 h is one example. "
        f"{MUCCINO}: 3.84 % faster, with cuDNN at 16 units.",
        measures.measure_speed,
    ),
    "memory": Claim(
        "A GRU uses less memory in training.",
        "Commonly said; we found no source with a figure.",
        measures.measure_memory,
    ),
    "epochs": Claim(
        "A GRU converges in fewer epochs.",
        "Commonly said. A republication of Bansal's article ([php.cn](https://php.cn/faq/1796782616.html), 2025) has "
        "up to 25 % fewer epochs, without saying on what.",
        measures.measure_epochs,
    ),
    "volatility": Claim(
        "The training loss of an LSTM is more volatile.",
        f'{MUCCINO}: "much greater volatility", in a picture; no figure.',
        measures.measure_volatility,
    ),
    "examples": Claim(
        "A GRU wins below 100,000 training examples and an LSTM above.",
        f"Commonly said; we found no source for the 100,000. {YANG} have the GRU ahead for long texts and a small data "
        "set, and behind otherwise.",
        measures.measure_examples,
    ),
    "noise": Claim(
        "A GRU is better on noisy data.",
        "Commonly said; we found no source with a figure.",
        measures.measure_noise,
    ),
    "lengths": Claim(
        "A GRU is the choice for 5 to 200 steps, an LSTM beyond 500.",
        "Commonly said, in study notes for instance: GRU below 200 steps, LSTM above 500. We found no measurement "
        "behind it.",
        measures.measure_lengths,
    ),
    "units": Claim(
        "The best number of `units` is another one for an LSTM than for a GRU.",
        "Commonly said, as a reason not to swap one for the other; we found no source with a figure.",
        measures.measure_units,
    ),
    "peepholes": Claim(
        "Peepholes help an LSTM.",
        "F. A. Gers, N. N. Schraudolph, J. Schmidhuber, *Learning Precise Timing with LSTM Recurrent Networks* (2002): "
        "with them, spikes 50 and 49 steps apart are told from each other. Against it K. Greff et al., *LSTM: A Search "
        "Space Odyssey* (arXiv 1503.04069): without them performance is not significantly hurt.",
        measures.measure_peepholes,
    ),
    "vanilla": Claim(
        "Vanilla recurrent networks fail where memory has to be long.",
        "Y. Bengio, P. Simard, P. Frasconi, *Learning Long-Term Dependencies with Gradient Descent is Difficult* "
        "(1994); S. Hochreiter, J. Schmidhuber, *Long Short-Term Memory* (1997). A recent figure, for adding over 100 "
        "steps ([ARotting/long-lag-adding](https://huggingface.co/datasets/ARotting/long-lag-adding)): RMSE .386 "
        "vanilla, .011 LSTM, .013 GRU.",
        measures.measure_vanilla,
    ),
    "toy": Claim(
        "In a toy experiment of 40 sequences of 20,000 steps the GRU reaches the lower loss.",
        f"{MUCCINO}: 16 units, Adam at .001, clipnorm 1, one batch, 1,000 epochs; the GRU's loss is lower, in a "
        "picture; no figure, one run of each.",
        measures.measure_toy,
    ),
}
