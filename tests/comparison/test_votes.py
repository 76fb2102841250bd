"""Votes: blind, kept at once, taken back, found again, and rows to train on."""

import json
from dataclasses import replace

import pytest

from burnish.cli.vote import vote
from burnish.comparison.answering import Said
from burnish.comparison.prompts import read_prompts
from burnish.comparison.result import Answered, Comparison
from burnish.comparison.votes import Box, Votes, ballots, counted
from burnish.data.sources.source import load_rows
from burnish.errors import UserError
from burnish.models.asking import Sampling
from burnish.models.generate import Answer

COUNT = 8


def answered(seed=0, chats=True, better="good"):
    rows = [{"prompt": [{"role": "user", "content": f"Q{n}"}] if chats else f"Q{n}"} for n in range(COUNT)]
    texts = (
        [f"bad {n}" if n else "same" for n in range(COUNT)],
        [f"{better} {n}" if n else "same" for n in range(COUNT)],
    )
    said = [Said([Answer(t, 1, True) for t in each], [None] * COUNT, False) for each in texts]
    return Answered(read_prompts(rows), ["before", "after"], said, seed)


class Screen:
    """A console that remembers; the width decides nothing here."""

    width = 100

    def __init__(self):
        self.printed = []

    def print(self, what, **_):
        self.printed.append(what)


def voting(found, box, presses):
    """Vote by a function of the ballot that is shown, or by keys."""
    keys = iter(presses)
    vote(
        Comparison(found.prompts, [{"name": n, "path": n} for n in found.models], Sampling(), found, []),
        box,
        Screen(),
        lambda: next(keys, ""),
    )


def best(found):
    """Keys that always choose the good answer."""
    return ["1" if ballot.texts[0].startswith("good") else "2" for ballot in ballots(found)]


def test_ballots_are_in_random_order_and_leave_equal_answers_out():
    found = ballots(answered())
    assert len(found) == COUNT - 1
    assert [each.row for each in found] != sorted(each.row for each in found)
    assert {each.texts[0].split()[0] for each in found} == {"good", "bad"}  # either may stand first
    assert found == ballots(answered()) != ballots(answered(seed=1))


def test_votes_become_a_preference_file_at_once(tmp_path):
    found, box = answered(), Box(tmp_path / "votes.jsonl")
    presses = iter(best(found))
    lines = []

    def key():
        lines.append(len((tmp_path / "votes.jsonl").read_text().splitlines()) if box.path.exists() else 0)
        return next(presses, "q")

    comparison = Comparison(
        found.prompts, [{"name": n, "path": n} for n in found.models], Sampling(), found, []
    )
    vote(comparison, box, Screen(), key)
    assert lines == list(range(COUNT - 1))
    rows = [json.loads(line) for line in (tmp_path / "votes.jsonl").read_text().splitlines()]
    assert all(row["chosen"][0]["content"].startswith("good") for row in rows)
    assert {row["rejected_model"] for row in rows} == {"before"}
    measure = counted(found, Box(tmp_path / "votes.jsonl"))
    assert measure.pairs[0].wins.wins == COUNT - 1 and measure.pairs[0].wins.ties == 1
    assert measure.counts == {"voted": COUNT - 1, "ties": 0, "skipped": 0, "equal answers": 1}


@pytest.mark.parametrize("chats", [True, False])
def test_dpo_reads_the_file(tmp_path, chats):
    from burnish.data.reading.formats import PREFERENCE

    found, box = answered(chats=chats), Box(tmp_path / "votes.jsonl")
    voting(found, box, best(found))
    source = load_rows(tmp_path / "votes.jsonl")
    example = PREFERENCE(source.dataset[0])
    assert example.is_chat == chats and len(example.completions) == 2


def test_voting_goes_on_where_it_was_left(tmp_path):
    found, path = answered(), tmp_path / "votes.jsonl"
    voting(found, Box(path), [*best(found)[:3], "q"])
    assert len(Box(path).entries) == 3
    voting(found, Box(path), [*best(found)[3:]])
    assert len(Box(path).entries) == COUNT - 1
    assert counted(found, Box(path)).pairs[0].wins.wins == COUNT - 1
    changed = answered(better="gooder")
    with pytest.raises(UserError, match="no vote on these answers yet"):
        counted(changed, Box(path))  # other texts are other ballots


def test_ties_skips_undo_and_wrong_keys(tmp_path):
    found, path = answered(), tmp_path / "votes.jsonl"
    keys = best(found)
    wrong = "2" if keys[0] == "1" else "1"
    voting(found, Box(path), ["u", "x", wrong, "u", keys[0], "t", "s", "q"])
    measure = counted(found, Box(path))
    assert measure.counts == {"voted": 2, "ties": 1, "skipped": 1, "equal answers": 1}
    wins = measure.pairs[0].wins
    assert (wins.wins, wins.ties, wins.losses) == (1, 2, 0)
    assert len(path.read_text().splitlines()) == 1


def test_a_vote_counts_for_the_text_wherever_it_stood(tmp_path):
    """Another seed shows the same answers in another order; the votes are the same."""
    found, path = answered(), tmp_path / "votes.jsonl"
    voting(found, Box(path), best(found))
    assert counted(replace(found, seed=5), Box(path)).pairs[0].wins.wins == COUNT - 1


def test_a_file_of_something_else_is_not_overwritten(tmp_path):
    (tmp_path / "rows.jsonl").write_text("{}\n")
    with pytest.raises(UserError, match="no vote wrote"):
        Votes(tmp_path / "rows.jsonl").check()
    (tmp_path / "votes.jsonl.log").write_text("nonsense\n")
    with pytest.raises(UserError, match=r"votes.jsonl.log:1: it is no vote"):
        Votes(tmp_path / "votes.jsonl").check()
