"""Figures of an evaluation."""

import numpy as np
import pytest

from ulmfit_exp.inference.scores import fitted_temperature, tempered


def test_temperature_scaling_finds_the_temperature_that_probabilities_were_spoilt_with():
    random = np.random.default_rng(0)
    honest = random.dirichlet([1, 1, 1], size=4000)
    truth = np.array([random.choice(3, p=p) for p in honest])
    too_sure = tempered(honest, 1 / 3)
    assert fitted_temperature(too_sure, truth) == pytest.approx(3, rel=0.1)
    assert np.allclose(tempered(too_sure, 3), honest)
    assert (tempered(too_sure, 3).argmax(axis=1) == too_sure.argmax(axis=1)).all()
