"""For every law of the library: parameters like its paper's, and a sweep that could have been run."""

import numpy as np
import pytest

from scaling.laws.forms.schedule import schedule_areas

_ONE = np.geomspace(1e7, 1e10, 24)
_LOSS = np.linspace(2.2, 4.5, 16)


def _grid(**axes):
    """Every combination, as columns."""
    mesh = np.meshgrid(*(np.asarray(a, float) for a in axes.values()), indexing="ij")
    return {name: a.ravel() for name, a in zip(axes, mesh)}


def _annealed():
    """Twenty points along a constant, a cosine and a trapezoid schedule."""
    step = np.arange(8000)
    schedules = (
        np.full(len(step), 3e-4),
        3e-4 * (0.1 + 0.45 * (1 + np.cos(np.pi * step / len(step)))),
        3e-4 * np.clip((len(step) - step) / 2000, 0.01, 1.0),
    )
    areas = [np.array(schedule_areas(s))[:, np.linspace(200, 7999, 20).astype(int)] for s in schedules]
    return dict(zip(("lr_sum", "lr_annealing"), np.concatenate(areas, axis=1)))


def _repeated():
    g = _grid(n_params=np.geomspace(2e7, 5e9, 6), epochs=[1, 4, 10, 40],
              unique_tokens=np.geomspace(1e8, 2e10, 4))
    return {**g, "n_tokens": g["unique_tokens"] * g["epochs"]}


def _shapes():
    g = _grid(width=[512, 1024, 2048, 3072], depth=[4, 12, 28, 56], n_tokens=np.geomspace(4e9, 3e11, 5))
    return {**g, "n_params": 12 * g["width"] ** 2 * g["depth"] + 50304 * g["width"]}


