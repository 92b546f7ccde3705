"""What is published can be read again, and the pages say what it says."""

import fnmatch
import json
import re
import shutil
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from ecg_siglip import config
from ecg_siglip.core.run_folder import from_yaml, to_yaml
from ecg_siglip.datasets import ptbxl
from ecg_siglip.evaluation.comparison import read_run
from ecg_siglip.metrics import multilabel

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "results"))

import build  # noqa: E402
import published  # noqa: E402
import records  # noqa: E402
import words  # noqa: E402


def test_a_packed_run_gives_the_scores_of_the_run(evaluated, simulated, tmp_path):
    run = evaluated.parents[1]
    published.pack(run, 10, tmp_path / "packed")
    path = tmp_path / "packed" / f"{run.name}.npz"
    with np.load(path, allow_pickle=False) as stored:
        assert not any("true" in name for name in stored.files), "labels stay with the data"
    published.unpack(path, simulated, tmp_path / "again")
    before = read_run(run.parent, run.name, 10)
    after = read_run(tmp_path / "again", run.name, 10)
    assert (after.ecg_id == before.ecg_id).all()
    assert (after.y_true == before.y_true).all()
    assert after.codes == before.codes
    np.testing.assert_allclose(after.output.y_prob, before.output.y_prob, atol=3e-4)
    for rule, values in before.output.thresholds.items():
        np.testing.assert_array_equal(after.output.thresholds[rule], values)
    auroc = multilabel.macro_auroc(after.y_true, after.output.y_prob)
    assert auroc == pytest.approx(
        # The answers of this small model hardly differ: some are the same after rounding.
        multilabel.macro_auroc(before.y_true, before.output.y_prob),
        abs=0.01,
    )


def test_a_packed_run_names_no_place_of_the_machine(evaluated, simulated, tmp_path):
    run = evaluated.parents[1]
    published.pack(run, 10, tmp_path / "packed")
    path = tmp_path / "packed" / f"{run.name}.npz"
    again = published.unpack(path, simulated, tmp_path / "again")
    text = "".join(path.read_text() for path in again.rglob("*.*") if path.suffix != ".parquet")
    assert str(tmp_path.parent) not in text
    assert "data/ptbxl" in (again / "config.yaml").read_text()


def test_a_packed_run_keeps_the_tables_beside_its_scores(evaluated, simulated, tmp_path):
    run = shutil.copytree(evaluated.parents[1], tmp_path / "small")
    folder = run / "evaluate" / "fold10"
    held_out = [{"code": "AFIB", "n_positive": 3, "auroc": 0.123456789, "composed": None}]
    (folder / "held_out.json").write_text(json.dumps(held_out))
    published.pack(run, 10, tmp_path / "packed")
    path = tmp_path / "packed" / "small.npz"
    with np.load(path, allow_pickle=False) as stored:
        assert {name for name in stored.files if name in published.TABLES} == {
            *("held_out.json", "retrieval.json", "entailment.json"),
        }
    again = published.unpack(path, simulated, tmp_path / "again") / "evaluate" / "fold10"
    assert json.loads((again / "held_out.json").read_text()) == [
        {"code": "AFIB", "n_positive": 3, "auroc": 0.12346, "composed": None}
    ]
    for name in ("retrieval", "entailment"):
        before = pd.DataFrame(json.loads((folder / f"{name}.json").read_text()))
        after = pd.DataFrame(json.loads((again / f"{name}.json").read_text()))
        pd.testing.assert_frame_equal(after, before, check_exact=False, atol=6e-6, rtol=0)
    assert not (again / "languages.json").exists()


def test_no_packed_table_holds_a_report_or_a_label(evaluated, simulated, tmp_path):
    run = evaluated.parents[1]
    published.pack(run, 10, tmp_path)
    with np.load(tmp_path / f"{run.name}.npz", allow_pickle=False) as stored:
        tables = {
            name: json.loads(stored[name].tobytes()) for name in published.TABLES if name in stored
        }
    assert tables
    words_said = {
        value
        for rows in tables.values()
        for row in rows
        for key, value in row.items()
        if isinstance(value, str) and key not in ("code", "name", "nearest")
    }
    assert words_said <= {"ECG to report", "report to ECG", "all", "not by a machine"}
    assert all(
        isinstance(value, str | int | float | None)
        for rows in tables.values()
        for row in rows
        for value in row.values()
    )


