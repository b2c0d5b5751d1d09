"""Figures: what they say, that they are whole, and that they come out the same twice."""

from typing import cast
from xml.etree import ElementTree

import numpy as np
import pytest
from matplotlib.lines import Line2D

from reports.summaries import loaded_run, summary_of
from robustpo.reports.figures import plot_curves, study_figure
from robustpo.reports.rows import curves_of
from robustpo.reports.style import PPO_COLOUR, RPO_COLOUR, save_figure

TITLE = "my<&task$x_1$"


def rising(level, rows=20):
    return [None, *(level * row / 20 for row in range(1, rows))][:rows]


@pytest.fixture
def runs():
    """One of three seeds of rpo stops half-way, at 10 of 20 rows."""
    return {
        "ppo": [loaded_run(seed, rising(100.0)) for seed in range(2)],
        "rpo": [loaded_run(seed, rising(400.0, rows)) for seed, rows in enumerate((20, 20, 10))],
    }


def draw(runs, labels=("ppo", "rpo")):
    curves = {label: curves_of(runs[label], "return_mean") for label in labels}
    return plot_curves(curves, "return", title=TITLE, subtitle="200 steps, 2 seeds")


def texts(path):
    return ["".join(e.itertext()) for e in ElementTree.parse(path).iter() if "text" in e.tag]


def lines(legend):
    return cast(list[Line2D], legend.legend_handles)


def test_files_are_valid_say_what_they_show_and_come_out_the_same_twice(runs, tmp_path):
    first = save_figure(draw(runs), tmp_path / "one")
    second = save_figure(draw(runs), tmp_path / "two")
    for a, b in zip(first, second, strict=True):
        assert a.read_bytes() == b.read_bytes()
    png, svg, pdf = first
    assert pdf.read_bytes().startswith(b"%PDF-") and str(tmp_path).encode() not in pdf.read_bytes()
    assert png.read_bytes().startswith(b"\x89PNG")
    said = texts(svg)
    assert TITLE in said
    assert "environment steps" in said
    assert "2 seeds" in said
    assert "3 seeds" in said
    # The mean of three seeds ends where the first of them does.
    assert "mean to 100 steps" in said
    assert str(tmp_path) not in svg.read_text()
    assert "<dc:date>" not in svg.read_text()


def test_ppo_is_orange_and_rpo_blue_whatever_their_order(runs):
    for labels in (("ppo", "rpo"), ("rpo", "ppo")):
        legend = draw(runs, labels).legends[0]
        names = [text.get_text().split("\n")[0] for text in legend.get_texts()]
        colours = [handle.get_color() for handle in lines(legend)]
        assert dict(zip(names, colours, strict=True)) == {"ppo": PPO_COLOUR, "rpo": RPO_COLOUR}
        # The legend follows the order in which the curves end.
        assert names == ["rpo", "ppo"]


def test_many_variants_are_all_named_inside_the_figure():
    names = [f"rpo_alpha-0.{i}_learning-rate-0.00{i}_hidden-sizes-256x256" for i in range(1, 9)]
    figure = draw({name: [loaded_run(0, rising(100.0))] for name in names}, names)
    figure.draw_without_rendering()
    legend = figure.legends[0]
    assert len(legend.get_texts()) == len(names)
    box = legend.get_window_extent()
    assert box.y0 >= 0
    assert box.y1 <= figure.bbox.height
    styles = {(h.get_color(), str(h.get_linestyle())) for h in lines(legend)}
    assert len(styles) == len(names)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("rows", [0, 1, 2])
def test_hardly_any_data_still_makes_a_figure(tmp_path, rows):
    runs = {"rpo": [loaded_run(0, rising(100.0, rows), final=1.0)]}
    _, svg, _ = save_figure(draw(runs, ["rpo"]), tmp_path / "few")
    # The first row has no return yet, as no episode has ended.
    assert ("nothing recorded yet" in texts(svg)) == (rows < 2)


def test_a_study_has_a_panel_per_task_with_the_same_colours(tmp_path):
    summary = summary_of({"rpo": {0: [1.0, 2], 1: [2.0, 4]}, "ppo": {0: [3.0, 3], 1: [3.0, 5]}})
    figure = study_figure(summary, "return")
    (axes,) = figure.axes
    lines = {
        line.get_label(): (line.get_color(), np.asarray(line.get_ydata()).tolist())
        for line in axes.lines
    }
    assert lines == {"rpo": (RPO_COLOUR, [1.5, 3]), "ppo": (PPO_COLOUR, [3, 4])}
    _, svg, _ = save_figure(figure, tmp_path / "study")
    assert any("walker-walk" in text for text in texts(svg))
