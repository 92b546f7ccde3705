"""Records of several requests that go through the model together."""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import islice

import numpy as np

from ecg_siglip.datasets.signal_rows import SignalRows
from ecg_siglip.inference.decision import Decision
from ecg_siglip.inference.predictor import MIN_BATCH, Predictor
from ecg_siglip.metrics.decision_rules import DEFAULT_RULE
from ecg_siglip.signals.leads import LEADS

# Records in each pass through the model. Of so many or fewer, each gets the same result, so that it
# does not depend on what other records are waiting.
BATCH_SIZE = MIN_BATCH


@dataclass(eq=False)
class Ticket:
    """A record that waits for the model.

    Attributes
    ----------
    signal : ndarray of shape (12, n_samples), int16, uV
    output : (ndarray of shape (n_findings,), ndarray of shape (D,)), optional
        Uncalibrated probabilities and embedding; null while it waits.
    """

    signal: np.ndarray
    output: tuple[np.ndarray, np.ndarray] | None = None


class SharedBatches:
    """Records that wait for the model: the task that uses it also computes those of others.

    Parameters
    ----------
    predictor : Predictor
    """

    def __init__(self, predictor: Predictor):
        self.predictor = predictor
        self._lock = threading.Lock()
        self._waiting: dict[Ticket, None] = {}  # in the order in which they came

        @functools.lru_cache(maxsize=256)
        def decision(rule: str, leads: bytes, sensitivity: float | None) -> Decision:
            return predictor.decision(rule, np.frombuffer(leads, bool), sensitivity)

        self._decision = decision

    def add(self, signals: Iterable[np.ndarray]) -> list[Ticket]:
        """Let records wait."""
        tickets = [Ticket(signal) for signal in signals]
        with self._lock:
            self._waiting.update(dict.fromkeys(tickets))
        return tickets

    @property
    def n_waiting(self) -> int:
        """Number of records that wait."""
        return len(self._waiting)

    def discard(self, tickets: Iterable[Ticket]) -> None:
        """Forget records whose results nobody needs any more."""
        with self._lock:
            for ticket in tickets:
                self._waiting.pop(ticket, None)

    def predictor_for(self, tickets: Sequence[Ticket]) -> Predictor:
        """Return a predictor whose ``forward`` returns the outputs of these records.

        Only one thread at a time may call this.
        """
        outputs = [ticket.output or self._compute(ticket) for ticket in tickets]
        return _ComputedPredictor(self.predictor, outputs, self._decision)

    def _compute(self, first: Ticket) -> tuple[np.ndarray, np.ndarray]:
        """Return the output of a record; compute also those of the next ones that wait."""
        with self._lock:
            others = (ticket for ticket in self._waiting if ticket is not first)
            tickets = [first, *islice(others, BATCH_SIZE - 1)]
        signals = np.stack([ticket.signal for ticket in tickets])
        raw, embedding_BD = self.predictor.forward(signals)
        for i, ticket in enumerate(tickets):
            ticket.output = raw[i], embedding_BD[i]
        self.discard(tickets)
        return raw[0], embedding_BD[0]


class _ComputedPredictor(Predictor):
    """A predictor that has computed the records which it will be given, and knows its decisions."""

    def __init__(
        self,
        predictor: Predictor,
        outputs: Sequence[tuple[np.ndarray, np.ndarray]],
        decision: Callable[[str, bytes, float | None], Decision],
    ):
        vars(self).update(vars(predictor))
        self._outputs, self._decision = outputs, decision

    def forward(
        self, signals: np.ndarray | SignalRows, batch_size: int = 256, progress: bool = False
    ) -> tuple[np.ndarray, np.ndarray]:
        raw, embeddings = zip(*self._outputs, strict=True)
        assert len(signals) == len(raw)
        return np.stack(raw), np.stack(embeddings)

    def decision(
        self,
        rule: str = DEFAULT_RULE,
        available: np.ndarray | None = None,
        sensitivity: float | None = None,
    ) -> Decision:
        leads = np.ones(len(LEADS), bool) if available is None else available
        return self._decision(rule, leads.tobytes(), sensitivity)
