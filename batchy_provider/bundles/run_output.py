# SPDX-License-Identifier: Apache-2.0
# Copyright the batchy_provider authors
"""Pass the output of one run from the script's pipes to the stored files and to the live views."""

from __future__ import annotations

import selectors
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from batchy_provider.bundles.live_output import LiveView
from batchy_provider.bundles.masking import Masker
from batchy_provider.bundles.output_lines import Clock
from batchy_provider.bundles.output_stream import Stream
from batchy_provider.bundles.progress_lines import Throttle, separate

Copy = Callable[[str, bytes], None]
"""Called with ``stdout`` or ``stderr``, and bytes of it, masked."""

STDERR_TAIL_BYTES = 8 * 1024


class RunOutput:
    """Reads both output streams of a run.

    :param files: stream name → new file for all bytes, masked; and new file for the bytes as they are, or None.
    :param max_bytes: for each of the two streams.
    :param on_limit: called when a stream has more than ``max_bytes``.
    :param view: shows lines.
    :param progress: gets the newest progress line of stdout.
    :param note: called with sentences of the runner if there is no ``view``.
    :param copy: called with all bytes as they come.
    """

    def __init__(
        self,
        files: Mapping[str, tuple[Path, Path | None]],
        masker: Masker,
        *,
        max_bytes: int | None,
        on_limit: Callable[[], None],
        view: LiveView | None,
        progress: Throttle | None,
        note: Callable[[str], None] | None,
        copy: Copy | None,
    ) -> None:
        self._files = files
        self._masker = masker
        self._max_bytes = max_bytes
        self._on_limit = on_limit
        self._view, self._progress, self._note, self._copy = view, progress, note, copy
        self._stderr_tail = b""
        self._selector: selectors.BaseSelector | None = None
        self.streams: dict[str, Stream] = {}

    def open(self, selector: selectors.BaseSelector) -> None:
        """Make the files and pipes. The selector waits for the pipes, with the stream as data."""
        self._selector = selector
        for name, (path, exact) in self._files.items():
            stream = self.streams[name] = Stream(name, path, self._masker, exact)
            if self._view is not None:
                stream.show_unfinished(self._view)
            selector.register(stream.read_end, selectors.EVENT_READ, stream)

    def close_write_ends(self) -> None:
        """Leave the pipes to the script."""
        for stream in self.streams.values():
            stream.close_write_end()

    @property
    def is_open(self) -> bool:
        """Whether any process still holds one of the pipes."""
        return any(stream.open for stream in self.streams.values())

    @property
    def stderr_tail(self) -> str:
        """The last bytes of stderr, masked, as text."""
        return self._stderr_tail.decode("utf-8", "backslashreplace")

    def read(self, stream: Stream) -> None:
        """Take what is in a pipe that the selector has reported."""
        data = stream.read()
        if data is None:
            return
        now = time.monotonic()
        if not data:
            stream.open = False
            assert self._selector is not None
            self._selector.unregister(stream.read_end)
            self._finish_stream(stream, now)
            return
        if self._max_bytes is not None and stream.bytes + len(data) > self._max_bytes:
            data = data[: self._max_bytes - stream.bytes]
            self._on_limit()
        self._pass_on(stream, stream.write(data), now)

    def say(self, text: str) -> None:
        """Show a sentence of the runner, after all lines that came before."""
        if self._view is not None:
            self._view.note(text, time.monotonic())
        elif self._note is not None:
            self._note(text)

    def clocks(self) -> list[Clock]:
        """Return all that show something at a time of their own."""
        unfinished = [stream.unfinished for stream in self.streams.values() if stream.open]
        return [clock for clock in (*unfinished, self._view, self._progress) if clock is not None]

    def silence(self) -> None:
        """Show nothing from now on. The files still get all output."""
        self._view = self._progress = self._note = self._copy = None

    def finish(self, now: float) -> None:
        """Take the rest of all streams, and show everything that was held back.

        :param now: monotonic seconds.
        """
        for stream in self.streams.values():
            if stream.open:
                self._finish_stream(stream, now)
        if self._progress is not None:
            self._progress.tick(now, last=True)
        if self._view is not None:
            self._view.finish(now)

    def close(self) -> None:
        """Close all files and pipes."""
        for stream in self.streams.values():
            stream.close()

    def _pass_on(self, stream: Stream, masked: bytes, now: float) -> None:
        if self._copy is not None and masked:
            self._copy(stream.name, masked)
        if stream.name == "stderr":
            self._stderr_tail = (self._stderr_tail + masked)[-STDERR_TAIL_BYTES:]
        if self._view is not None or self._progress is not None:
            self._show(stream, stream.splitter.feed(masked), now)
        if stream.unfinished is not None:
            stream.unfinished.touch(now)

    def _finish_stream(self, stream: Stream, now: float) -> None:
        self._pass_on(stream, stream.finish(), now)
        self._show(stream, stream.splitter.finish(), now)

    def _show(self, stream: Stream, lines: bytes, now: float) -> None:
        if self._progress is not None and stream.name == "stdout":
            lines, progress = separate(lines)
            if progress is not None:
                self._progress.put(progress, now)
        if self._view is not None:
            self._view.put(stream.name, lines, now)
