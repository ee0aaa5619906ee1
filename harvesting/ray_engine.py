"""The Ray engine: a shard's three stages through Ray Data, on this machine or on a cluster.

    Prepare    tasks of one core each
    Infer      actors that hold the model, of one GPU or one core each
    Finish     tasks of one core each

Ray decides how many of each run at once, holds back those that run ahead of the next, and does
again what was lost with a process or a node. Every node must reach the source and the data set by
the names that they have here.
"""

import logging
import os
import pickle
import secrets
import signal
import socket
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import replace
from functools import cached_property, partial
from threading import Timer
from typing import Any

import fsspec
from fsspec.implementations.local import LocalFileSystem

# Ray reads these as it is imported. Nothing is told to its makers; a Ray that is started here
# listens to this machine alone (the name says less than it does; a Ray that is joined is as it is);
# and its logs stay in its files.
os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
os.environ["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] = "0"
os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")

import ray
import ray.data
from ray.exceptions import GetTimeoutError, RayError

from harvesting.attempts import begun, clear
from harvesting.harvest import settle_compute
from harvesting.local import Engine, EngineFailed
from harvesting.plan import Shard
from harvesting.preparation import DEATHS, Prepare
from harvesting.processes import WorkFailed, say
from harvesting.shard import Done, Finish, Infer, Job, PreparedShard
from localization import Compute, ModelBundle
from localization.cores import cores

LOCAL = "local"
"""The address of a Ray that is started here and ends with the run."""

MOST_ATTEMPTS = 10
"""How often the reading of one shard may be cut short: Ray does again, without an end, what was
lost with a process or a node, and a shard may be what ends them."""

MODEL_MEMORY = 512 * 1024**2
"""Bytes for which Ray makes room where it places a process that holds the model. As the other
stages ask for none, Ray does not make one stage of two."""

PLACE_SECONDS = 15 * 60
"""How long a cluster may take to have a node for the model: it may have to start one."""

Row = dict[str, Any]

CELL = "shard"
"""The column of Ray's rows; each row is one shard as a stage left it, pickled."""


@contextmanager
def connected(address: str, *, cpus: int | None = None, memory: int | None = None) -> Iterator[str]:
    """Join a Ray, or start one here and end it; gives its address.

    Args:
        address: `local`, `auto` (the Ray of this machine) or `host:port`.
        cpus: cores of a Ray that is started; None: all of this process.
        memory: bytes that it keeps between the stages; None: Ray's choice.

    Raises:
        EngineFailed: no Ray answers there, or it cannot be started.
    """
    if address.startswith("ray://"):
        raise EngineFailed(
            f"{address} is Ray Client's, which Ray Data does not run through: run this command on "
            "a node of the cluster with --address auto, or hand it over by `ray job submit`."
        )
    started: dict[str, Any] = {}
    if address == LOCAL:
        # A token of its own, so that Ray writes none into the user's home.
        os.environ.setdefault("RAY_AUTH_TOKEN", secrets.token_hex(32))
        started = {
            # One for the model, one for the stages around it: with less, they would wait.
            "num_cpus": cpus or max(2, cores()),
            "object_store_memory": memory,
            "include_dashboard": False,
        }
    logging.getLogger("ray.data").setLevel(logging.ERROR)
    stops = signal.getsignal(signal.SIGTERM)
    try:
        _require_answer(address)
        ray.init(address, log_to_driver=False, logging_level=logging.ERROR, **started)
    except (OSError, RayError, RuntimeError, ValueError) as error:
        ray.shutdown()
        said = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise EngineFailed(
            f"Ray cannot be had at {address}: {said} (Where it asks for a token, set "
            "RAY_AUTH_MODE=token and RAY_AUTH_TOKEN.)"
        ) from error
    finally:
        # Ray takes the signal for itself.
        signal.signal(signal.SIGTERM, stops)
    try:
        yield ray.get_runtime_context().gcs_address
    finally:
        ray.shutdown()


def _require_answer(address: str) -> None:
    """Ray itself would try for minutes, deaf to signals."""
    host, colon, port = address.rpartition(":")
    if colon:
        with socket.create_connection((host, int(port)), timeout=10):
            pass


def settle_on_ray(bundle: ModelBundle, provider: str) -> tuple[ModelBundle, Compute]:
    """`settle_compute` where the model will run, which need not be here.

    Raises:
        ProviderUnavailable, BundleRefused: see there.
        EngineFailed: Ray finds no place for it.
    """
    resources: dict[str, float] = ray.cluster_resources()  # type: ignore[no-untyped-call]
    gpu = provider in ("cuda", "tensorrt") or (provider == "auto" and "GPU" in resources)
    settle = ray.remote(num_cpus=1, num_gpus=1 if gpu else 0)(_settle)
    try:
        settled = ray.get(settle.remote(bundle, provider), timeout=PLACE_SECONDS)
    except GetTimeoutError as error:
        raise EngineFailed(
            f"Ray found no {'GPU' if gpu else 'core'} for the model within "
            f"{PLACE_SECONDS / 60:.0f} minutes."
        ) from error
    except RayError as error:
        raise EngineFailed(
            f"Ray could not open the model ({type(error).__name__}): does every node have this "
            "version of cxr-localizer?"
        ) from error
    if isinstance(settled, Exception):
        raise settled
    return settled


def _settle(bundle: ModelBundle, provider: str) -> tuple[ModelBundle, Compute] | Exception:
    try:
        return settle_compute(bundle, provider)
    except Exception as error:
        return error


def ray_engine(workers: int | None) -> Engine:
    """The engine with so many processes that hold the model at most; None: as Ray sees fit."""
    return partial(run_on_ray, workers=workers)


def run_on_ray(
    job: Job, shards: Iterable[Shard], report: Callable[[Done], None], *, workers: int | None = None
) -> None:
    """Work on all shards, within `connected`.

    Raises:
        WorkFailed: a shard failed in a way that no one expected.
        EngineFailed: Ray gave up.
        KeyboardInterrupt: SIGINT or SIGTERM came; see `_interrupted_between_shards`.
    """
    files, root = fsspec.core.url_to_fs(job.out)
    if isinstance(files, LocalFileSystem):
        # Processes of Ray have working directories of their own.
        job = replace(job, out=root)
    planned = _planned(shards)
    if planned is None:
        return
    finished = False
    try:
        with _interrupted_between_shards() as interrupt:
            for row in _stages(job, planned, workers).iter_rows():
                done = _unpack(row[CELL])
                if isinstance(done, RuntimeError):
                    raise done
                report(done)
                interrupt()
        finished = True
    except RayError as error:
        raise EngineFailed(
            f"Ray gave up ({type(error).__name__}); its logs, of each node in /tmp/ray, say why."
        ) from None
    finally:
        if not finished:
            # What is left by choice is no suspect. Tasks may still be ending, and leave a mark.
            with suppress(OSError):
                clear(files, root)


@contextmanager
def _interrupted_between_shards() -> Iterator[Callable[[], None]]:
    """Ctrl-C and SIGTERM wait for the next finished shard, where the function that this gives
    raises KeyboardInterrupt; the second one does not wait. Within Ray's own code an interrupt
    leaves streams that it then fails to close."""
    came = False

    def note(*_: object) -> None:
        nonlocal came
        if came:
            raise KeyboardInterrupt
        came = True

    def interrupt() -> None:
        if came:
            raise KeyboardInterrupt

    before = {number: signal.signal(number, note) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield interrupt
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _planned(shards: Iterable[Shard]) -> "ray.data.Dataset | None":
    rows = [{CELL: _pack(shard)} for shard in shards]
    # A block is what a task takes, and does again where it is lost: one shard.
    return ray.data.from_items(rows, override_num_blocks=len(rows)) if rows else None


def _stages(job: Job, planned: "ray.data.Dataset", workers: int | None) -> "ray.data.Dataset":
    # The graph goes to where it runs alone.
    graphless = replace(job, bundle=replace(job.bundle, contents={}))
    planned.context.enable_progress_bars = False
    return (
        planned.map(partial(_prepare, job=graphless), num_cpus=1)
        .map(
            _Inferring,  # type: ignore[arg-type] # a class, whose actors are called
            fn_constructor_args=(job,),
            compute=ray.data.ActorPoolStrategy(min_size=1, max_size=workers),
            num_cpus=1,
            num_gpus=0 if job.compute.provider == "cpu" else 1,
            memory=MODEL_MEMORY,
        )
        .map(partial(_finish, job=graphless), num_cpus=1)
    )


def _prepare(row: Row, job: Job) -> Row:
    def stage(shard: Shard) -> PreparedShard:
        files, root = fsspec.core.url_to_fs(job.out)
        attempts = begun(files, root, shard.number)
        if attempts >= MOST_ATTEMPTS:
            raise EngineFailed(
                f"Shard {shard.number} was begun {MOST_ATTEMPTS} times, and each time the process "
                "that read it was lost. Is there enough memory?"
            )
        limit = job.limits.of_shard(shard.items, DEATHS if attempts else 0)
        with _ended_after(limit), closing(Prepare(job)) as prepare:
            return prepare(shard)

    return _next(row, stage)


@contextmanager
def _ended_after(seconds: float) -> Iterator[None]:
    """End this process where what it does takes longer: Ray does it again, and the mark that is
    left makes the next attempt look closer."""
    timer = Timer(seconds, os.kill, (os.getpid(), signal.SIGKILL))
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


class _Inferring:
    """An actor's: the model is opened once."""

    def __init__(self, job: Job) -> None:
        self._job = job

    @cached_property
    def _infer(self) -> Infer:
        return Infer(self._job)

    def __call__(self, row: Row) -> Row:
        return _next(row, lambda prepared: self._infer(prepared))


def _finish(row: Row, job: Job) -> Row:
    return _next(row, lambda inferred: Finish(job)(inferred))


def _next(row: Row, stage: Callable[[Any], Any]) -> Row:
    """A row, one stage on. An error that no one foresaw is handed on to who leads the run: raised
    here, Ray would log its words, which may quote a file."""
    before = _unpack(row[CELL])
    if isinstance(before, RuntimeError):
        return row
    try:
        return {CELL: _pack(stage(before))}
    except EngineFailed as error:
        return {CELL: _pack(error)}
    except Exception as error:
        return {CELL: _pack(WorkFailed(say(error)))}


def _pack(value: object) -> bytes:
    return pickle.dumps(value, pickle.HIGHEST_PROTOCOL)


def _unpack(cell: bytes) -> Any:
    return pickle.loads(cell)
