"""The training loop on a tiny task, in real processes: the same weights whatever happens, and clear words."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

torch = pytest.importorskip("torch")

from human_recon.simulation.assets import Assets  # noqa: E402
from tests.tiny_training import TinyConfig, TinyMaker, TinyTask  # noqa: E402
from training.loop import card, plots  # noqa: E402
from training.loop.ahead import ahead  # noqa: E402
from training.loop.card import describe_training, weights_digest  # noqa: E402
from training.loop.checkpoint import Checkpoint  # noqa: E402
from training.loop.command import train  # noqa: E402
from training.loop.config import LoopConfig, OptimizerConfig  # noqa: E402
from training.loop.distributed import Processes  # noqa: E402
from training.loop.trainer import Trainer  # noqa: E402

ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1"}
SMALL = ["--threads", "1", "--workers", "0", "--save-every", "4", "--evaluate-every", "4", "--log-every", "2"]


def command(folder: Path, *options: str) -> list[str]:
    """A process that trains in ``folder``."""
    return [sys.executable, "-m", "tests.tiny_training", str(folder), *SMALL, *options]


def until_it_steps(arguments: list[str]) -> subprocess.Popen[str]:
    """A process that has made its first steps, and goes on."""
    process = subprocess.Popen(arguments, env=ENVIRONMENT, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert any("steps/s" in line for line in process.stdout)
    return process


def train_here(folder: Path, *options: str) -> None:
    """The same command in this process."""
    words = sys.argv
    try:
        sys.argv = ["tiny_training.py", str(folder), *SMALL, *options]
        train("Tiny.", TinyConfig, TinyTask)
    finally:
        sys.argv = words


def trainer(folder: Path, task: TinyConfig | None = None, **options: object) -> Trainer:
    """A trainer in this process."""
    torch.manual_seed(1)
    config = LoopConfig(**{"workers": 0, "evaluate_every": 1000, "log_every": 2, **options})  # type: ignore[arg-type]
    folder.mkdir(exist_ok=True)
    return Trainer(TinyTask(task or TinyConfig(), Assets()), config, folder, Processes(), torch.device("cpu"))


def state(folder: Path) -> dict[str, torch.Tensor]:
    """All tensors that a training goes on from, and its step."""
    content = Checkpoint.load(folder / "last.pt")
    moments = {f"{k} {name}": value for k, slot in content.optimizer["state"].items() for name, value in slot.items()}
    both = {
        **{f"model {k}": v for k, v in content.model.items()},
        **{f"mean {k}": v for k, v in content.averaged.items()},
    }
    return {**both, **moments, "step": torch.tensor(content.step), "best": torch.tensor(content.best)}


def assert_equal(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor], but: str = "none") -> None:
    """Bit for bit."""
    assert a.keys() == b.keys()
    assert [name for name in a if but not in name and not torch.equal(a[name], b[name])] == []


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    """More would only wait for each other on images this small."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a training of 11 steps in one go."""
    folder = tmp_path_factory.mktemp("uninterrupted")
    train_here(folder, "--steps", "11", "--uses", "3")
    return folder


def test_it_learns(tmp_path: Path) -> None:
    one = trainer(tmp_path, steps=100, optimizer=OptimizerConfig(rate=2e-2, warmup=5, ema=0.9))
    one.run()
    assert one.best > 0.9
    lines = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    losses = [line["loss"] for line in lines if "loss" in line]
    assert len(losses) == 50
    assert np.mean(losses[-10:]) < 0.5 * np.mean(losses[:10])