def test_a_run_with_findings_held_out_gets_the_labels_of_its_own(evaluated, simulated, tmp_path):
    run = shutil.copytree(evaluated.parents[1], tmp_path / "small")
    before = read_run(tmp_path, "small", 10)
    out = [before.codes[2], before.codes[40]]
    settings = from_yaml(config.TrainConfig, run / "config.yaml")
    settings.data.held_out, settings.ecg.weights = out, "/home/me/runs/enc"
    (run / "config.yaml").write_text(to_yaml(settings))
    folder = run / "evaluate" / "fold10"
    table = pd.read_parquet(folder / "predictions.parquet")
    columns = [f"{kind}/{code}" for kind in ("true", "probability") for code in out]
    table.drop(columns=columns).to_parquet(folder / "predictions.parquet")
    rows = pd.read_csv(folder / "findings.csv", keep_default_na=False, na_values=[""])
    rows[~rows["code"].isin(out)].to_csv(folder / "findings.csv", index=False)
    published.pack(run, 10, tmp_path / "packed")
    published.unpack(tmp_path / "packed" / "small.npz", simulated, tmp_path / "again")
    after = read_run(tmp_path / "again", "small", 10)
    kept = [i for i, code in enumerate(before.codes) if code not in out]
    assert after.codes == tuple(before.codes[i] for i in kept)
    assert len(after.codes) == 69
    assert (after.y_true == before.y_true[:, kept]).all()
    assert after.settings.data.held_out == out
    assert after.settings.ecg.weights == "enc", "the path stays at home"


def test_labels_of_an_unknown_finding_or_record_are_refused(simulated):
    with pytest.raises(ValueError, match="lacks the findings XYZ"):
        published.labels(simulated, ("NORM", "XYZ"), np.array([1]))
    with pytest.raises(ValueError, match="lacks 1 of the 2 records"):
        published.labels(simulated, ("NORM",), np.array([1, 10**6]))


@pytest.mark.parametrize("path", sorted(published.RUNS.glob("*.npz")), ids=lambda p: p.stem)
def test_every_published_run_is_whole_and_small(path, shared_ptbxl, tmp_path):
    assert path.stat().st_size < 100_000
    run = published.unpack(path, shared_ptbxl, tmp_path)
    read = read_run(tmp_path, run.name, build.FOLD)
    assert read.settings.run.name == path.stem
    assert read.settings.data.train_folds == [1, 2, 3, 4, 5, 6, 7]
    assert len(read.codes) == 71 - len(read.settings.data.held_out)
    stored = json.loads((run / f"evaluate/fold{build.FOLD}/metrics.json").read_text())
    auroc = np.nanmean(multilabel.auroc_scores(read.y_true, read.output.y_prob))
    assert auroc == pytest.approx(stored["macro_auroc"], abs=1e-3)
    text = "".join(p.read_text() for p in run.rglob("*.*") if p.suffix != ".parquet")
    assert not re.search(r"(/home|/root|/tmp|/mnt|/Users|/work)/", text)


def test_some_runs_are_published():
    assert any(published.RUNS.glob("*.npz"))


def test_the_pages_say_what_the_results_say():
    assert build.write_pages(check=True) == []


def test_every_figure_of_the_results_page_is_there():
    page = ROOT / "docs" / "results.md"
    figures = re.findall(r"!\[[^\]]*\]\(([^)]+)\)", page.read_text())
    assert figures
    assert [name for name in figures if not (page.parent / name).is_file()] == []


def leave(runs: Path, name: str, table: str, rows: list[dict]) -> None:
    """A run of which nothing is there but one table of fold 9."""
    folder = runs / name / "evaluate" / "fold9"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{table}.json").write_text(json.dumps(rows))


def cells(text: str) -> list[list[str]]:
    """The lines of all tables of a text, without their heads."""
    lines = [line for line in text.splitlines() if line.startswith("|")]
    split = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    heads = [i - 1 for i, line in enumerate(split) if set(line[0]) == {"-"}]
    return [line for i, line in enumerate(split) if i not in heads and i - 1 not in heads]


def unheard(code: str, auroc: float, floor: float = 0.7, **more) -> dict:
    row = {"code": code, "name": code, "n_positive": 10, "auroc": auroc, "both": auroc - 0.1}
    row |= {"composed": None, "nearest": "NORM", "nearest_auroc": 0.5, "random_high": floor}
    row |= {"probe_1": 0.6, "probe_5": 0.7, "probe_20": None, "f1": 0.3, "f1_chance": 0.1}
    return row | more


