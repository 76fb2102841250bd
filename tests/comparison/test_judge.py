"""A judge behind a server on loopback: both orders, flips, malformed replies, retries, the key."""

import json
import re
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from burnish.comparison.answering import Said
from burnish.comparison.judge import Judge
from burnish.comparison.prompts import read_prompts
from burnish.comparison.result import Answered
from burnish.errors import UserError
from burnish.models.generate import Answer


def answered(later, earlier):
    rows = [{"prompt": f"Question {n}", "completion": "gold"} for n in range(len(later))]
    said = [
        Said([Answer(t, len(t), True) for t in texts], [None] * len(texts), False)
        for texts in (earlier, later)
    ]
    return Answered(read_prompts(rows), ["before", "after"], said)


@pytest.fixture
def server():
    """A judge that prefers the answer with the larger number; what else it does, the answers tell it."""
    seen, failures = [], {"left": 0}

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            text = body["messages"][-1]["content"]
            seen.append((self.path, self.headers.get("Authorization"), body))
            first, second = re.search(r"# Answer A\n\n(.*)\n\n# Answer B\n\n(.*)", text, re.S).groups()
            if "broken" in text:
                return self.reply(500, {})
            if failures["left"]:
                failures["left"] -= 1
                return self.reply(503, {})
            if "refused" in text:
                return self.reply(401, {"error": "no key"})
            if "babble" in text:
                return self.reply(200, self.said("Both are nice. VERDICT is hard."))
            if "odd" in text:
                return self.reply(200, {"choices": []})
            if "first" in text:
                return self.reply(200, self.said("VERDICT: A"))
            verdict = "TIE" if first == second else "A" if int(first) > int(second) else "b"
            return self.reply(200, self.said(f"At first VERDICT: TIE, but then\n**VERDICT: {verdict}**"))

        @staticmethod
        def said(content):
            return {"choices": [{"message": {"content": content}}]}

        def reply(self, status, content):
            data = json.dumps(content).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *_):
            pass

    running = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=running.serve_forever, daemon=True)
    thread.start()
    running.seen, running.failures = seen, failures
    running.url = f"http://127.0.0.1:{running.server_port}/v1"
    yield running
    running.shutdown()
    running.server_close()


def judged(server, later, earlier, **options):
    judge = Judge(server.url, "fake", pause=0.0, tries=3, timeout=5.0, **options)
    judge.check()
    return judge(answered(later, earlier), lambda *_: None)


def test_the_better_answer_wins_in_both_orders(server):
    found = judged(server, ["9", "1", "5"], ["2", "3", "5"])
    assert found.verdicts == [[1.0], [0.0], [0.5]]
    assert found.counts == {"asked": 4, "flipped": 0, "malformed": 0, "failed": 0}  # equal ones are not asked
    assert found.pairs[0].wins.rate.value == 0.5 and found.notes == []
    assert [each.value for each in found.models] == [0.5, 0.5]
    assert all(path == "/v1/chat/completions" for path, _, _ in server.seen)
    assert all(body["model"] == "fake" and body["temperature"] == 0 for _, _, body in server.seen)
    assert all("known to be good\n\ngold" in body["messages"][-1]["content"] for _, _, body in server.seen)


def test_a_verdict_that_flips_with_the_place_is_a_tie(server):
    found = judged(server, ["first", "8"], ["other", "7"])
    assert found.verdicts == [[0.5], [1.0]] and found.counts["flipped"] == 1
    assert found.notes == ["1 verdicts flipped with the place of the answers, and count as ties"]


def test_what_is_no_verdict_is_counted_and_left_out(server):
    found = judged(server, ["babble", "odd", "3"], ["1", "1", "1"])
    assert found.verdicts == [[None], [None], [1.0]]
    assert found.counts["malformed"] == 4 and found.pairs[0].wins.rate.rows == 1
    assert "4 replies held no verdict" in found.notes[0] and "Both are nice" in found.notes[0]


def test_a_request_is_tried_again_and_failures_are_counted(server):
    server.failures["left"] = 2
    found = judged(server, ["3"], ["1"], at_once=1)
    assert found.verdicts == [[1.0]] and len(server.seen) == 4 and found.counts["failed"] == 0
    found = judged(server, ["broken", "3"], ["1", "1"])
    assert found.verdicts == [[None], [1.0]] and found.counts["failed"] == 2
    assert "HTTP 500" in found.notes[0]


def test_a_refusal_is_not_tried_again_and_no_verdict_at_all_is_an_error(server):
    with pytest.raises(UserError, match=r"no verdict came back: failed: HTTP 401.*no key"):
        judged(server, ["refused"], ["1"])
    assert len(server.seen) == 2
    server.shutdown()
    server.server_close()
    with pytest.raises(UserError, match="ConnectError"):
        judged(server, ["2"], ["1"])


def test_the_key_comes_from_the_named_variable_alone(server, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "not this one")
    judged(server, ["2"], ["1"])
    assert {key for _, key, _ in server.seen} == {None}
    monkeypatch.setenv("MY_KEY", "secret")
    found = judged(server, ["2"], ["1"], key_variable="MY_KEY")
    assert server.seen[-1][1] == "Bearer secret" and "secret" not in str(found)


def test_a_server_that_does_not_answer_in_time_is_counted():
    import socket

    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/v1"
        judge = Judge(url, "fake", timeout=0.2, tries=1)
        with pytest.raises(UserError, match="ReadTimeout"):
            judge(answered(["2"], ["1"]), lambda *_: None)


@pytest.mark.parametrize(
    ("url", "model", "told"), [("host/v1", "m", "it is no URL"), ("http://host/v1", None, "--judge_model")]
)
def test_what_cannot_be_asked(url, model, told):
    with pytest.raises(UserError, match=told):
        Judge(url, model).check()
