"""Published runs can be read again, and the pages agree with them."""

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
from ecg_siglip.evaluation.compared_runs import read_run
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
        # The probabilities of this small model hardly differ: some are equal after rounding.
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
    assert f"root: data/{simulated.name}" in (again / "config.yaml").read_text()


def test_a_packed_run_keeps_the_tables_that_evaluate_wrote(evaluated, simulated, tmp_path):
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
    texts = {
        value
        for rows in tables.values()
        for row in rows
        for key, value in row.items()
        if isinstance(value, str) and key not in ("code", "name", "nearest")
    }
    assert texts <= {"ECG to report", "report to ECG", "all", "not by a machine"}
    assert all(
        isinstance(value, str | int | float | None)
        for rows in tables.values()
        for row in rows
        for value in row.values()
    )


def test_a_run_with_held_out_findings_gets_the_labels_of_its_own(evaluated, simulated, tmp_path):
    run = shutil.copytree(evaluated.parents[1], tmp_path / "small")
    before = read_run(tmp_path, "small", 10)
    held_out = [before.codes[2], before.codes[40]]
    settings = from_yaml(config.TrainConfig, run / "config.yaml")
    settings.data.held_out, settings.ecg.weights = held_out, "/home/me/runs/enc"
    (run / "config.yaml").write_text(to_yaml(settings))
    folder = run / "evaluate" / "fold10"
    table = pd.read_parquet(folder / "predictions.parquet")
    columns = [f"{kind}/{code}" for kind in ("true", "probability") for code in held_out]
    table.drop(columns=columns).to_parquet(folder / "predictions.parquet")
    rows = pd.read_csv(folder / "findings.csv", keep_default_na=False, na_values=[""])
    rows[~rows["code"].isin(held_out)].to_csv(folder / "findings.csv", index=False)
    published.pack(run, 10, tmp_path / "packed")
    published.unpack(tmp_path / "packed" / "small.npz", simulated, tmp_path / "again")
    after = read_run(tmp_path / "again", "small", 10)
    known = [i for i, code in enumerate(before.codes) if code not in held_out]
    assert after.codes == tuple(before.codes[i] for i in known)
    assert len(after.codes) == 69
    assert (after.y_true == before.y_true[:, known]).all()
    assert after.settings.data.held_out == held_out
    assert after.settings.ecg.weights == "enc", "no path of the machine"


def test_labels_of_an_unknown_finding_or_record_are_rejected(simulated):
    with pytest.raises(ValueError, match="lacks the findings XYZ"):
        published.labels(simulated, ("NORM", "XYZ"), np.array([1]))
    with pytest.raises(ValueError, match="lacks 1 of the 2 records"):
        published.labels(simulated, ("NORM",), np.array([1, 10**6]))


@pytest.mark.parametrize("path", sorted(published.RUNS.glob("*.npz")), ids=lambda p: p.stem)
def test_every_published_run_is_complete_and_small(path, shared_ptbxl, tmp_path):
    assert path.stat().st_size < 100_000
    run = published.unpack(path, shared_ptbxl, tmp_path)
    published_run = read_run(tmp_path, run.name, build.FOLD)
    assert published_run.settings.run.name == path.stem
    assert published_run.settings.data.train_folds == [1, 2, 3, 4, 5, 6, 7]
    assert len(published_run.codes) == 71 - len(published_run.settings.data.held_out)
    stored = json.loads((run / f"evaluate/fold{build.FOLD}/metrics.json").read_text())
    auroc = np.nanmean(multilabel.auroc_scores(published_run.y_true, published_run.output.y_prob))
    assert auroc == pytest.approx(stored["macro_auroc"], abs=1e-3)
    text = "".join(p.read_text() for p in run.rglob("*.*") if p.suffix != ".parquet")
    assert not re.search(r"(/home|/root|/tmp|/mnt|/Users|/work)/", text)


def test_some_runs_are_published():
    assert any(published.RUNS.glob("*.npz"))


def test_the_pages_agree_with_the_results():
    assert build.write_pages(check=True) == []