@pytest.fixture
def asked(tmp_path) -> Path:
    """Two seeds of two splits, the second of which has one seed more."""
    runs = tmp_path / "runs"
    block = {
        0: [unheard("CLBBB", 0.9, composed=0.8), unheard("IRBBB", 0.6)],
        1: [unheard("CLBBB", 0.7, 0.8, nearest="LAFB"), unheard("IRBBB", 0.4)],
    }
    rhythm = {
        0: [unheard("AFIB", 0.8, nearest="SR", nearest_auroc=0.9)],
        1: [unheard("AFIB", 0.9, nearest="AFLT", nearest_auroc=0.9)],
        2: [unheard("AFIB", 1.0, nearest="AFLT", nearest_auroc=0.9)],
    }
    for split, of_seed in (("rhythm", rhythm), ("block", block)):
        for seed, rows in of_seed.items():
            leave(runs, f"zeroshot_{split}_s{seed}", "held_out", rows)
    leave(runs, "zeroshot_block_old_s0", "held_out", [unheard("CLBBB", 0.1)])
    for seed, floor in enumerate((0.6, 0.8)):
        rows = [unheard("CLBBB", floor), unheard("IRBBB", 0.55)]
        leave(runs, f"zeroshot_block_random_s{seed}", "held_out", rows)
    return runs


def test_findings_held_out_are_averaged_over_seeds_findings_and_splits(asked):
    found = words.zeroshot(asked, 9)
    block, rhythm = found["splits"]
    assert (block["split"], block["seeds"], rhythm["seeds"]) == ("block", [0, 1], [0, 1, 2])
    clbbb, irbbb = block["findings"]
    assert (clbbb["auroc"], irbbb["auroc"]) == pytest.approx((0.8, 0.5))
    assert (clbbb["composed"], irbbb["composed"]) == (0.8, None)
    assert clbbb["random_high"] == pytest.approx(0.75)
    assert clbbb["random_encoder"] == pytest.approx(0.7)
    assert (clbbb["n_above_floor"], clbbb["n_seeds"]) == (1, 2)
    assert (rhythm["findings"][0]["random_encoder"], rhythm["findings"][0]["n_seeds"]) == (None, 0)
    assert rhythm["findings"][0]["nearest"] == {"AFLT": 2, "SR": 1}
    assert block["mean"]["auroc"] == pytest.approx(0.65)
    assert found["mean"]["auroc"] == pytest.approx((0.65 + 0.9) / 2)
    # Seeds that both splits have: (0.75 + 0.8) / 2 and (0.55 + 0.9) / 2.
    assert found["seeds"] == [0, 1]
    assert found["low"]["auroc"] == pytest.approx(0.725)
    assert found["high"]["auroc"] == pytest.approx(0.775)
    assert found["mean"]["probe_20"] is None


def test_a_finding_with_few_positives_is_left_out_of_a_second_mean(tmp_path):
    rows = [unheard("ISCAL", 0.9), unheard("ISCIN", 0.5, n_positive=2)]
    leave(tmp_path / "runs", "zeroshot_ischemia_s0", "held_out", rows)
    found = words.zeroshot(tmp_path / "runs", 9)
    assert found["mean"]["auroc"] == pytest.approx(0.7)
    assert found["mean_min5"]["auroc"] == pytest.approx(0.9)
    told = "Without ISCIN (fewer than 5 positives) the mean of the splits: AUROC 0.900, random"
    assert told in words.zeroshot_table(found)


def test_the_table_of_findings_held_out_says_what_was_averaged(asked, tmp_path):
    assert words.write(asked, 9, tmp_path / "out") == ["zeroshot"]
    text = words.blocks(tmp_path / "out")["zeroshot"]
    assert "block 2, rhythm 3" in text
    assert "Of 3 findings 1 are above the random encoder (0 with every seed), 2 above 95" in text
    assert "directions, 1 above the nearest trained finding" in text
    lines = cells(text)
    assert [line[:4] for line in lines] == [
        ["block", "CLBBB", "10", "0.800"],
        ["block", "IRBBB", "10", "0.500"],
        ["block", "mean", "", "0.650"],
        ["rhythm", "AFIB", "10", "0.900"],
        ["rhythm", "mean", "", "0.900"],
        ["2 splits", "mean", "", "0.775"],
        ["2 splits", "seeds, min-max", "", "0.725-0.775"],
    ]
    assert lines[3][8:10] == ["AFLT 2, SR 1", "0.900"]
    assert lines[1][4] == ""  # no concept has words for it


