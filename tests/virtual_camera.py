"""The real picamera2 and libcamera on libcamera's own virtual camera; only within a Debian 13 tree.

Three things of a Raspberry Pi are not there and are stood in for: the module `pykms` (screens), the
camera's raw modes, and the kernel's /dev/dma_heap. All else is real: Picamera2, its event loop and
jobs, requests, MappedArray, libcamera and its pipeline.
"""

import gc
import mmap
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any
from unittest.mock import MagicMock

import cv2

from edge.scanner.decoder import Frame

#: libcamera looks here and nowhere else.
VIRTUAL = Path("/usr/share/libcamera/pipeline/virtual/virtual.yaml")
#: Set within the tree; see test_virtual_camera.py.
WITHIN_TREE = "EDGE_VIRTUAL_CAMERA"


class Releases:
    """Counts the requests that picamera2 handed out and those that came back."""

    def __init__(self) -> None:
        self.made = 0
        self.done = 0
        #: Requests that were forgotten without a release: each may be a segmentation fault.
        self.dropped = 0


@cache
def install() -> Releases:
    """Make picamera2 usable here, once in a process; gives the count of requests."""
    sys.modules.setdefault("pykms", MagicMock())
    import libcamera
    from picamera2 import picamera2 as module
    from picamera2.allocators.dmaallocator import DmaAllocator

    class MemfdAllocator(DmaAllocator):  # type: ignore[misc]
        """Memory files in place of the kernel's DMA heap; two planes, as the virtual camera has."""

        def __init__(self) -> None:
            super(DmaAllocator, self).__init__()
            self.dmaHeap = None
            self.mapped_buffers: dict[Any, mmap.mmap] = {}
            self.mapped_buffers_used: dict[int, bool] = {}
            self.frame_buffers: dict[Any, list[Any]] = {}
            self.open_fds: list[int] = []
            self.libcamera_fds: list[int] = []
            self.sync = NoSync

        def allocate(self, libcamera_config: Any, _: Any) -> None:
            self.libcamera_fds = []
            self.cleanup()
            for fd in self.open_fds:
                os.close(fd)
            self.frame_buffers, self.open_fds = {}, []
            for config in libcamera_config:
                self.frame_buffers[config.stream] = [
                    self._buffer(config) for _ in range(config.buffer_count)
                ]

        def _buffer(self, config: Any) -> Any:
            size, grey = config.frame_size, config.stride * config.size.height
            fd = os.memfd_create("frame")
            os.ftruncate(fd, size)
            planes = [libcamera.FrameBuffer.Plane() for _ in range(2)]
            for plane, offset, length in zip(planes, (0, grey), (grey, size - grey), strict=True):
                plane.fd, plane.offset, plane.length = fd, offset, length
            buffer = libcamera.FrameBuffer(planes)
            # libcamera duplicates the descriptor; picamera2 looks buffers up by the duplicate.
            self.open_fds.append(fd)
            self.libcamera_fds.append(buffer.planes[0].fd)
            self.mapped_buffers_used[buffer.planes[0].fd] = False
            self.mapped_buffers[buffer] = mmap.mmap(fd, size)
            return buffer

    class NoSync(DmaAllocator.DmaSync):  # type: ignore[misc]
        """Memory that needs no synchronising."""

        def __enter__(self) -> Any:
            return self.get_buffer()

        def __exit__(self, *_: object) -> None:
            pass

    raw_modes = module.Picamera2._get_raw_modes

    def modes(camera: Any) -> Any:
        try:
            return raw_modes(camera)
        except AttributeError:
            config = camera.camera.generate_configuration([libcamera.StreamRole.VideoRecording])
            size = config.at(0).size
            return [{"format": str(config.at(0).pixel_format), "size": (size.width, size.height)}]

    module.DmaAllocator = MemfdAllocator
    module.Picamera2._get_raw_modes = modes
    return _count_releases(module)


def _count_releases(module: Any) -> Releases:
    counts = Releases()

    class Counted(module.CompletedRequest):  # type: ignore[misc]
        def __init__(self, *args: Any) -> None:
            super().__init__(*args)
            counts.made += 1

        def release(self) -> None:
            super().release()
            counts.done += self.ref_count == 0

        def __del__(self) -> None:
            counts.dropped += self.ref_count > 0

    module.CompletedRequest = Counted
    return counts


def show(folder: Path, pictures: list[Frame], width: int = 1280, height: int = 720) -> None:
    """Let the next camera that is opened see *pictures*, of which each stays for four frames.

    With none there is no camera.
    """
    # libcamera reads its file anew only when nobody holds its manager any more. After an opening
    # that failed somebody does, for as long as the process lives.
    gc.collect()
    folder.mkdir(parents=True, exist_ok=True)
    for number, picture in enumerate(pictures):
        cv2.imwrite(str(folder / f"{number}.jpg"), picture)
    VIRTUAL.parent.mkdir(parents=True, exist_ok=True)
    VIRTUAL.write_text(
        f'"Virtual0":\n  supported_formats:\n  - width: {width}\n    height: {height}\n'
        f"    frame_rates: [30, 60]\n  frames:\n    path: {folder}\n"
        '  location: "CameraLocationFront"\n  model: "virtual"\n'
        if pictures
        else "{}\n"
    )


@contextmanager
def without_frames(camera: Any) -> Iterator[None]:
    """Within this, frames of the Picamera2 *camera* are lost, as with a loose cable."""
    swallowed: list[Any] = []
    process = camera.process_requests

    def swallow(display: Any) -> None:
        with camera._requestslock:
            # Kept: libcamera still writes into them.
            swallowed.extend(camera._requests)
            camera._requests = []
        process(display)

    camera.process_requests = swallow
    try:
        yield
    finally:
        del camera.process_requests
        for request in swallowed:
            request.release()