def test_every_figure_of_the_results_page_is_there():
    page = ROOT / "docs" / "results.md"
    figures = re.findall(r"!\[[^\]]*\]\(([^)]+)\)", page.read_text())
    assert figures
    assert [name for name in figures if not (page.parent / name).is_file()] == []


def write_table(runs: Path, name: str, table: str, rows: list[dict]) -> None:
    """Write one table of fold 9 to a run folder that has nothing else."""
    folder = runs / name / "evaluate" / "fold9"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{table}.json").write_text(json.dumps(rows))


def cells(text: str) -> list[list[str]]:
    """Return the cells of all tables of a text, line by line, without their headings."""
    lines = [line for line in text.splitlines() if line.startswith("|")]
    split = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    heads = [i - 1 for i, line in enumerate(split) if set(line[0]) == {"-"}]
    return [line for i, line in enumerate(split) if i not in heads and i - 1 not in heads]


def held_out_row(code: str, auroc: float, random_high: float = 0.7, **more) -> dict:
    """Return a row of the table of held-out findings."""
    row = {"code": code, "name": code, "n_positive": 10, "auroc": auroc, "both": auroc - 0.1}
    row |= {"composed": None, "nearest": "NORM", "nearest_auroc": 0.5, "random_high": random_high}
    row |= {"probe_1": 0.6, "probe_5": 0.7, "probe_20": None, "f1": 0.3, "f1_chance": 0.1}
    return row | more


@pytest.fixture
def held_out_runs(tmp_path) -> Path:
    """Return a folder with runs of two splits: two seeds of the first, three of the second."""
    runs = tmp_path / "runs"
    block = {
        0: [held_out_row("CLBBB", 0.9, composed=0.8), held_out_row("IRBBB", 0.6)],
        1: [held_out_row("CLBBB", 0.7, 0.8, nearest="LAFB"), held_out_row("IRBBB", 0.4)],
    }
    rhythm = {
        0: [held_out_row("AFIB", 0.8, nearest="SR", nearest_auroc=0.9)],
        1: [held_out_row("AFIB", 0.9, nearest="AFLT", nearest_auroc=0.9)],
        2: [held_out_row("AFIB", 1.0, nearest="AFLT", nearest_auroc=0.9)],
    }
    for split, of_seed in (("rhythm", rhythm), ("block", block)):
        for seed, rows in of_seed.items():
            write_table(runs, f"zeroshot_{split}_s{seed}", "held_out", rows)
    write_table(runs, "zeroshot_block_old_s0", "held_out", [held_out_row("CLBBB", 0.1)])
    for seed, auroc in enumerate((0.6, 0.8)):
        rows = [held_out_row("CLBBB", auroc), held_out_row("IRBBB", 0.55)]
        write_table(runs, f"zeroshot_block_random_s{seed}", "held_out", rows)
    return runs


def test_held_out_findings_are_averaged_over_seeds_findings_and_splits(held_out_runs):
    result = words.held_out_scores(held_out_runs, 9)
    block, rhythm = result["splits"]
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
    assert result["mean"]["auroc"] == pytest.approx((0.65 + 0.9) / 2)
    # Seeds that both splits have: (0.75 + 0.8) / 2 and (0.55 + 0.9) / 2.
    assert result["seeds"] == [0, 1]
    assert result["low"]["auroc"] == pytest.approx(0.725)
    assert result["high"]["auroc"] == pytest.approx(0.775)
    assert result["mean"]["probe_20"] is None


def test_a_second_mean_leaves_out_findings_with_few_positives(tmp_path):
    rows = [held_out_row("ISCAL", 0.9), held_out_row("ISCIN", 0.5, n_positive=2)]
    write_table(tmp_path / "runs", "zeroshot_ischemia_s0", "held_out", rows)
    result = words.held_out_scores(tmp_path / "runs", 9)
    assert result["mean"]["auroc"] == pytest.approx(0.7)
    assert result["mean_min5"]["auroc"] == pytest.approx(0.9)
    sentence = "Without ISCIN (fewer than 5 positives) the mean of the splits: AUROC 0.900, random"
    assert sentence in words.held_out_table(result)


