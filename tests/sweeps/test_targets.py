import jax
import numpy as np
import pytest

from scaling.errors import UserError
from scaling.gin_config import load_study
from scaling.models import build_model
from scaling.sweeps.targets import WIDTH_STEP, target_runs

PLENTY = 10**15  # training tokens, where epochs are not the point


@pytest.fixture(scope="module")
def study():
    bindings = ["Experiment.seed=3", "IsoFlop.budgets=(3e11, 1e12)", "IsoFlop.max_epochs=1.0"]
    return load_study("sweeps/demo.gin", bindings).config


@pytest.mark.parametrize("flops", [3e12, 1e13])
@pytest.mark.parametrize("share", [0.4, 1.0, 1.7])
def test_targets_are_the_ladder_s_nearest_to_the_optimum(study, flops, share):
    n_opt = share * 3e5
    runs = target_runs(study, flops, n_opt, 2, PLENTY)
    assert [run.experiment.seed for run in runs] == [3, 4]
    assert len({run.experiment.model for run in runs}) == 1
    run = runs[0]
    assert run.train_flops["exact"] == pytest.approx(flops, rel=0.01)
    assert (run.tags["role"], run.tags["budget"]) == ("target", None)
    candidates = {}
    for d_model in range(WIDTH_STEP, 257, WIDTH_STEP):
        specs = build_model(study.ladder.model(study.base.model, d_model)).specs
        n = sum(s.size for s in jax.tree.leaves(specs)) - specs["embedding"].size
        candidates[d_model] = abs(np.log(n / n_opt))
    assert run.experiment.model.d_model == min(candidates, key=candidates.get)


def test_a_target_that_repeats_the_data_is_refused(study):
    (run,) = target_runs(study, 3e12, 3e5, 1, PLENTY)
    with pytest.raises(UserError, match="IsoFlop.max_epochs = 1:"):
        target_runs(study, 3e12, 3e5, 1, run.experiment.n_tokens - 1)
    with pytest.raises(UserError, match="too small"):
        target_runs(study, 1e7, 3e5, 1, PLENTY)
