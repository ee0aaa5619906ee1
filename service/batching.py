"""Dynamic batching: what several workers want inferred at about the same time is one run.

It pays on a GPU, which infers sixteen radiographs in little more time than one. A CPU gains
nothing by it, and there every worker infers its own.
"""

import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future

import numpy as np
from numpy.typing import NDArray

from localization import Outputs

Infer = Callable[[NDArray[np.uint8]], Outputs]


class Batcher:
    """Gathers single inputs into batches of at most ``size``, for at most ``seconds``.

    There is no thread of its own: the first caller to get its turn runs the batch for the others.
    While a batch runs, the next one gathers.
    """

    def __init__(self, infer: Infer, size: int, seconds: float) -> None:
        self._infer = infer
        self._size = size
        self._seconds = seconds
        self._waiting: deque[tuple[NDArray[np.uint8], Future[Outputs]]] = deque()
        self._full = threading.Condition()
        self._turn = threading.Lock()

    def __call__(self, inputs: NDArray[np.uint8]) -> Outputs:
        """Return the outputs of one input, uint8 `[1, 1, side, side]`; from any thread.

        Raises what the inference of its batch raised.
        """
        result: Future[Outputs] = Future()
        with self._full:
            self._waiting.append((inputs, result))
            self._full.notify()
        with self._turn:
            while not result.done():
                self._run_batch()
        return result.result()

    def _run_batch(self) -> None:
        with self._full:
            self._full.wait_for(lambda: len(self._waiting) >= self._size, self._seconds)
            count = min(self._size, len(self._waiting))
            inputs, results = zip(*(self._waiting.popleft() for _ in range(count)), strict=True)
        try:
            outputs = self._infer(np.concatenate(inputs))
        except Exception as error:
            for result in results:
                result.set_exception(error)
            return
        for row, result in enumerate(results):
            result.set_result(Outputs(*(output[row : row + 1] for output in outputs)))