def test_the_table_of_held_out_findings_states_what_was_averaged(held_out_runs, tmp_path):
    assert words.write_tables(held_out_runs, 9, tmp_path / "out") == ["zeroshot"]
    text = words.page_blocks(tmp_path / "out")["zeroshot"]
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


def test_a_finding_without_positives_does_not_count_in_the_mean(tmp_path):
    no_scores = {key: None for key in held_out_row("SBRAD", 0.5)} | {"n_positive": 0}
    for seed in (0, 1):
        rows = [held_out_row("AFIB", 0.9), no_scores | {"code": "SBRAD", "name": "slow"}]
        write_table(tmp_path, f"zeroshot_rhythm_s{seed}", "held_out", rows)
    result = words.held_out_scores(tmp_path, 9)
    assert result["mean"]["auroc"] == pytest.approx(0.9)
    text = words.held_out_table(result)
    assert "Of 1 findings 1 are above 95 of 100 random directions" in text
    assert cells(text)[1][:4] == ["rhythm", "SBRAD", "0", ""]


def test_seeds_with_other_records_are_rejected(tmp_path):
    for seed in (0, 1):
        rows = [held_out_row("AFIB", 0.9, n_positive=10 + seed)]
        write_table(tmp_path, f"zeroshot_rhythm_s{seed}", "held_out", rows)
    with pytest.raises(ValueError, match="AFIB: seeds differ in positives"):
        words.held_out_scores(tmp_path, 9)


def test_languages_are_compared_with_english_seed_by_seed(tmp_path):
    def row(language: str, f1: float, change: float) -> dict:
        scores = dict.fromkeys(words.LANGUAGE_SCORES, 0.5)
        scores |= {words.F1: f1, "mean_change": change, "same_calls": 1 - change}
        return {"language": language, **scores}

    for seed, (en, de) in enumerate([(0.40, 0.38), (0.42, 0.46)]):
        rows = [row("en", en, 0.0), row("de", de, 0.01 * (1 + seed))]
        write_table(tmp_path, f"mixed_s{seed}", "languages", rows)
    result = words.language_scores(tmp_path, 9)
    german = result["rows"][1]
    assert german[words.F1] == pytest.approx(0.42)
    assert german["difference"] == pytest.approx(0.01)
    assert (german["low"], german["high"]) == pytest.approx((-0.02, 0.04))
    assert cells(words.language_table(result)) == [
        ["English", "0.500", "0.500", "0.410", "", "0.500", "0.0000", "1.000"],
        [
            *("German", "0.500", "0.500", "0.420", "+0.010 (-0.020 to +0.040)", "0.500"),
            *("0.0150", "0.985"),
        ],
    ]


def retrieval_row(direction: str, whose: str, recall: float, rank: float, n: int = 50) -> dict:
    """Return a row of the table of retrieval."""
    row = {"direction": direction, "whose": whose, "n_queries": n, "n_candidates": 40}
    for key in words.RETRIEVAL_SCORES:
        value = rank if key == "median_rank" else recall
        row |= {key: value, f"{key}/low": 0, f"{key}/high": 1, f"{key}/chance": 0.02}
    return row | {"median_rank/chance": 21.0}


def test_retrieval_is_averaged_over_seeds_and_compared_with_chance(tmp_path):
    for name, recall, rank in (
        ("report_s0", 0.1, 9),
        ("report_s1", 0.2, 11),
        ("minilm_s0", 0.4, 5),
    ):
        rows = [
            retrieval_row("ECG to report", "all", recall, rank),
            retrieval_row("report to ECG", "all", recall / 2, rank),
            retrieval_row("ECG to report", "not by a machine", 0.9, 1, n=20),
        ]
        write_table(tmp_path, name, "retrieval", rows)
    write_table(tmp_path, "bank_report_01_s0", "entailment", [])
    text = words.retrieval_table(words.retrieval_scores(tmp_path, 9))
    assert "ECG to report, 50 queries, 40 candidates:" in text
    assert cells(text) == [
        ["report", "2", "0.150", "0.150", "0.150", "10"],
        ["minilm", "1", "0.400", "0.400", "0.400", "5"],
        ["chance", "", "0.020", "0.020", "0.020", "21"],
        ["report", "2", "0.075", "0.075", "0.075", "10"],
        ["minilm", "1", "0.200", "0.200", "0.200", "5"],
        ["chance", "", "0.020", "0.020", "0.020", "21"],
    ]
    write_table(
        tmp_path, "minilm_s1", "retrieval", [retrieval_row("ECG to report", "all", 0.1, 9, n=49)]
    )
    with pytest.raises(ValueError, match="minilm: other reports"):
        words.retrieval_scores(tmp_path, 9)


