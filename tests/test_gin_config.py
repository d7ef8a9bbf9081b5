import os
import threading

import pytest

from scaling import optim
from scaling.errors import UserError
from scaling.gin_config import CONFIGURABLES, describes_study, load_experiment, load_study
from scaling.gin_text import to_gin
from scaling.sweeps.ladder import DERIVED_FIELDS
from scaling.sweeps.plan import plan

# Binds d_model = 32, d_ff = 128 and n_heads = 1; a file that includes it goes on at line 2.
TINY = "include 'models/decoder_tiny.gin'\n"
DEMO = "include 'sweeps/demo.gin'\n"
OPTIMIZERS = {cls.__name__ for cls in optim.OPTIMIZERS}


@pytest.fixture
def write(tmp_path, monkeypatch):
    """`write(text, name="x.gin")` in an empty working directory."""
    monkeypatch.chdir(tmp_path)

    def write(text: str, name: str = "x.gin") -> str:
        (tmp_path / name).write_text(text)
        return name

    return write


def refused(load, *args) -> str:
    with pytest.raises(UserError) as error:
        load(*args)
    message = str(error.value)
    assert "\n" not in message and " at 0x" not in message
    return message


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("DecodrConfig.d_model = 3", "x.gin:2: no class 'DecodrConfig'; did you mean 'DecoderConf"),
        ("DecoderConfig.d_modle = 3", "x.gin:2: DecoderConfig has no field 'd_modle'; did you mean 'd_mod"),
        ("TokenizerConfig.vocab_size = %VOCAB_SIZ",
         "%VOCAB_SIZ is not defined; did you mean 'VOCAB_SIZE'?"),
        ("WIDTH = 3", "x.gin:2: WIDTH configures nothing"),
        ("d_model = 3", "x.gin:2: 'd_model' is neither Class.field nor a macro"),
        ("Ladder.head_size = 3", "x.gin:2: Ladder.head_size configures nothing"),
        ("a/DecoderConfig.d_model = 64", "x.gin:2: a/DecoderConfig.d_model configures nothing"),
        ("a/VOCAB_SIZE = 64", "x.gin:2: 'a/VOCAB_SIZE' is neither"),
        ("DecoderConfig.d_model = 'x'", "x.gin:2: DecoderConfig.d_model = 'x': expected an integer"),
        ("DecoderConfig.d_model = 64.0", "x.gin:2: DecoderConfig.d_model = 64.0: expected an integer"),
        ("DecoderConfig.rope_base = 1e400", "x.gin:2: DecoderConfig.rope_base = inf: expected a finite"),
        ("DecoderConfig.d_model = [32]", "x.gin:2: DecoderConfig.d_model = [32]: expected an integer"),
        ("DecoderConfig.n_heads = 3", "x.gin:2: DecoderConfig.n_heads = 3: expected a divisor"),
        ("DecoderConfig.d_model = 2 * 16", "x.gin: Expected newline. (line 2)"),
        ("DecoderConfig.d_model =", "x.gin: Unable to parse value. (line 2)"),
        ("DecoderConfig.d_model = (3", "x.gin: syntax error"),
        ("ScheduleConfig.shape = cosine",
         "x.gin: cannot read the value cosine (line 2); a string wants quotes"),
        ("Experiment.model = @DecodrConfig()", "no class 'DecodrConfig'; did you mean 'DecoderConfig'?"),
        ("Experiment.model = @DecoderConfig", "x.gin:2: Experiment.model = "),
        ("Experiment.model = @AdamWConfig()", "x.gin:2: Experiment.model = "),
        ("Experiment.model = @Experiment()", "leads back to itself"),
        ("A = %B\nB = %A\nDecoderConfig.d_model = %A", "leads back to itself"),
        ("import os", "x.gin:2: a config imports nothing"),
        ("from os import path", "x.gin:2: a config imports nothing"),
        ("include 'optim/adamm.gin'", "'optim/adamm.gin' (included from x.gin)"),
        ("include 'optim/adamm.gin'", "did you mean 'optim/adamw.gin'?"),
        ("include 'x.gin'", "x.gin includes itself"),
        ("gin.constant.value = 3", "x.gin:2: no class 'gin.constant'"),
        (
            "Experiment.model = @a/DecoderConfig()\na/DecoderConfig.d_model = 64",
            "DecoderConfig.d_model configures nothing: a scope overrides it",
        ),
    ],
)
def test_a_mistake_is_one_line_that_says_where(write, line, expected):
    assert expected in refused(load_experiment, write(TINY + line + "\n"))


