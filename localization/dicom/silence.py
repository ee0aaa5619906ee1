"""pydicom kept silent: what it says of a file quotes the file."""

import logging
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

# pydicom's log lines quote the values that they complain of, a patient's name among them, so none
# may reach the handlers of whoever uses us. What is attached to this logger itself still gets all.
logging.getLogger("pydicom").propagate = False


class _Silence:
    """How many threads want pydicom's warnings silenced, and the filters from before."""

    lock = threading.Lock()
    readers = 0
    before = warnings.catch_warnings()


@contextmanager
def pydicom_silenced() -> Iterator[None]:
    """Ignore pydicom's warnings, which quote values of the file, while any thread reads.

    Python 3.11 keeps one list of filters for all threads. So the first to come sets it and the
    last to go restores it: `catch_warnings` in each thread would restore another's state.
    """
    with _Silence.lock:
        if _Silence.readers == 0:
            _Silence.before = warnings.catch_warnings()
            _Silence.before.__enter__()
            warnings.filterwarnings("ignore", module=r"pydicom(\.|$)")
        _Silence.readers += 1
    try:
        yield
    finally:
        with _Silence.lock:
            _Silence.readers -= 1
            if _Silence.readers == 0:
                _Silence.before.__exit__(None, None, None)
