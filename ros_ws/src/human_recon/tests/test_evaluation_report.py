"""The report: whole, self-contained, and nothing from outside gets into its markup."""

from __future__ import annotations

import base64
import dataclasses
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from human_recon.body.model import BodyModel
from human_recon.cli.evaluate import _PRINTED
from human_recon.evaluation import plots
from human_recon.evaluation.catalogue import BREAKDOWN, BY_NAME, METRICS
from human_recon.evaluation.evaluate import Evaluation, EvaluationOptions, evaluate_sequences
from human_recon.evaluation.records import plain, to_line
from human_recon.evaluation.report import describe_case, draw_case, render_report
from tests.evaluation_support import FakePipeline, found, true_frame

VOID = {"meta", "img", "link", "br"}


class Page(HTMLParser):
    """Collects images and text; fails when tags do not nest."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.images: list[str] = []
        self.links: list[str] = []
        self.tags: set[str] = set()
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        values = dict(attrs)
        if tag == "img":
            self.images.append(values["src"] or "")
        self.links += [v for k, v in attrs if k in ("href", "src") and v and not v.startswith("data:")]
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


def parse(html: str) -> Page:
    page = Page()
    page.feed(html)
    page.close()
    assert page.open == []
    return page


def run(body: BodyModel, sequences: list, change, folder: Path) -> tuple[Evaluation, dict[str, Any], Path]:
    frames = [frame for sequence in sequences for frame in sequence]
    records = folder / "records.jsonl"
    options = EvaluationOptions(warm_up=False, worst=1)
    with records.open("w") as file:
        evaluation = evaluate_sequences(
            sequences, FakePipeline(body, frames, change), options, lambda r: file.write(to_line(r) + "\n") and None
        )
    content = {
        "source": {"name": "<script>alert(1)</script> & more"},
        "pipeline": {"name": "geometric", "settings": {"note": "</pre><b>bold</b>"}},
        "options": {"matching.gate": 0.5, "matching.least_visibility": 0.1},
        "environment": {"cpu": "A & B <C>"},
        "seconds": 1.5,
        "workers": 1,
        "results": evaluation.summary,
    }
    return evaluation, plain(content), records


@pytest.fixture(scope="module")
def sequence_report(body: BodyModel, tmp_path_factory) -> tuple[Page, str, Evaluation]:
    frames = [true_frame(body, (1, 2), round(t * 1e8)) for t in range(4)]

    def change(number: int, true):
        people = [found(body, true.people[0], (0.05 * number, 0, 0))]
        return [*people, found(body, true.people[0], (0, 0, 1.5), new_id=8)] if number == 2 else people

    evaluation, content, records = run(body, [frames], change, tmp_path_factory.mktemp("report"))
    html = render_report(content, records, evaluation.worst, body.faces)
    return parse(html), html, evaluation


def test_nothing_is_loaded_and_nothing_runs(sequence_report):
    page, html, _ = sequence_report
    assert page.links == []
    assert not {"script", "iframe", "object", "b2"} & page.tags
    assert "http" not in re.sub(r'src="data:[^"]*"', "", html).replace("http-equiv", "")


def test_text_from_outside_stays_text(sequence_report):
    page, html, _ = sequence_report
    assert "<script>alert(1)</script> & more" in page.text
    assert "note: </pre><b>bold</b>" in page.text
    assert "&lt;script&gt;" in html and "cpu: A & B <C>" in page.text


def test_all_pictures_can_be_read(sequence_report):
    page, _, _ = sequence_report
    kinds = []
    for source in page.images:
        head, _, data = source.partition(",")
        content = base64.b64decode(data, validate=True)
        kinds.append(head)
        if "jpeg" in head:
            assert cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR).shape[1] > 1000
        else:
            assert content.lstrip().startswith(b"<?xml") and b"</svg>" in content
    assert kinds.count("data:image/jpeg;base64") == 2  # the worst of either kind
    assert kinds.count("data:image/svg+xml;base64") >= 8


def test_every_metric_is_in_the_table_with_its_unit(sequence_report):
    page, _, evaluation = sequence_report
    for name, entry in evaluation.summary["metrics"].items():
        metric = BY_NAME[name]
        assert metric.unit == entry["unit"], name
        assert metric.title in page.text, name
    assert "Tracks over time" in page.text and "By visibility" in page.text
    assert "(100 % seen" in page.text


def test_what_went_wrong_is_said(sequence_report):
    _, _, evaluation = sequence_report
    by_error, by_count = evaluation.worst
    assert by_error.record.index == 3 and "MPJPE 150 mm" in describe_case(by_error)
    text = describe_case(by_count)
    assert "Sequence 0, frame 2" in text and "person 2 (100 % seen" in text and "missed" in text
    assert "1 found who is not there" in text


def test_the_picture_of_a_case_shows_truth_left_and_prediction_right(body, sequence_report):
    _, _, evaluation = sequence_report
    picture = draw_case(evaluation.worst[1], body.faces)
    assert picture.dtype == np.uint8 and picture.ndim == 3
    middle = picture.shape[1] // 2
    assert (picture[:, middle] == 255).all()  # the gap
    assert np.abs(picture[:, : middle - 4].astype(int) - picture[:, middle + 4 :]).max() > 100


def test_frames_without_people_make_a_report(body, tmp_path):
    empty = true_frame(body, ())
    evaluation, content, records = run(body, [[empty]], lambda *_: [], tmp_path)
    page = parse(render_report(content, records, evaluation.worst, body.faces))
    assert "0 people" in page.text and "Tracks over time" not in page.text


def test_people_whom_nobody_found_make_a_report(body, tmp_path):
    frame = true_frame(body, (1,))
    evaluation, content, records = run(body, [[frame]], lambda *_: [], tmp_path)
    page = parse(render_report(content, records, evaluation.worst, body.faces))
    assert "missed" in page.text


def test_figures_are_the_same_every_time():
    draw = plots.cumulative([0.0, 10.0], [0.0, 100.0], "title", "points")
    assert plots.to_svg(draw) == plots.to_svg(draw)
    assert cv2.imdecode(np.frombuffer(plots.to_png(draw), np.uint8), 1) is not None


def test_runs_of_a_track():
    steps = [(0, 1), (1, 1), (2, None), (3, 1), (5, 1), (6, 2)]
    assert plots._runs(steps) == [(0, 2, 1), (2, 1, None), (3, 1, 1), (5, 1, 1), (6, 1, 2)]


def test_the_catalogue_is_sound():
    names = [metric.name for metric in METRICS]
    assert len(set(names)) == len(names)
    assert set(BREAKDOWN) <= set(names)
    assert set(_PRINTED) <= set(names)
    groups = [metric.group for metric in METRICS]
    assert sorted(set(groups), key=groups.index) == [g for i, g in enumerate(groups) if i == 0 or groups[i - 1] != g]
    assert all(dataclasses.is_dataclass(metric) for metric in METRICS)


def test_matplotlib_is_loaded_for_figures_only():
    code = "import sys, human_recon.evaluation.report; assert 'matplotlib' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
