"""Where timm's weights come from, whether they are on this machine, and whether that place can be reached."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from urllib.request import getproxies

CONNECT_TIMEOUT_S = 10


def host_of(name: str, cfg: Any | None) -> str | None:
    """Where the weights come from; None for a folder."""
    if name.startswith("local-dir:"):
        return None
    if cfg is not None and not cfg.hf_hub_id and isinstance(cfg.url, str) and cfg.url:
        return urlsplit(cfg.url).netloc
    from huggingface_hub import constants

    return urlsplit(constants.ENDPOINT).netloc


def is_cached(name: str, cfg: Any | None) -> bool:
    """Whether anything of what the model needs is on this machine already."""
    import torch.hub
    from huggingface_hub import constants

    repository = cfg.hf_hub_id if cfg is not None else name.partition(":")[2]
    if not repository:
        return Path(torch.hub.get_dir(), "checkpoints", str(getattr(cfg, "url", "")).rpartition("/")[2]).is_file()
    folder = f"models--{repository.partition('@')[0].replace('/', '--')}"
    return any(Path(constants.HF_HUB_CACHE, folder, "snapshots").glob("*/*"))


def unreachable(host: str) -> str | None:
    """Why no connection to the host can be opened, at once; the hub's own client tries for most of a minute."""
    if getproxies():
        return None  # the name may be known to the proxy alone
    name, _, port = host.partition(":")
    try:
        socket.create_connection((name, int(port or 443)), timeout=CONNECT_TIMEOUT_S).close()
    except OSError as error:
        return str(error.strerror or error)
    return None


@contextlib.contextmanager
def hub_quiet(offline: bool) -> Iterator[None]:
    """The hub's client says nothing about retries inside; `offline` has it look in its cache alone."""
    from huggingface_hub import constants
    from huggingface_hub.utils import logging as hub_logging

    before = constants.HF_HUB_OFFLINE, hub_logging.get_verbosity()
    try:
        constants.HF_HUB_OFFLINE = offline or before[0]
        hub_logging.set_verbosity_error()
        yield
    finally:
        constants.HF_HUB_OFFLINE = before[0]
        hub_logging.set_verbosity(before[1])