def test_a_finding_without_positives_is_no_row_of_a_mean(tmp_path):
    nothing = {key: None for key in unheard("SBRAD", 0.5)} | {"n_positive": 0}
    for seed in (0, 1):
        rows = [unheard("AFIB", 0.9), nothing | {"code": "SBRAD", "name": "slow"}]
        leave(tmp_path, f"zeroshot_rhythm_s{seed}", "held_out", rows)
    found = words.zeroshot(tmp_path, 9)
    assert found["mean"]["auroc"] == pytest.approx(0.9)
    text = words.zeroshot_table(found)
    assert "Of 1 findings 0 are above the random encoder (0 with every seed), 1 above 95" in text
    assert cells(text)[1][:4] == ["rhythm", "SBRAD", "0", ""]


def test_seeds_of_other_records_are_refused(tmp_path):
    for seed in (0, 1):
        rows = [unheard("AFIB", 0.9, n_positive=10 + seed)]
        leave(tmp_path, f"zeroshot_rhythm_s{seed}", "held_out", rows)
    with pytest.raises(ValueError, match="AFIB: seeds differ in positives"):
        words.zeroshot(tmp_path, 9)


def test_languages_are_held_against_english_seed_by_seed(tmp_path):
    def row(language: str, f1: float, change: float) -> dict:
        scores = dict.fromkeys(words.ASKED, 0.5)
        told = {words.F1: f1, "mean_change": change, "same_calls": 1 - change}
        return {"language": language, **scores, **told}

    for seed, (en, de) in enumerate([(0.40, 0.38), (0.42, 0.46)]):
        rows = [row("en", en, 0.0), row("de", de, 0.01 * (1 + seed))]
        leave(tmp_path, f"mixed_s{seed}", "languages", rows)
    found = words.languages(tmp_path, 9)
    german = found["rows"][1]
    assert german[words.F1] == pytest.approx(0.42)
    assert german["difference"] == pytest.approx(0.01)
    assert (german["low"], german["high"]) == pytest.approx((-0.02, 0.04))
    assert cells(words.languages_table(found)) == [
        ["English", "0.500", "0.500", "0.410", "", "0.500", "0.0000", "1.000"],
        [
            *("German", "0.500", "0.500", "0.420", "+0.010 (-0.020 to +0.040)", "0.500"),
            *("0.0150", "0.985"),
        ],
    ]


def found_by(direction: str, whose: str, first: float, rank: float, n: int = 50) -> dict:
    row = {"direction": direction, "whose": whose, "n_queries": n, "n_candidates": 40}
    for key in words.FOUND:
        value = rank if key == "median_rank" else first
        row |= {key: value, f"{key}/low": 0, f"{key}/high": 1, f"{key}/chance": 0.02}
    return row | {"median_rank/chance": 21.0}


def test_retrieval_is_averaged_over_seeds_beside_chance(tmp_path):
    for name, first, rank in (("report_s0", 0.1, 9), ("report_s1", 0.2, 11), ("minilm_s0", 0.4, 5)):
        rows = [
            found_by("ECG to report", "all", first, rank),
            found_by("report to ECG", "all", first / 2, rank),
            found_by("ECG to report", "not by a machine", 0.9, 1, n=20),
        ]
        leave(tmp_path, name, "retrieval", rows)
    leave(tmp_path, "bank_report_01_s0", "entailment", [])
    text = words.retrieval_table(words.retrieval(tmp_path, 9))
    assert "ECG to report, 50 queries, 40 candidates:" in text
    assert cells(text) == [
        ["report", "2", "0.150", "0.150", "0.150", "10"],
        ["minilm", "1", "0.400", "0.400", "0.400", "5"],
        ["chance", "", "0.020", "0.020", "0.020", "21"],
        ["report", "2", "0.075", "0.075", "0.075", "10"],
        ["minilm", "1", "0.200", "0.200", "0.200", "5"],
        ["chance", "", "0.020", "0.020", "0.020", "21"],
    ]
    leave(tmp_path, "minilm_s1", "retrieval", [found_by("ECG to report", "all", 0.1, 9, n=49)])
    with pytest.raises(ValueError, match="minilm: asked for other reports"):
        words.retrieval(tmp_path, 9)


def test_without_runs_no_table_of_words_is_written(tmp_path):
    assert words.write(tmp_path, 9, tmp_path / "out") == []
    assert words.blocks(tmp_path / "out") == {}


