"""Which attention calls are meant, by the modules that make them; and in words what ran where none of them did."""

from __future__ import annotations

from collections.abc import Sequence
from fnmatch import fnmatchcase

from ..errors import LayerError
from ..network.selection import near_names
from .calls import AttentionCall, AttentionCalls
from .records import Seen

_NAMED = 4


def matches(pattern: str, path: str) -> bool:
    """Whether a pattern names a module or one that it is in: a name, a glob over either.

    >>> [matches(each, "features.5.2.attn") for each in ("features.5", "*.attn", "feat")]
    [True, True, False]
    """
    parts = path.split(".")
    return any(fnmatchcase(".".join(parts[:end]), pattern) for end in range(1, len(parts) + 1))


class Choosing:
    """Keeps of the calls, as they happen, those that the patterns may mean: the last one without a pattern."""

    def __init__(self, patterns: Sequence[str], every: bool = False) -> None:
        self.patterns = [each.strip() for each in patterns]
        self.every = every
        self.calls: list[AttentionCall] = []
        self._taken: dict[str, int] = {}

    def keep(self, path: str) -> bool:
        return (
            self.every
            or not self.patterns
            or any(each in ("first", "last") or _of(each, path) for each in self.patterns)
        )

    def found(self, call: AttentionCall) -> None:
        base = call.path or call.how.split()[0]
        count = self._taken.get(base, 0)
        self._taken[base] = count + 1
        call.name = f"{base}_{count}" if count else base
        self.calls.append(call)
        if call.scores is not None and not self.every and not call.of_channels and call.shape[-1]:
            for earlier in self.drawable()[:-1]:
                if not self._picked_by(earlier):
                    earlier.scores = None

    def drawable(self) -> list[AttentionCall]:
        return [each for each in self.calls if not each.of_channels and all(each.shape)]

    def _picked_by(self, call: AttentionCall) -> str | None:
        """The pattern that picks a call, if it is not the last one that does."""
        drawable = self.drawable()
        for pattern in self.patterns:
            first, last = pattern == "first" and call is drawable[0], pattern == "last" and call is drawable[-1]
            if first or last or _of(pattern, call.name) or _of(pattern, call.path):
                return pattern
        return None

    def chosen(self, watch: AttentionCalls, model: str) -> list[tuple[AttentionCall, str]]:
        """The calls that are meant, each with the pattern that picked it. Raises LayerError where there is none."""
        if not self.calls:
            raise _none_ran(watch, model)
        drawable = self.drawable()
        if not drawable:
            raise LayerError(
                f"{model} has attention between channels alone: {self.calls[-1].name} weighs channels by one another,"
                f" {_size(self.calls[-1])}, and no unit looks at another.",
                hint="`fmap show` draws its layers' maps.",
            )
        if self.every and not self.patterns:
            return [(each, "") for each in drawable]
        if not self.patterns:
            return [(drawable[-1], "last")]
        for pattern in self.patterns:
            if pattern in ("first", "last"):
                continue
            own = [each for each in self.calls if _of(pattern, each.name) or _of(pattern, each.path)]
            if not own:
                raise self._missing(pattern)
            if not any(each in drawable for each in own):
                raise LayerError(
                    f"layer {own[0].name!r} weighs channels by one another ({_size(own[0])}), and no unit looks at"
                    " another.",
                    hint=f"Attention between units: {listed([each.name for each in drawable])}.",
                )
        picked = [(each, self._picked_by(each)) for each in drawable]
        return [(each, pattern) for each, pattern in picked if pattern is not None]

    def _missing(self, pattern: str) -> LayerError:
        names = [each.name for each in self.calls]
        near = near_names(pattern, names)
        there = f" Nearest: {', '.join(near[:_NAMED])}." if near else ""
        return LayerError(f"no attention call ran in a layer {pattern!r}.", hint=f"It ran in {listed(names)}.{there}")


def _of(pattern: str, path: str) -> bool:
    return matches(pattern, path)


def listed(names: Sequence[str]) -> str:
    if len(names) <= 2 * _NAMED:
        return ", ".join(names)
    return f"{', '.join(names[:_NAMED])}, … {', '.join(names[-2:])} ({len(names)} in all)"


def _size(call: AttentionCall) -> str:
    return f"{call.shape[-2]} × {call.shape[-1]}"


def _none_ran(watch: AttentionCalls, model: str) -> LayerError:
    if watch.origins.tables:
        return LayerError(
            f"{model} has attention without scores (linear attention): it multiplies keys and values first, so there is"
            " no weight of one unit on another.",
            hint="`fmap show` draws its layers' maps, `fmap rf --effective` what a unit is made of.",
        )
    if watch.softmaxes:
        return LayerError(
            f"no attention call ran in {model}: none of its softmaxes ({watch.softmaxes}) is of queries times keys.",
            hint="`fmap show` draws its layers' maps, `fmap rf --effective` what a unit is made of.",
        )
    return LayerError(
        f"no attention call ran in {model}: its units do not weigh one another.",
        hint="A transformer has some, such as vit_b_16 or swin_t; `fmap rf --effective` says what a unit is made of.",
    )


def seen(call: AttentionCall, type_name: str) -> Seen:
    return Seen(call.name, type_name, call.how, call.shape, "between channels" if call.of_channels else "")
