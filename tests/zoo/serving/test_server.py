"""A server whose model does as it is told: slow clients and answers, limits, stops."""

import contextlib
import json
import math
import select
import threading
import time
from http.client import HTTPConnection

import pytest

from conformance.raw_http import PATH, PATIENCE, ends, read_answer, request, until
from zoo.serving import connection as connections

SOON = 0.3  # Seconds that a client is granted where a test waits for their end.


def asked(x, **more):
    return json.dumps({"inputs": x} | more)


def test_a_question_is_answered(in_thread):
    served = in_thread()
    assert served.ask([1, 2.5]) == (200, {"outputs": [2.0, 5.0]})
    path = "/v1/models/double/versions/3:predict"
    assert served.send(asked([3]), path=path) == (200, {"outputs": [6.0]})


def test_numbers_that_are_not_finite_are_read_and_never_written(in_thread):
    served = in_thread()
    answer = {"outputs": [None, None, None, 2.0]}
    assert served.send('{"inputs": [NaN, Infinity, -Infinity, 1]}') == (200, answer)
    asked = served.model.asked[0]
    assert math.isnan(asked[0]) and asked[1:] == [math.inf, -math.inf, 1]
    status, answer = served.send('{"inputs": [1e999]}')
    assert status == 400 and "in range. Received: inf" in answer["error"]


def test_bodies_in_chunks_and_questions_one_after_the_other_without_waiting(in_thread):
    served = in_thread()
    body = asked([1, 2]).encode()
    chunks = b"".join(b"%x\r\n%b\r\n" % (1, body[i : i + 1]) for i in range(len(body)))
    head = f"POST {PATH} HTTP/1.1\r\nHost: here\r\nTransfer-Encoding: chunked\r\n\r\n".encode()
    with served.socket() as connection:
        connection.sendall(head + chunks + b"0\r\n\r\n" + request(asked([3])) + request(asked([4])))
        for expected in ([2, 4], [6], [8]):
            status, _, answer = read_answer(connection)
            assert (status, answer) == (200, {"outputs": expected})


# -- answers that take long, and too many questions


def test_an_answer_that_takes_too_long_is_given_up(in_thread):
    served = in_thread(timeout=SOON)
    status, answer = served.ask([-1])
    assert status == 504 and "An answer may take 0.3 s" in answer["error"]
    served.model.free.set()
    assert served.lives()


def test_one_question_too_many_is_told_to_come_again(in_thread):
    served = in_thread(max_rows=4, max_waiting=4)
    with served.socket() as held, served.socket() as waits, served.socket() as late:
        held.sendall(request(asked([-1])))
        until(lambda: served.model.asked)
        waits.sendall(request(asked([1, 2, 3])))
        until(lambda: served.server.application._batcher.waiting == 3)
        late.sendall(request(asked([1, 2])))
        status, head, answer = read_answer(late)
        assert status == 503 and "retry-after: 1" in head
        assert "4 rows may wait. Received: 2 more than 3" in answer["error"]
        served.model.free.set()
        assert read_answer(held)[2] == {"outputs": [-2.0]}
        assert read_answer(waits)[2] == {"outputs": [2.0, 4.0, 6.0]}


def test_one_connection_too_many_is_told_so(in_thread):
    served = in_thread(max_connections=2)
    with served.socket() as first, served.socket() as second:
        for own in (first, second):
            own.sendall(request(asked([1])))
            assert read_answer(own)[0] == 200
        with served.socket() as third:
            status, _, answer = read_answer(third)
            assert status == 503 and "2 connections already" in answer["error"]
    until(lambda: len(served.server.server_state.connections) < 2)
    assert served.lives()


def test_health_is_answered_while_the_model_is_busy(in_thread):
    served = in_thread()
    with served.socket() as held:
        held.sendall(request(asked([-1])))
        until(lambda: served.model.asked)
        for path in ("/healthz", "/readyz", "/v1/models/double"):
            assert served.send(None, "GET", path)[0] == 200


def test_what_the_model_refuses_and_what_it_fails_of(in_thread, capfd):
    served = in_thread()
    assert served.ask([-2]) == (400, {"error": "The model cannot take this: -2"})
    assert served.ask([-3]) == (500, {"error": "The server failed to answer"})
    # Whoever runs the server can read why.
    said = []
    until(lambda: said.append(capfd.readouterr().err) or "a secret of the server" in "".join(said))
    assert served.lives()


# -- clients that take long


def trickle(connection, content, pause):
    """Sends a byte at a time, until the other side has enough."""
    with contextlib.suppress(OSError):
        for i in range(len(content)):
            connection.sendall(content[i : i + 1])
            time.sleep(pause)


@pytest.mark.parametrize("part", ["head", "body"])
def test_who_sends_a_byte_at_a_time_is_told_and_holds_up_nobody(in_thread, part):
    served = in_thread(timeout=SOON)
    with contextlib.ExitStack() as stack:
        slow = [stack.enter_context(served.socket()) for _ in range(8)]
        content = request(asked([1] * 1000))
        at_once = 0 if part == "head" else content.index(b"\r\n\r\n") + 4
        for own in slow:
            own.sendall(content[:at_once])
            sender = threading.Thread(target=trickle, args=(own, content[at_once:], 0.02))
            sender.start()
            stack.callback(sender.join)
        begin = time.monotonic()
        assert served.lives()
        assert time.monotonic() - begin < PATIENCE / 2
        for own in slow:
            status, _, answer = read_answer(own)
            assert status == 408
            assert f"{part} may take 0.3 s" in answer["error"]
            assert ends(own)
    assert served.lives()