def test_without_runs_no_table_of_words_is_written(tmp_path):
    assert words.write_tables(tmp_path, 9, tmp_path / "out") == []
    assert words.page_blocks(tmp_path / "out") == {}


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
    assert {"towers", "towers_short"} <= set(build.page_blocks())


def test_every_block_of_words_has_its_place_on_a_page():
    page = (ROOT / "docs" / "results.md").read_text()
    for name in (*words.TABLES, "towers"):
        assert f"<!-- results: {name} -->" in page


def test_the_records_of_the_study_are_cut_out_of_the_whole(simulated, tmp_path, monkeypatch):
    monkeypatch.setattr(records, "NUMBERS", tmp_path / "ecg_id.csv")
    whole = ptbxl.load_ptbxl(simulated, signals=False)
    ecg_id = whole.ecg_id[3:40:4]
    pd.DataFrame({"ecg_id": ecg_id}).to_csv(records.NUMBERS, index=False)
    assert records.cut(simulated, tmp_path / "study") == len(ecg_id)
    settings = {"to_fs": 100, "duration_s": 10.0}
    part = ptbxl.load_ptbxl(tmp_path / "study", waveform=settings, progress=False)
    assert (part.ecg_id == ecg_id).all()
    assert (part.y_true == whole.y_true[3:40:4]).all()
    assert part.signals.shape[0] == len(ecg_id)
    with pytest.raises(ValueError, match="study exists"):
        records.cut(simulated, tmp_path / "study")
    pd.DataFrame({"ecg_id": [1, 10**6]}).to_csv(records.NUMBERS, index=False)
    with pytest.raises(ValueError, match="lacks 1 of the 2 records"):
        records.cut(simulated, tmp_path / "other")
    assert not (tmp_path / "other").exists()


def test_the_numbers_of_the_study_are_those_of_its_records(shared_ptbxl):
    table = ptbxl.read_metadata(shared_ptbxl)
    assert pd.read_csv(records.NUMBERS)["ecg_id"].tolist() == table.index.tolist()


def test_every_published_run_is_in_its_comparison():
    """A run that was packed, but not compared yet, would make the pages out of date."""
    for name, group in build.GROUPS.items():
        path = build.RESULTS / name / "comparison.json"
        compared = (
            {run for row in json.loads(path.read_text())["rows"] for run in row["runs"]}
            if path.exists()
            else set()
        )
        stems = [path.stem for path in published.RUNS.glob("*.npz")]
        expected = {stem for pattern in group["runs"] for stem in fnmatch.filter(stems, pattern)}
        if fnmatch.filter(stems, build.required_runs(group)):
            assert compared == expected, name


def test_the_table_of_batch_sizes_has_one_line_per_size_and_one_column_per_recipe():
    def row(name: str, size: int, score: float, wrong: float) -> dict:
        scores = {"macro_auroc_min5": {"mean": score}, "prevalence/macro_f1_min5": {"mean": 0.5}}
        shares = {"false_negative": wrong, "records_with_false_negative": 1.0}
        sizes = {"batch_size": size, "n_steps": 1000 // size}
        return {"name": name, "scores": scores, "pairs": {"a term": shares}, **sizes}

    rows = [
        row("bank", 128, 0.9, 0.0),
        row("diagonal", 128, 0.8, 0.9),
        row("b32_diagonal", 32, 0.85, 0.7),
    ]
    text = build.batch_size_table({"rows": rows})
    assert cells(text) == [
        ["32", "31", "", "0.850", "", "0.500", "70 %", "100 %"],
        ["128", "7", "0.900", "0.800", "0.500", "0.500", "90 %", "100 %"],
    ]
