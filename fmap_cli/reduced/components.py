"""Principal components of a layer's units, and the foreground that the first of them sets apart.

The covariance of C channels is decomposed, or where there are fewer units than channels the units' Gram matrix, which
has the same eigenvalues: a few lines on torch's own `eigh`. scikit-learn finds the same (the tests hold one against the
other), but is a heavy dependency that takes a second to import.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

_LEAST = 1e-7
"""A direction with less of the variance than this is rounding: float32 has 24 bits."""

_SPARE, _TURNS = 5, 12
"""So many columns beside those that are wanted, and so many powers of the matrix, span where they are looked for."""
_TURNED = 1e-9
"""By so much of the largest eigenvalue may the matrix turn an eigenvector."""


@dataclass(frozen=True, slots=True)
class Fit:
    """The `directions` `[K, C]` of the largest variance around a `mean` `[C]`, their `variances` and that of all."""

    mean: Tensor
    directions: Tensor
    variances: Tensor
    total: float

    def scores(self, units: Tensor) -> Tensor:
        """Where units `[N, C]` lie along the directions, `[N, K]`: their distance from the mean."""
        return (units - self.mean.to(units.dtype)) @ self.directions.to(units.dtype).T


def fit_components(units: Tensor, most: int = 3) -> Fit:
    """The up to `most` principal components of finite units `[N, C]`; variances divide by N − 1.

    A component's sign is free. It is chosen so that the longer tail of the units lies on its positive side (the sum of
    the cubes of the scores is not negative), so that what is rare and strong is bright and pictures stay the same.
    """
    mean = units.mean(0, dtype=torch.float64)
    centred, scale = centre(units, mean)
    if not scale > 0:
        return Fit(mean, mean.new_zeros((0, units.shape[1])), mean.new_zeros(0), 0.0)
    wide = len(units) < units.shape[1]
    product = (centred @ centred.T if wide else centred.T @ centred).double()
    total = float(product.diagonal().sum())
    values, vectors = _leading(product, most)
    kept = min(most, int((values > _LEAST * total).sum()), max(len(units) - 1, 0))
    values, vectors = values[:kept], vectors[:, :kept]
    if wide:
        vectors = centred.double().T @ vectors / values.sqrt()
    directions = torch.linalg.qr(vectors).Q if kept else vectors  # of unit length and upright to the last digit
    directions = (directions * (directions * vectors).sum(0).sign()).T  # [K, C]
    scores = centred @ directions.to(centred.dtype).T
    tails = (scores.double() / scores.abs().amax(0).clamp_min(torch.finfo(scores.dtype).tiny)).pow(3).sum(0)
    directions = torch.where(tails < 0, -1.0, 1.0)[:, None] * directions
    divisor = max(len(units) - 1, 1)
    return Fit(mean, directions, values * scale**2 / divisor, total * scale**2 / divisor)


def _leading(matrix: Tensor, most: int) -> tuple[Tensor, Tensor]:
    """The `most` largest eigenvalues of a symmetric float64 matrix `[n, n]` whose eigenvalues are not negative, and
    their eigenvectors `[n, most]`.

    All n of a large matrix take seconds, so those few are looked for in a block Krylov space (G. Golub and C. Van Loan,
    "Matrix Computations", section 10.3): the span of a random block, what the matrix makes of it, and so on. They are
    taken where the matrix turns none of them by more than rounding; else all are found.
    """
    count = len(matrix)
    block = most + _SPARE
    if count > 4 * _TURNS * block:  # below, all of them are quicker
        start = torch.Generator().manual_seed(0)
        turned = torch.randn((count, block), dtype=matrix.dtype, generator=start)
        space = []
        for _ in range(_TURNS):
            turned = torch.linalg.qr(matrix @ turned).Q
            space.append(turned)
        basis = torch.linalg.qr(torch.cat(space, 1)).Q
        image = matrix @ basis
        values, inner = torch.linalg.eigh(basis.T @ image)
        values, inner = values.flip(0)[:most], inner.flip(1)[:, :most]
        vectors = basis @ inner
        off = (image @ inner - vectors * values).norm(dim=0)
        if bool((off <= _TURNED * values[0]).all()):
            return values, vectors
    values, vectors = torch.linalg.eigh(matrix)
    return values.flip(0)[:most], vectors.flip(1)[:, :most]


def centre(units: Tensor, mean: Tensor) -> tuple[Tensor, float]:
    """The units around their mean, scaled so that the largest value is 1; and by what: their squares stay finite."""
    peak = float(units.abs().max()) if units.numel() else 0.0
    if not peak > 0:
        return units, 0.0
    centred = units / peak - (mean / peak).to(units.dtype)
    scale = float(centred.abs().max())
    return (centred / scale, scale * peak) if scale > 0 else (centred, 0.0)


def otsu(scores: Tensor) -> float:
    """The threshold that parts values `[N]` into the two groups whose means are farthest apart for their sizes.

    N. Otsu, "A threshold selection method from gray-level histograms" (1979): the between-class variance
    ω₀ ω₁ (μ₀ − μ₁)² is the largest; here of the values themselves, without a histogram.

    >>> otsu(torch.tensor([0.0, 1.0, 0.5, 9.0, 10.0]))
    5.0
    """
    ordered = scores.double().sort().values
    count = len(ordered)
    below = torch.arange(1, count, dtype=torch.float64)
    sums = ordered.cumsum(0)
    gap = sums[:-1] / below - (sums[-1] - sums[:-1]) / (count - below)
    apart = torch.where(ordered[1:] > ordered[:-1], below * (count - below) * gap**2, -1.0)
    at = int(apart.argmax())
    return float((ordered[at] + ordered[at + 1]) / 2)