def test_who_says_nothing_is_sent_away(in_thread):
    served = in_thread(timeout=SOON)
    with served.socket() as silent:
        assert ends(silent)
    with served.socket() as asks:
        # Between requests, it may be silent for longer.
        asks.sendall(request(asked([1])))
        assert read_answer(asks)[0] == 200
        time.sleep(3 * SOON)
        asks.sendall(request(asked([2])))
        assert read_answer(asks)[2] == {"outputs": [4.0]}
        # And no longer for having begun.
        asks.sendall(b"POST")
        assert read_answer(asks)[0] == 408


def test_who_does_not_take_the_answer_is_sent_away(in_thread):
    served = in_thread(timeout=SOON)
    with served.socket() as deaf:
        # 24 MB of zeros: more than what lies between the two can hold.
        deaf.sendall(request(asked([6_000_000], signature_name="long")))
        until(lambda: len(served.model.asked) == 1)
        until(lambda: not served.server.server_state.connections)
    assert served.lives()


def test_who_ends_before_the_body_does_is_told(in_thread):
    served = in_thread()
    with served.socket() as connection:
        connection.sendall(request("{}", length=10))
        connection.shutdown(1)
        status, _, answer = read_answer(connection)
        assert (status, answer) == (400, {"error": "The request ended before its body did"})
    with served.socket() as gone:
        gone.sendall(request("{}", length=10))
    assert served.lives()


# -- bodies that are too long


@pytest.mark.parametrize("declared", [True, False], ids=["declared", "in chunks"])
def test_who_sends_too_much_can_read_why(in_thread, declared):
    served = in_thread(max_bytes=1000)
    body = b" " * 5_000_000
    connection = HTTPConnection(*served.address, timeout=PATIENCE)
    with contextlib.closing(connection):
        blocks = iter([body[:2_500_000], body[2_500_000:]])
        connection.request("POST", PATH, body if declared else blocks)
        response = connection.getresponse()
        assert response.status == 413
        assert "A body may have 1000 bytes. Received: " in json.loads(response.read())["error"]
        # It was all sent, so that the connection is as good as new.
        connection.request("POST", PATH, asked([1]))
        assert connection.getresponse().status == 200


def test_who_goes_on_sending_too_much_is_sent_away(in_thread, monkeypatch):
    monkeypatch.setattr(connections, "LINGER", SOON)
    served = in_thread(max_bytes=1000)
    with served.socket() as connection:
        connection.sendall(request("", length=10**12))
        assert read_answer(connection)[0] == 413
        with pytest.raises(OSError):
            for _ in range(PATIENCE * 100):
                connection.sendall(b" ")
                time.sleep(0.01)
    assert served.lives()


def test_who_waits_to_be_told_to_go_on_is_told_at_once(in_thread):
    served = in_thread(max_bytes=1000)
    with served.socket() as connection:
        connection.sendall(request("", headers="Expect: 100-continue\r\n", length=2000))
        assert read_answer(connection)[0] == 413


def test_many_long_bodies_at_a_time_are_too_much(in_thread):
    served = in_thread(max_bytes=1000)
    with contextlib.ExitStack() as stack:
        slow = [stack.enter_context(served.socket()) for _ in range(9)]
        for own in slow:
            own.sendall(request(b" " * 990, length=1000))
        told, _, _ = select.select(slow, [], [], PATIENCE)
        status, _, answer = read_answer(*told)
        assert (status, answer) == (503, {"error": "Too many long requests at a time"})
    until(lambda: len(served.server.server_state.connections) == 0)
    assert served.lives() and served.server.application._held == 0


# -- the end


def test_what_is_accepted_is_answered_before_the_end(in_thread):
    served = in_thread()
    with served.socket() as held, served.socket() as waits, served.socket() as idle:
        idle.sendall(request(asked([1])))
        assert read_answer(idle)[0] == 200
        held.sendall(request(asked([-1])))
        until(lambda: served.model.asked[-1] == [-1])
        waits.sendall(request(asked([2])))
        until(lambda: served.server.application._batcher.waiting == 1)
        served.stop()
        until(lambda: served.server.application.draining)
        # On its way when the server began to stop.
        idle.sendall(request(asked([3])))
        until(lambda: served.server.application._batcher.waiting == 2)
        served.model.free.set()
        for own, expected in ((held, -2.0), (waits, 4.0), (idle, 6.0)):
            status, head, answer = read_answer(own)
            assert (status, answer) == (200, {"outputs": [expected]})
            assert "connection: close" in head and ends(own)
    served.thread.join(PATIENCE)
    assert not served.thread.is_alive()


def test_a_server_that_stops_is_not_ready_and_accepts_nobody(in_thread):
    served = in_thread()
    with served.socket() as held:
        held.sendall(request(asked([-1])))
        until(lambda: served.model.asked)
        served.server.application.draining = True
        assert served.send(None, "GET", "/readyz")[0] == 503
        assert served.send(None, "GET", "/healthz")[0] == 200
        served.stop()
        until(lambda: refuses(served))
        served.model.free.set()
        assert read_answer(held)[0] == 200


def refuses(served):
    try:
        with served.socket():
            return False
    except ConnectionError:
        return True


def test_an_idle_client_does_not_hold_up_the_end(in_thread):
    served = in_thread()
    with served.socket() as idle:
        idle.sendall(request(asked([1])))
        assert read_answer(idle)[0] == 200
        served.stop()
        served.thread.join(PATIENCE)
        assert not served.thread.is_alive() and ends(idle)