def test_two_files_that_include_each_other(write):
    write("include 'b.gin'\n", "a.gin")
    write("include 'a.gin'\n", "b.gin")
    assert "includes itself" in refused(load_experiment, "a.gin")


@pytest.mark.parametrize(
    ("binding", "expected"),
    [
        ("DecoderConfig.d_modle = 64", "binding 1: DecoderConfig has no field 'd_modle'"),
        ("DecoderConfig.d_model", "-b 'DecoderConfig.d_model': expected Class.field=value"),
        ("ScheduleConfig.shape=cosine", "binding 1: cannot read the value cosine"),
        ("DecoderConfig.d_model=65", "not 65"),
    ],
)
def test_a_mistaken_binding_is_named(binding, expected):
    assert expected in refused(load_experiment, "models/decoder_tiny.gin", [binding])


def test_files_that_are_not_there_or_not_text(write, tmp_path):
    assert "no config file 'nope.gin'" in refused(load_experiment, "nope.gin")
    assert "did you mean 'models/decoder_tiny.gin'?" in refused(
        load_experiment, "models/decoder_tinny.gin"
    )
    assert "no config file" in refused(load_experiment, str(tmp_path))
    (tmp_path / "binary.gin").write_bytes(b"\xff\xfe\x00")
    assert "binary.gin: cannot be read as text" in refused(load_experiment, "binary.gin")
    assert "Experiment.model" in refused(load_experiment, write(""))
    assert "without a default: Study.name, Study.base" in refused(load_study, write(TINY))


def test_bindings_override_the_file_and_later_ones_earlier(write):
    path = write(TINY + "DecoderConfig.d_model = 64\nDecoderConfig.d_model = 96\n")
    assert load_experiment(path).config.model.d_model == 96
    loaded = load_experiment(path, ["DecoderConfig.d_model=48", "DecoderConfig.d_model=16"])
    assert loaded.config.model.d_model == 16
    assert loaded.sources["DecoderConfig.d_model"] == "binding 2"
    sized = load_experiment(path, ["VOCAB_SIZE=512"]).config
    assert (sized.model.vocab_size, sized.data.tokenizer.vocab_size) == (512, 512)


def test_sources_name_the_line_of_the_value_in_force(write):
    loaded = load_experiment(write(TINY + "\n# a comment\nDecoderConfig.n_layers = 3\n"))
    assert loaded.sources["DecoderConfig.n_layers"] == "x.gin:4"
    tiny = next(s for s in loaded.sources.values() if s.startswith("models/decoder_tiny.gin"))
    assert loaded.sources["DecoderConfig.d_model"].split(":")[0] == tiny.split(":")[0]
    assert "DecoderConfig.norm_epsilon" not in loaded.sources  # a Python default
    assert "VOCAB_SIZE" not in "".join(loaded.sources)
    text = "Experiment.model = @a/DecoderConfig()\na/DecoderConfig.n_layers = 5\n"
    scoped = load_experiment(write(TINY + text))
    assert scoped.config.model.n_layers == 5 and scoped.config.model.d_model == 32
    assert scoped.sources["DecoderConfig.n_layers"] == "x.gin:3"


def test_a_local_file_comes_before_a_shipped_one(write, tmp_path):
    (tmp_path / "optim").mkdir()
    shipped = load_experiment(write(TINY)).config
    write("include 'optim/adamw.gin'\nAdamWConfig.b1 = 0.5\n", "mine.gin")
    assert load_experiment(write(TINY + "include 'mine.gin'\n")).config == shipped.replace(
        optimizer=shipped.optimizer.replace(b1=0.5)
    )


