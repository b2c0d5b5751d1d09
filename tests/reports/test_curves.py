"""Figures: what they say, that they are whole, and that they come out the same twice."""

from typing import cast
from xml.etree import ElementTree

import polars as pl
import pytest
from matplotlib.lines import Line2D

from reports.runs import write_run
from robustpo.reports.curves import PPO_COLOUR, RPO_COLOUR, plot_curves, save_figure
from robustpo.studies.store import RESULTS_SCHEMA, load_results

TITLE = "my<&task$x_1$"


@pytest.fixture
def results(tmp_path):
    for variant, level in (("ppo", 100.0), ("rpo", 400.0)):
        for seed in range(2):
            write_run(tmp_path, variant, seed, final_return=level + seed)
    write_run(tmp_path, "rpo", 2, rows=10, status=None)
    return load_results(tmp_path)


def draw(results, labels, column="return_mean"):
    return plot_curves(results, column, title=TITLE, subtitle="41k steps, 2 seeds", labels=labels)


def texts(path):
    return ["".join(e.itertext()) for e in ElementTree.parse(path).iter() if "text" in e.tag]


def lines(legend):
    return cast(list[Line2D], legend.legend_handles)


def test_files_are_valid_say_what_they_show_and_come_out_the_same_twice(results, tmp_path):
    labels = {"ppo": "ppo", "rpo": "rpo"}
    first = save_figure(draw(results, labels), tmp_path / "one")
    second = save_figure(draw(results, labels), tmp_path / "two")
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
    # One of three seeds stops half-way, at 10 of 20 rollouts, and so does the mean of them.
    assert "mean to 20.5k steps" in said
    assert str(tmp_path) not in svg.read_text()
    assert "<dc:date>" not in svg.read_text()


def test_ppo_is_orange_and_rpo_blue_whatever_their_order(results):
    for labels in ({"ppo": "ppo", "rpo": "rpo"}, {"rpo": "rpo", "ppo": "ppo"}):
        legend = draw(results, labels).legends[0]
        names = [text.get_text().split("\n")[0] for text in legend.get_texts()]
        colours = [handle.get_color() for handle in lines(legend)]
        assert dict(zip(names, colours, strict=True)) == {"ppo": PPO_COLOUR, "rpo": RPO_COLOUR}
        # The legend follows the order in which the curves end.
        assert names == ["rpo", "ppo"]


def test_many_variants_are_all_named_inside_the_figure(tmp_path):
    names = [f"rpo_alpha-0.{i}_learning-rate-0.00{i}_hidden-sizes-256x256" for i in range(1, 9)]
    for name in names:
        write_run(tmp_path, name, 0)
    figure = draw(load_results(tmp_path), {name: name for name in names})
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
    write_run(tmp_path, "rpo", 0, rows=rows)
    results = load_results(tmp_path) if rows else pl.DataFrame(schema=RESULTS_SCHEMA)
    _, svg, _ = save_figure(draw(results, {"rpo": "rpo"}), tmp_path / "few")
    # The first row has no return yet, as no episode has ended.
    assert ("nothing recorded yet" in texts(svg)) == (rows < 2)
