"""A notebook without a page: a kernel that runs cells, and what it printed."""

from __future__ import annotations

import time
from typing import Any

from jupyter_client.blocking.client import BlockingKernelClient
from jupyter_client.manager import KernelManager

LIMIT = 60.0
"""Seconds that a cell may take."""


class Notebook:
    """One kernel of ipykernel's."""

    def __init__(self, manager: KernelManager, client: BlockingKernelClient) -> None:
        self.manager = manager
        self._client = client

    def run(self, code: str) -> str:
        """Run a cell and return what it printed and displayed, as text; an error's lines if it failed."""
        return self.wait(self.begin(code))

    def begin(self, code: str) -> str:
        """Begin a cell; return its number."""
        return str(self._client.execute(code))

    def wait(self, cell: str, until: str | None = None) -> str:
        """Wait for the end of a cell, or until it has printed a text; return what it printed."""
        printed = ""
        deadline = time.monotonic() + LIMIT
        while until is None or until not in printed:
            message: dict[str, Any] = self._client.get_iopub_msg(timeout=max(deadline - time.monotonic(), 0.01))
            if message["parent_header"].get("msg_id") != cell:
                continue
            content = message["content"]
            match message["msg_type"]:
                case "stream":
                    printed += content["text"]
                case "display_data" | "update_display_data":
                    printed += content["data"].get("text/plain", "") + "\n"
                case "error":
                    printed += "\n".join(content["traceback"])
                case "status" if content["execution_state"] == "idle":
                    break
        return printed

    def interrupt(self) -> None:
        """Do what the button with the square does."""
        self.manager.interrupt_kernel()

    def hang_up(self) -> None:
        """Stop listening."""
        self._client.stop_channels()