def test_gin_text_builds_the_same_experiment_again(write):
    odd = load_experiment(
        "models/decoder_tiny.gin",
        ["CorpusConfig.name='text_folder'", "CorpusConfig.path='/a b/ü\\'s/%X'",
         "AdamWConfig.epsilon=1e-12", "DecoderConfig.qk_norm=True", "Experiment.seed=7"],
    ).config
    loaded = load_experiment(write(to_gin(odd)))
    assert loaded.config == odd and loaded.config.run_id == odd.run_id
    fields = {f"{c.__name__}.{f}" for c in CONFIGURABLES.values() for f in c.__dataclass_fields__}
    assert set(loaded.sources) <= fields
    assert "DecoderConfig.rope_base" in loaded.sources  # defaults too: nothing may drift


def test_gin_text_builds_the_same_study_again(write):
    study = load_study(write(DEMO), ["Experiment.seed=3", "IsoFlop.seeds=2"]).config
    again = load_study(write(to_gin(study))).config
    assert again == study
    assert [e.run_id for e in plan(again)] == [e.run_id for e in plan(study)]


@pytest.mark.parametrize("name", DERIVED_FIELDS)
def test_a_study_may_not_bind_what_its_ladder_derives(write, name):
    """Of another optimizer or model family than the base's one configures nothing in any case."""
    value = "'x'" if name.endswith("name") else "0.5" if name.split(".")[0] in OPTIMIZERS else "8"
    message = refused(load_study, write(f"{DEMO}{name} = {value}\n"))
    of_base = {"Experiment", "DecoderConfig", "AdamWConfig"}
    where = " in a study" if name.split(".")[0] in of_base else ""
    assert message.startswith(f"x.gin:2: {name} configures nothing{where}")


def test_everything_else_of_a_base_experiment_reaches_the_plan(write):
    """What is not called derived must change the runs, or binding it would configure nothing."""
    before = load_study(write(DEMO)).config
    runs = {e.run_id for e in plan(before)}
    base = before.base
    for changed in (
        base.replace(seed=5),
        base.replace(evaluation=base.evaluation.replace(n_evaluations=91)),
        base.replace(optimizer=base.optimizer.replace(b2=0.987)),
        base.replace(schedule=base.schedule.replace(warmup_fraction=0.234)),
        base.replace(parametrization=base.parametrization.replace(embedding_lr=3.21)),
        base.replace(model=base.model.replace(qk_norm=not base.model.qk_norm)),
        base.replace(data=base.data.replace(validation_rows=77)),
    ):
        assert not runs & {e.run_id for e in plan(before.replace(base=changed))}


def test_studies_and_experiments_are_told_apart(write):
    assert describes_study("sweeps/demo.gin") and describes_study(write(DEMO))
    assert not describes_study("models/decoder_tiny.gin")
    assert "Study.name configures nothing" in refused(load_experiment, "sweeps/demo.gin")


def test_a_failed_load_leaves_nothing_behind(write):
    clean = load_experiment("models/decoder_tiny.gin").config
    refused(load_experiment, write(TINY + "DecoderConfig.d_model = 64\nFOO = 3\n"))
    refused(load_experiment, write(TINY + "DecoderConfig.n_layers = 'x'\n"))
    assert load_experiment("models/decoder_tiny.gin").config == clean


def test_threads_that_load_at_once_get_their_own_configs():
    """Gin's configuration is global to the process."""
    widths = [2 * i for i in range(1, 13)]
    found: dict[int, int] = {}

    def load(width: int) -> None:
        bindings = [f"DecoderConfig.d_model={width}"]
        for _ in range(3):
            found[width] = load_experiment("models/decoder_tiny.gin", bindings).config.model.d_model

    threads = [threading.Thread(target=load, args=(width,)) for width in widths]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == {width: width for width in widths}


def test_a_path_may_be_absolute_or_relative(write, tmp_path):
    write(TINY)
    here = load_experiment("x.gin").config
    assert load_experiment(str(tmp_path / "x.gin")).config == here
    assert load_experiment(os.path.join(".", "x.gin")).config == here


def test_a_mixture_survives_gin_and_json(write):
    config = load_experiment("models/decoder_mixture.gin").config
    assert [c.corpus.name for c in config.data.corpus.components] == ["sotu", "python_source"]
    assert load_experiment(write(to_gin(config))).config == config
    assert type(config).from_json(config.to_json()) == config
