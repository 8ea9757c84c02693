"""Our fake of picamera2 has the signatures of the real one; within a Debian 13 tree only."""

import inspect
import os
from concurrent.futures import CancelledError
from concurrent.futures import TimeoutError as FuturesTimeout
from typing import Any

import pytest

from tests import virtual_camera
from tests.scanner.test_pi_camera import FakeMappedArray, FakePicamera2, FakeRequest
from tests.virtual_camera import WITHIN_TREE

pytestmark = pytest.mark.skipif(
    WITHIN_TREE not in os.environ,
    reason="runs within a Debian 13 tree: see test_virtual_camera.py",
)


def public_methods(kind: type) -> list[str]:
    return [name for name in vars(kind) if not name.startswith("_")]


def real_of(name: str) -> Any:
    virtual_camera.install()
    import picamera2
    from picamera2.job import Job
    from picamera2.request import CompletedRequest

    kinds = {
        "camera": picamera2.Picamera2,
        "request": CompletedRequest,
        "job": Job,
        "mapped": picamera2.MappedArray,
    }
    return kinds[name]


@pytest.mark.parametrize("method", public_methods(FakePicamera2))
def test_each_call_that_the_fake_takes_the_real_camera_takes(method: str) -> None:
    fake = inspect.signature(getattr(FakePicamera2, method)).parameters
    real = inspect.signature(getattr(real_of("camera"), method)).parameters

    by_name = [name for name, given in fake.items() if given.kind is not given.VAR_KEYWORD]
    assert set(by_name) <= set(real)
    # ... in the same places, and with nothing more that must be given.
    assert list(real)[: len(by_name)] == by_name
    must = [name for name, given in real.items() if given.default is given.empty]
    assert set(must) <= set(by_name)


def test_the_configuration_that_we_ask_for_can_be_asked_for() -> None:
    real = inspect.signature(real_of("camera").create_video_configuration)

    real.bind(None, main={}, buffer_count=4, queue=False, controls={})


def test_requests_and_mapped_arrays_are_used_as_they_are() -> None:
    inspect.signature(real_of("request").release).bind(None)
    inspect.signature(real_of("mapped")).bind(FakeRequest, "main", reshape=False, write=False)
    assert public_methods(FakeMappedArray) == ["fault"]
    assert hasattr(real_of("mapped"), "array")


def test_waiting_for_a_job_ends_with_the_errors_that_the_fake_raises() -> None:
    # FuturesTimeout is the builtin since Python 3.11, on which we rely.
    assert FuturesTimeout is TimeoutError
    job = real_of("job")([lambda: (False, None)])
    with pytest.raises(TimeoutError):
        job.get_result(timeout=0.01)
    job.cancel()
    with pytest.raises(CancelledError):
        job.get_result(timeout=0.01)