def test_interrupted_and_resumed_is_uninterrupted_bit_for_bit(tmp_path: Path, uninterrupted: Path) -> None:
    """What it did after its last checkpoint is lost and done again."""
    options = ["--steps", "11", "--uses", "3", "--accept-changes"]
    with pytest.raises(OSError, match="no batch 2"):
        train_here(tmp_path, *options, "--task", "fail_at=2")  # in step 6, 7 and 8
    assert Checkpoint.load(tmp_path / "last.pt").step == 4
    done = subprocess.run(command(tmp_path, *options), capture_output=True, text=True, env=ENVIRONMENT, timeout=300)
    assert done.returncode == 0, done.stderr
    assert "at step 4" in done.stdout
    assert_equal(state(tmp_path), state(uninterrupted))
    steps = [json.loads(line)["step"] for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert steps.count(6) == 2, "the lost steps are in the log, too"


def test_a_signal_ends_it_after_a_step_saved(tmp_path: Path) -> None:
    endless = ["--steps", "1000000", "--save-every", "1000000", "--evaluate-every", "1000000"]
    process = until_it_steps(command(tmp_path, *endless))
    process.send_signal(signal.SIGTERM)
    rest, _ = process.communicate(timeout=60)
    assert process.returncode == 0
    step = Checkpoint.load(tmp_path / "last.pt").step
    assert f"stopped at step {step}; the same command goes on from here" in rest
    assert 0 < step < 1000000


def test_batches_of_a_step_may_be_shared_by_processes(tmp_path: Path) -> None:
    """Two processes under torchrun end where one process with both batches of each step ends: bit for bit, as halving
    and doubling are exact."""
    options = ["--steps", "7", "--batches-per-step", "2", "--no-bfloat16"]
    train_here(tmp_path / "one", *options)
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    together = [*torchrun, *command(tmp_path / "two", *options)[1:]]
    done = subprocess.run(together, capture_output=True, text=True, env=ENVIRONMENT, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    assert_equal(state(tmp_path / "one"), state(tmp_path / "two"), but="num_batches_tracked")
    logs = [(tmp_path / name / "log.jsonl").read_text().splitlines() for name in ("one", "two")]
    assert len(logs[0]) == len(logs[1]) == 5
    for mine, theirs in zip(*(map(json.loads, log) for log in logs), strict=True):
        assert mine.keys() == theirs.keys()
        for name in mine.keys() - {"steps_per_second"}:
            assert mine[name] == pytest.approx(theirs[name], rel=1e-6), name
    about = json.loads((tmp_path / "two" / "card.json").read_text())
    assert about["runs"][0]["processes"] == 2
    assert about["samples"] == about["step"] * 2 * 16


def test_processes_and_the_other_batches_matter(tmp_path: Path) -> None:
    """The test above can fail: with another batch in one of the steps the weights are others."""
    for name, batches in (("one", 1), ("two", 2)):
        trainer(tmp_path / name, steps=4, batches_per_step=batches).run()
    one, two = (state(tmp_path / name)["model 0.weight"] for name in ("one", "two"))
    assert not torch.allclose(one, two, atol=1e-5)


def test_a_step_takes_new_batches_and_each_is_used_in_successive_steps(tmp_path: Path) -> None:
    """Numbers and contents of what two processes and one process are given."""
    config = TinyConfig()
    maker = TinyMaker(config.stream.seed, config.stream.batch)
    one = trainer(tmp_path, steps=4, batches_per_step=2, uses=2)
    seen = []
    batches = one._batches()
    for _ in range(8):
        number, tensors = next(batches)
        seen.append((number, tensors["image"].numpy()))
    batches.close()
    assert [number for number, _ in seen] == list(range(8))
    for place, (index, mirrored) in enumerate([(0, 0), (1, 0), (0, 1), (1, 1), (2, 0), (3, 0), (2, 1), (3, 1)]):
        expected = maker.make(index)
        np.testing.assert_array_equal(seen[place][1], expected[..., ::-1] if mirrored else expected)


def test_the_mean_of_running_statistics_is_that_over_all_batches_of_a_step(tmp_path: Path) -> None:
    one = trainer(tmp_path, steps=1, batches_per_step=2, optimizer=OptimizerConfig(rate=0.0), bfloat16=False)
    layer = one.model[1]
    batches = [tensors for _, (_, tensors) in zip(range(2), one._batches(), strict=False)]
    one.run()
    expected = torch.zeros(6)
    torch.manual_seed(1)
    fresh = TinyTask(TinyConfig(), Assets()).model
    for number, tensors in enumerate(batches):
        generator = torch.Generator().manual_seed((1 << 40) + number)
        noise = torch.randn(tensors["image"].shape, generator=generator) * 0.1
        expected += 0.1 * fresh[0](tensors["image"] + noise).mean((0, 2, 3)).detach() / 2  # momentum 0.1, from 0
    torch.testing.assert_close(layer.running_mean, expected, atol=1e-6, rtol=1e-5)


def test_a_training_is_prolonged(tmp_path: Path, uninterrupted: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shutil.copytree(uninterrupted, tmp_path / "run")
    options = ["--steps", "15", "--uses", "3", "--evaluate-every", "100"]
    train_here(tmp_path / "run", *options)
    assert "had begun to fall and rises again; to prolong the plateau, copy plateau.pt" in capsys.readouterr().out
    assert Checkpoint.load(tmp_path / "run" / "last.pt").step == 15
    train_here(tmp_path / "run", *options)
    assert "nothing left to do" in capsys.readouterr().out
    runs = [json.loads(line)["from_step"] for line in (tmp_path / "run" / "runs.jsonl").read_text().splitlines()]
    assert runs == [0, 11]


def test_prolonging_from_the_plateau_is_as_if_longer_from_the_beginning(tmp_path: Path, uninterrupted: Path) -> None:
    (tmp_path / "a").mkdir()
    shutil.copy(uninterrupted / "plateau.pt", tmp_path / "a" / "last.pt")
    assert Checkpoint.load(tmp_path / "a" / "last.pt").step == 8  # of 11, a quarter of which is the decay
    for name in ("a", "b"):
        train_here(tmp_path / name, "--steps", "16", "--uses", "3", "--evaluate-every", "100")
    assert_equal(state(tmp_path / "a"), state(tmp_path / "b"), but="best")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--rate", "0.01"], r"other settings: loop.optimizer.rate: 0.002 -> 0.01. Give the same"),
        (["--task", "noise=0.2"], r"task.noise: 0.1 -> 0.2"),
        (
            ["--task", "width=7"],
            r"holds another network than Sequential, or one of another size .*0.weight \(6, 1, 3, 3",
        ),
        (["--task", "nose=0.2"], r"nose: TinyConfig has no 'nose', only stream, width"),
        (["--task", "stream.batch=many"], r"stream.batch=many: must be int, such as 16"),
        (["--uses", "0"], r"must be at least 1"),
        (["--batches-per-step", "3"], r"loop.batches_per_step: 1 -> 3"),
    ],
)
def test_what_cannot_go_on_says_why(tmp_path: Path, uninterrupted: Path, options: list[str], message: str) -> None:
    shutil.copytree(uninterrupted, tmp_path / "run")
    before = (tmp_path / "run" / "last.pt").read_bytes()
    with pytest.raises(SystemExit, match=f"(?s)error: .*{message}"):
        train_here(tmp_path / "run", "--steps", "12", "--uses", "3", *options)
    assert (tmp_path / "run" / "last.pt").read_bytes() == before


def test_a_checkpoint_of_older_code_goes_on(tmp_path: Path, uninterrupted: Path) -> None:
    """Settings that it does not know had the effect of their defaults; steps, workers and the log are free."""
    content = Checkpoint.load(uninterrupted / "last.pt")
    config = json.loads(content.config)
    del config["task"]["noise"], config["task"]["stream"]["false_crops"], config["loop"]["log_every"]
    replace(content, config=json.dumps(config)).save(tmp_path / "last.pt")
    trainer(tmp_path, steps=30, uses=3).resume()
    with pytest.raises(ValueError, match=r"task.noise: 0.1 -> 0.3"):
        trainer(tmp_path, TinyConfig(noise=0.3), steps=30, uses=3).resume()
    config["task"]["gone"] = 3
    replace(content, config=json.dumps(config)).save(tmp_path / "last.pt")
    with pytest.raises(ValueError, match=r"task.gone: 3 -> no longer exists"):
        trainer(tmp_path, steps=30, uses=3).resume()
    other = trainer(tmp_path, steps=30, uses=3, optimizer=OptimizerConfig(weight_decay=0.5))
    assert other.resume(accept_changes=True)
    assert [group["weight_decay"] for group in other.optimizer.param_groups] == [0.5, 0.0]


def test_files_that_are_no_checkpoint(tmp_path: Path, uninterrupted: Path) -> None:
    path = tmp_path / "last.pt"
    path.write_bytes((uninterrupted / "last.pt").read_bytes()[:5000])
    with pytest.raises(ValueError, match=r"last.pt is no checkpoint, or damaged"):
        trainer(tmp_path, steps=1).resume()
    path.write_bytes(b"")
    with pytest.raises(ValueError, match=r"last.pt is no checkpoint, or damaged"):
        Checkpoint.load(path)
    torch.save({"model": 1}, path)
    with pytest.raises(ValueError, match=r"last.pt is no checkpoint of a training here"):
        Checkpoint.load(path)
    torch.save(TinyTask, path)  # a class: loading it would run code
    with pytest.raises(ValueError, match=r"last.pt is no checkpoint, or damaged"):
        Checkpoint.load(path)


def test_processes_must_divide_the_batches(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"3 batches per step cannot be shared by 2 processes"):
        Trainer(
            TinyTask(TinyConfig(), Assets()),
            LoopConfig(batches_per_step=3),
            tmp_path,
            Processes(0, 2),
            torch.device("cpu"),
        )


def test_weights_that_explode_stop_the_training(tmp_path: Path) -> None:
    with pytest.raises(FloatingPointError, match=r"gradient of step \d+ is not finite; lower the learning rate"):
        trainer(tmp_path, TinyConfig(noise=float("inf")), steps=5).run()
    assert not (tmp_path / "last.pt").exists()


def test_data_that_cannot_be_made_stop_the_training(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="no batch 1"):
        trainer(tmp_path, TinyConfig(fail_at=1), steps=5).run()


def test_the_best_weights_are_kept_with_a_card(tmp_path: Path, uninterrupted: Path) -> None:
    best = Checkpoint.load(uninterrupted / "best.pt")
    lines = [json.loads(line) for line in (uninterrupted / "log.jsonl").read_text().splitlines()]
    scores = {line["step"]: line["validation/score"] for line in lines if "validation/score" in line}
    assert list(scores) == [4, 8, 11]
    assert best.step == min(step for step, score in scores.items() if score == max(scores.values()))
    about = json.loads((uninterrupted / "card.json").read_text())
    assert about["step"] == best.step
    assert about["weights_sha256"] == weights_digest(best.averaged)
    assert about["validation"] == {"score": scores[best.step]}
    assert about["samples"] == best.step * 16
    assert about["parameters"] == sum(p.numel() for p in TinyTask(TinyConfig(), Assets()).model.parameters()) + 2 * 6
    assert about["seed"] == 1
    run = about["runs"][0]
    assert f" {uninterrupted.name} --threads 1" in run["command"]
    assert "--steps 11" in run["command"]
    assert run["cpu"] and run["versions"]["torch"] == torch.__version__
    assert about["data"] == [run["data"]]
    assert str(uninterrupted.parent) not in json.dumps(about)


def test_a_card_of_a_checkpoint_whose_run_was_not_noted(tmp_path: Path, uninterrupted: Path) -> None:
    shutil.copy(uninterrupted / "best.pt", tmp_path / "best.pt")
    about = describe_training(tmp_path / "best.pt")
    assert about["runs"] == about["data"] == []
    assert about["validation"] == {}
    assert about["settings"]["loop"]["steps"] == 11


def test_a_card_joins_what_a_model_card_says(
    tmp_path: Path, uninterrupted: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "net.json"
    path.write_text('{"export": {"bytes": 3}}')
    monkeypatch.setattr(sys, "argv", ["card", str(uninterrupted / "best.pt"), "-o", str(path)])
    card.main()
    content = json.loads(path.read_text())
    assert content["export"] == {"bytes": 3}
    assert content["training"]["weights_sha256"] == describe_training(uninterrupted / "best.pt")["weights_sha256"]
    monkeypatch.setattr(sys, "argv", ["card", str(tmp_path / "none.pt")])
    with pytest.raises(SystemExit, match=r"error: .*none.pt"):
        card.main()


def test_plots_show_the_log_of_a_run_that_was_interrupted(tmp_path: Path) -> None:
    lines = [{"step": s, "loss": v} for s, v in ((2, 9.0), (4, 8.0), (6, 99.0), (8, 98.0), (6, 7.0))]
    path = tmp_path / "log.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in [*lines, {"step": 6, "validation/score": 0.5}]))
    curves = plots.read_log(path)
    assert curves["loss"] == plots.Curve([2, 4, 6], [9.0, 8.0, 7.0])
    assert curves["validation/score"] == plots.Curve([6], [0.5])
    picture = cv2.imread(str(plots.draw_progress(tmp_path)))
    assert picture is not None
    assert picture.min() < 100, "something is drawn"
    path.write_text('{"step": 2, "loss": 1}\n{"loss": 3}\n')
    with pytest.raises(ValueError, match=r"log.jsonl:2 is no line of a training's log"):
        plots.read_log(path)


def test_smoothing_keeps_lines_and_means() -> None:
    line = np.arange(12.0)
    np.testing.assert_allclose(plots.smoothed(line), line)
    noise = np.random.default_rng(0).normal(size=400)
    assert plots.smoothed(noise).std() < 0.5 * noise.std()
    assert plots.smoothed(np.array([3.0])).tolist() == [3.0]


def test_the_digest_is_that_of_the_numbers() -> None:
    weights = {"b": torch.arange(6.0).reshape(1, 2, 3, 1), "a": torch.tensor(3)}
    turned = {"a": weights["a"].clone(), "b": weights["b"].contiguous(memory_format=torch.channels_last)}
    assert weights_digest(weights) == weights_digest(turned)
    for other in (
        {**weights, "b": weights["b"] + 1},
        {**weights, "b": weights["b"].reshape(1, 3, 2, 1)},
        {"c": weights["b"], "a": weights["a"]},
        {**weights, "b": weights["b"].double()},
    ):
        assert weights_digest(other) != weights_digest(weights)


def test_missing_data_are_said_loudly(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("HUMAN_RECON_DATA", raising=False)
    monkeypatch.setenv("HUMAN_RECON_CACHE", str(tmp_path / "nothing"))
    train_here(tmp_path / "run", "--steps", "1")
    complaints = capsys.readouterr().err
    assert "WARNING: no motion capture" in complaints
    assert "WARNING: no wardrobe" in complaints


def test_items_made_ahead_are_the_same() -> None:
    closed = []

    def numbers(count: int):
        try:
            yield from range(count)
        finally:
            closed.append(count)

    assert list(ahead(numbers(50), 3)) == list(range(50))
    endless = ahead(numbers(10**12), 2)
    assert [next(endless) for _ in range(5)] == [0, 1, 2, 3, 4]
    endless.close()
    assert closed == [50, 10**12]

    def broken():
        yield 1
        raise KeyError("two")

    items = ahead(broken(), 2)
    assert next(items) == 1
    with pytest.raises(KeyError, match="two"):
        next(items)


def test_the_learning_rate_is_a_trapezium() -> None:
    config = OptimizerConfig(rate=1.0, warmup=10, decay=0.25)
    rates = [config.rate_at(step, 100) for step in range(100)]
    assert rates[0] == pytest.approx(0.1)
    assert rates[9:76] == [1.0] * 67
    assert rates[76:] == pytest.approx([(100 - step) / 25 for step in range(76, 100)])
    assert config.plateau_end(100) == 75
    assert [config.rate_at(step, 200) for step in range(75)] == rates[:75], "a longer training begins the same"


def test_nothing_is_left_running(tmp_path: Path) -> None:
    """Workers end with a training that is killed outright."""
    process = until_it_steps([*command(tmp_path, "--steps", "1000000"), "--workers", "1"])
    lists = list(Path(f"/proc/{process.pid}/task").glob("*/children"))
    workers = [int(word) for path in lists for word in path.read_text().split()]
    process.kill()
    process.communicate()
    if not lists:
        pytest.skip("this system does not list a process' children")
    assert len(workers) >= 1
    deadline = time.monotonic() + 30
    while any(_alive(worker) for worker in workers) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert [worker for worker in workers if _alive(worker)] == []


def _alive(process: int) -> bool:
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