def test_text_towers_are_compared_once_the_tuned_one_is_there(evaluated, tmp_path, monkeypatch):
    monkeypatch.setattr(build, "RESULTS", tmp_path / "results")
    monkeypatch.setattr(build, "FOLD", 10)
    runs = tmp_path / "runs"
    for name, text in (
        ("bank", {}),
        ("minilm_locked", {"name": "minilm", "locked": True}),
        ("minilm", {"name": "minilm"}),
    ):
        assert not runs.exists() or not build.build_group("towers", runs)
        run = shutil.copytree(evaluated.parents[1], runs / f"{name}_s0")
        settings = from_yaml(config.TrainConfig, run / "config.yaml")
        for key, value in text.items():
            setattr(settings.text, key, value)
        (run / "config.yaml").write_text(to_yaml(settings))
    (tmp_path / "results").mkdir()
    assert build.build_group("towers", runs)
    result = json.loads((tmp_path / "results" / "towers" / "comparison.json").read_text())
    assert result["baseline"] == "minilm"
    assert [row["name"] for row in result["rows"]] == ["bank", "minilm", "minilm_locked"]
    assert {"towers", "towers_short"} <= set(build.blocks())


def test_every_block_of_words_has_its_place_on_a_page():
    page = (ROOT / "docs" / "results.md").read_text()
    for name in (*words.TABLES, "towers"):
        assert f"<!-- results: {name} -->" in page


def test_the_records_of_the_study_are_cut_out_of_the_whole(simulated, tmp_path, monkeypatch):
    monkeypatch.setattr(records, "NUMBERS", tmp_path / "ecg_id.csv")
    whole = ptbxl.load_ptbxl(simulated, signals=False)
    wanted = whole.ecg_id[3:40:4]
    pd.DataFrame({"ecg_id": wanted}).to_csv(records.NUMBERS, index=False)
    assert records.cut(simulated, tmp_path / "study") == len(wanted)
    settings = {"to_fs": 100, "duration_s": 10.0}
    part = ptbxl.load_ptbxl(tmp_path / "study", waveform=settings, progress=False)
    assert (part.ecg_id == wanted).all()
    assert (part.y_true == whole.y_true[3:40:4]).all()
    assert part.signals.shape[0] == len(wanted)
    with pytest.raises(ValueError, match="study exists"):
        records.cut(simulated, tmp_path / "study")
    pd.DataFrame({"ecg_id": [1, 10**6]}).to_csv(records.NUMBERS, index=False)
    with pytest.raises(ValueError, match="lacks 1 of the 2 records"):
        records.cut(simulated, tmp_path / "other")
    assert not (tmp_path / "other").exists()


def test_the_numbers_of_the_study_are_those_of_its_records(shared_ptbxl):
    table = ptbxl.read_metadata(shared_ptbxl)
    assert pd.read_csv(records.NUMBERS)["ecg_id"].tolist() == table.index.tolist()


def test_every_published_run_stands_in_its_comparison():
    """A run that was packed, but not compared yet, would leave the pages behind."""
    for name, group in build.GROUPS.items():
        path = build.RESULTS / name / "comparison.json"
        told = (
            {run for row in json.loads(path.read_text())["rows"] for run in row["runs"]}
            if path.exists()
            else set()
        )
        stems = [path.stem for path in published.RUNS.glob("*.npz")]
        known = {stem for pattern in group["runs"] for stem in fnmatch.filter(stems, pattern)}
        if fnmatch.filter(stems, build.needed(group)):
            assert told == known, name


def test_the_curve_of_batch_sizes_has_a_line_a_size_and_a_column_a_recipe():
    def row(name: str, size: int, score: float, wrong: float) -> dict:
        scores = {"macro_auroc_min5": {"mean": score}, "prevalence/macro_f1_min5": {"mean": 0.5}}
        shares = {"false_negative": wrong, "records_with_false_negative": 1.0}
        sized = {"batch_size": size, "n_steps": 1000 // size}
        return {"name": name, "scores": scores, "pairs": {"a term": shares}, **sized}

    rows = [
        row("bank", 128, 0.9, 0.0),
        row("diagonal", 128, 0.8, 0.9),
        row("b32_diagonal", 32, 0.85, 0.7),
    ]
    text = build.batch_curve({"rows": rows})
    assert cells(text) == [
        ["32", "31", "", "0.850", "", "0.500", "70 %", "100 %"],
        ["128", "7", "0.900", "0.800", "0.500", "0.500", "90 %", "100 %"],
    ]