def _examples():
    both = _grid(n_params=np.geomspace(5e7, 5e9, 7), n_tokens=np.geomspace(2e9, 2e11, 7))
    chinchilla = dict(E=1.8172, A=482.01, B=2085.43, alpha=0.3478, beta=0.3658)
    precision = dict(E=2.6, A=4299.0, B=18060.0, alpha=0.4965, beta=0.4)
    table = {
        "chinchilla": (chinchilla, both),
        "chinchilla_shared": (dict(E=1.87, A=521.0, B=1488.0, alpha=0.353), both),
        "chinchilla_gamma": (dict(E=1.6, A=2e3, B=4e4, alpha=0.45, beta=0.5, gamma=0.7), both),
        "kaplan_nd": (dict(N_c=6.4e13, D_c=1.8e13, alpha_N=0.076, alpha_D=0.103), both),
        "farseer": (dict(a3=-0.021, gamma=0.169, b3=1.3, a2=88.0, beta=-0.1, b2=-6.3,
                         a1=-0.124, alpha=0.123, b1=0.42), both),
        "overtraining": (dict(E=1.84, a=212.0, b=367.0, eta=0.136),
                         {**both, "flops": 6 * both["n_params"] * both["n_tokens"]}),
        "data_constrained": ({"E": 1.87, "A": 521.0, "B": 1488.0, "alpha": 0.353, "beta": 0.36,
                              "R_D*": 15.39, "R_N*": 5.31}, _repeated()),
        "width_depth": (dict(E=1.2, A=8.29, B=2.08, C=7.9e4, alpha=0.26, beta=0.5, gamma=0.53), _shapes()),
        "width_depth_params": (dict(E=1.49, A=2.93, B=0.81, C=500.0, F=44359.0, alpha=0.205, beta=0.475,
                                    gamma=0.372, delta=0.503), _shapes()),
        "routed": (dict(a=-0.082, b=-0.108, c=0.009, d=1.104, E_start=1.847, E_max=314.478),
                   _grid(n_params=np.geomspace(1.5e7, 1.3e9, 6), num_experts=[1, 2, 8, 32, 128, 512])),
        "moe_sparsity": ({"e": 0.94, "a": 16612.5, "b": 5455.67, "c": 0.4598, "d": 17.26, "alpha": 0.5962,
                          "beta": 0.3954, "lambda": -0.1666, "delta": 0.1603, "gamma": 0.1595},
                         _grid(n_total=np.geomspace(2e8, 2e10, 5), n_tokens=np.geomspace(5e9, 5e11, 4),
                               active_fraction=[0.02, 0.05, 0.1, 0.25, 1.0])),
        "moe_joint": (dict(c=1.36, a=35.91, b=35.98, alpha=-0.1889, beta=-0.1775, delta=-0.5529,
                           gamma=0.0259, omega=0.2285, zeta=-0.0098, E_start=2.0732, E_max=290.45),
                      _grid(n_active=np.geomspace(3e7, 3e9, 4), n_tokens=np.geomspace(2e9, 2e11, 4),
                            num_experts=[1, 2, 4, 8, 16, 32])),
        "precision_weights": ({**precision, "gamma_w": 2.67},
                              _grid(n_params=np.geomspace(3e7, 2e9, 4), n_tokens=np.geomspace(2e9, 3e10, 4),
                                    weight_bits=[3, 4, 6, 8, 12, 16])),
        "precision": ({**precision, "gamma_w": 2.67, "gamma_a": 2.21, "gamma_kv": 0.96},
                      _grid(n_params=np.geomspace(3e7, 2e9, 3), n_tokens=np.geomspace(2e9, 3e10, 3),
                            weight_bits=[3, 6, 16], activation_bits=[3, 16], kv_bits=[3, 6])),
        "quantization": (dict(C_T=0.06, gamma_D=0.51, gamma_N=0.54, gamma_post=0.59),
                         _grid(n_params=np.geomspace(3e7, 2e9, 4), n_tokens=np.geomspace(2e9, 3e10, 4),
                               post_bits=[3, 4, 5, 6])),
        "task_error_exponential": (dict(epsilon=0.85, k=2.08, gamma=0.756), {"loss": _LOSS}),
        "task_error_sigmoid": (dict(a=0.5, b=0.2, k=3.0, L_0=3.1), {"loss": _LOSS}),
        "annealing": (dict(L_0=2.6, A=0.5, alpha=0.45, C=0.4), _annealed()),
        "step_lr": (dict(c=1.79, alpha=-0.713, beta=0.307), both),
        "step_batch": (dict(d=0.58, gamma=0.571), {"n_tokens": _ONE}),
        "deepseek_lr": (dict(a=0.3118, alpha=-0.125), {"flops": 1e9 * _ONE}),
        "deepseek_batch": (dict(a=0.292, alpha=0.3271), {"flops": 1e9 * _ONE}),
        "critical_batch_loss": ({"B*": 2e8, "alpha_B": 0.21}, {"loss": _LOSS}),
        "critical_batch_steps": ({"S_min": 9000.0, "B*": 4e5}, {"batch_tokens": np.geomspace(2e4, 8e6, 9)}),
        "critical_batch_tokens": (dict(c=22.91, b=0.47), {"n_tokens": _ONE}),
    }
    for letter, column, scale, slope in (
        ("n", "n_params", 8.8e13, 0.076), ("d", "n_tokens", 5.4e13, 0.095), ("c", "flops", 2.7e17, 0.05)
    ):
        x = {column: _ONE}
        table[f"kaplan_{letter}"] = ({"a": scale**slope, f"alpha_{letter.upper()}": slope}, x)
        table[f"hestness_{letter}"] = (dict(E=1.7, a=400.0, alpha=0.34), x)
        table[f"broken1_{letter}"] = (dict(a=0.41, b=10.0, c0=0.1, c1=0.6, d1=3e8, f1=0.3), x)
        x = {column: np.geomspace(1e7, 1e10, 40)}
        table[f"broken2_{letter}"] = (dict(a=0.3, b=6.0, c0=0.02, c1=0.5, d1=8e7, f1=0.2,
                                           c2=-0.4, d2=1.5e9, f2=0.15), x)
    return table


@pytest.fixture(scope="session")
def examples():
    """{law: (parameters, columns)}; the columns may hold more than the law uses."""
    return _examples()
