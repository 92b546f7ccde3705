"""The tokenizer learns the words that patients share; of its file nothing else is accepted."""

import json

import pytest

from ecg_siglip.models.tokenizer import MIN_PATIENTS, load_tokenizer, train_tokenizer

PROMPTS = ["sinus rhythm", "verdacht auf myokardschaden"]


def tokens(tokenizer):
    return {tokenizer.decode([i]).strip() for i in range(tokenizer.get_vocab_size())}


def test_words_of_few_patients_are_not_learned():
    rare = [("kontrolle durch dr. zwirbel", patient) for patient in range(MIN_PATIENTS - 1)]
    repeated = [("herr wunderlich", 7)] * 50
    shared = [("vorhofflimmern", patient) for patient in range(MIN_PATIENTS)]
    learned = tokens(train_tokenizer(PROMPTS, 2000, rare + repeated + shared))
    assert {"rhythm", "myokardschaden", "vorhofflimmern"} <= learned
    assert not any(part in token for token in learned for part in ("zw", "wu", "kon", "err"))
    one_more = [*rare, (rare[0][0], MIN_PATIENTS)]
    assert "zwirbel" in tokens(train_tokenizer(PROMPTS, 2000, one_more))


def test_each_digit_is_a_token_of_its_own():
    reports = [("am 24.12.1987 puls 120, pq 200 ms", patient) for patient in range(50)]
    tokenizer = train_tokenizer(PROMPTS, 2000, reports)
    assert not [t for t in tokens(tokenizer) if sum(c.isdigit() for c in t) > 1]
    text = "puls 120, v1 v6, ò½²"
    assert tokenizer.decode(tokenizer.encode(text).ids).strip() == text
    assert {"1", "2", "0"} <= {*tokenizer.encode("120").tokens}


def test_letters_are_not_split_as_numbers():
    tokenizer = train_tokenizer(["überleitung"] * 3, 2000)
    assert len(tokenizer.encode("überleitung").ids) == 1


def test_a_saved_tokenizer_is_loaded_as_it_was(tmp_path):
    tokenizer = train_tokenizer(PROMPTS, 400)
    (tmp_path / "t.json").write_text(tokenizer.to_str(), encoding="utf-8")
    assert load_tokenizer(tmp_path / "t.json").to_str() == tokenizer.to_str()


def put(*path):
    def change(content):
        for key in path[:-2]:
            content = content[key]
        content[path[-2]] = path[-1]

    return change


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (put("model", "vocab", "<pad>", 2**32 - 1), "expected the numbers 0 to"),
        (put("model", "vocab", {}), "expected 1 to"),
        (put("model", "merges", [["zz", "qq"]]), "expected two tokens of"),
        (put("model", "type", "Unigram"), "expected BPE, got Unigram"),
        (put("model", "dropout", 0.5), "model.dropout: expected none"),
        (put("padding", {"strategy": {"Fixed": 10**12}}), "padding: expected none"),
        (put("pre_tokenizer", {"type": "Whitespace"}), "pre_tokenizer: expected Sequence"),
        (put("normalizer", None), "normalizer: is missing"),
        (put("added_tokens", [{"id": 10**9, "content": "x"}]), "expected <pad> alone"),
    ],
)
def test_another_tokenizer_is_refused(tmp_path, change, problem):
    content = json.loads(train_tokenizer(PROMPTS, 400).to_str())
    change(content)
    (tmp_path / "t.json").write_text(json.dumps(content), encoding="utf-8")
    with pytest.raises(ValueError, match=f"t.json: damaged: .*{problem}"):
        load_tokenizer(tmp_path / "t.json")
