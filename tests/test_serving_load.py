"""The gate and the batches: what is refused, what is dropped, what is finished."""

import asyncio
import resource
import socket
import threading
import time

import httpx
import numpy as np
import pytest

from prnet.serving.application import build_application
from prnet.serving.batching import Batcher
from prnet.serving.guard import Guard
from prnet.serving.limits import Limits
from prnet.serving.origins import Origins
from prnet.serving.prnet_keras import PairErrors
from prnet.serving.problems import Problem
from tests.helpers.serving_stand_in import image_file, listening

CROP = np.zeros((2, 2, 3), dtype=np.float32)


class SlowNetwork:
    """Doubles its crops once it is let go; notes its batches."""

    def __init__(self):
        self.batches, self.go, self.began = [], threading.Event(), threading.Event()

    def __call__(self, crops):
        self.began.set()
        assert self.go.wait(60)
        self.batches.append(len(crops))
        if (crops < 0).any():
            raise RuntimeError("a crop that the network cannot take")
        return 2 * crops


async def begun(network: SlowNetwork) -> None:
    await asyncio.get_running_loop().run_in_executor(None, network.began.wait, 10)


def test_crops_that_wait_share_a_batch_and_come_back_to_their_requests():
    network = SlowNetwork()

    async def scenario():
        async with Batcher(network, batch_size=4, limit=100) as batcher:
            first = asyncio.ensure_future(batcher.predict([CROP + 1]))
            await begun(network)
            others = [asyncio.ensure_future(batcher.predict([CROP + n, CROP + 10 * n])) for n in (2, 3, 4)]
            await asyncio.sleep(0.01)
            network.go.set()
            return await asyncio.gather(first, *others)

    answers = asyncio.run(scenario())
    assert [[float(m[0, 0, 0]) for m in maps] for maps in answers] == [[2], [4, 40], [6, 60], [8, 80]]
    assert network.batches == [1, 4, 2]


def test_what_was_cancelled_is_not_run_and_what_was_taken_is_finished():
    network = SlowNetwork()

    async def scenario():
        async with Batcher(network, batch_size=4, limit=100) as batcher:
            running = asyncio.ensure_future(batcher.predict([CROP]))
            await begun(network)
            dropped = asyncio.ensure_future(batcher.predict([CROP] * 3))
            kept = asyncio.ensure_future(batcher.predict([CROP + 1]))
            await asyncio.sleep(0.01)
            dropped.cancel()
            await asyncio.sleep(0.01)
            network.go.set()
        assert running.done()
        return await kept

    assert len(asyncio.run(scenario())) == 1
    assert network.batches == [1, 1]


def test_too_many_crops_are_refused_and_a_failing_batch_harms_no_other():
    network = SlowNetwork()

    async def scenario():
        async with Batcher(network, batch_size=2, limit=3) as batcher:
            failing = asyncio.ensure_future(batcher.predict([CROP - 1]))
            await begun(network)
            waiting = asyncio.ensure_future(batcher.predict([CROP] * 3))
            await asyncio.sleep(0.01)
            with pytest.raises(Problem) as refusal:
                await batcher.predict([CROP])
            assert (refusal.value.status, refusal.value.headers) == (503, {"Retry-After": "1"})
            network.go.set()
            with pytest.raises(RuntimeError):
                await failing
            assert len(await waiting) == 3

    asyncio.run(scenario())


@pytest.mark.parametrize(("clients", "half"), [(1, 1), (4, 2), (8, 4)])
def test_under_load_half_is_prepared_while_the_other_half_runs(clients, half, monkeypatch):
    monkeypatch.setattr("prnet.serving.batching.PATIENCE", 1e9)  # sizes follow from counts alone, on a busy machine too
    batches, run = [], threading.Semaphore(0)

    async def steps(number):
        for _ in range(number):
            await asyncio.sleep(0)

    async def client(batcher, preparation):
        while True:
            await steps(preparation)
            await batcher.predict([CROP])

    async def scenario():
        loop, enough = asyncio.get_running_loop(), asyncio.Event()

        def network(crops):  # takes longer than any client prepares
            batches.append(len(crops))
            loop.call_soon_threadsafe(lambda: asyncio.ensure_future(end_of_run()))
            assert run.acquire(timeout=60)
            return crops

        async def end_of_run():
            await steps(50 * clients)
            if len(batches) == 20:
                enough.set()
            run.release()

        async with Batcher(network, batch_size=4, limit=100) as batcher:
            busy = [asyncio.ensure_future(client(batcher, 20 * number)) for number in range(clients)]
            await enough.wait()
            for one in busy:
                one.cancel()

    asyncio.run(scenario())
    assert batches[0] == 1
    assert all(half <= batch <= half + 1 for batch in batches[4:]), batches


def test_a_batch_waits_no_longer_than_its_patience():
    batches = []

    def network(crops):
        batches.append(len(crops))
        time.sleep(0.05)
        return crops

    async def scenario():
        async with Batcher(network, batch_size=4, limit=100) as batcher:
            await batcher.predict([CROP] * 4)
            await asyncio.wait_for(batcher.predict([CROP]), 60)  # the other three never come again

    asyncio.run(scenario())
    assert batches == [1, 3, 1]


def test_one_network_of_ipv6_counts_as_one_client():
    released, statuses = asyncio.Event(), []

    async def app(scope, receive, send):
        await released.wait()

    async def ask(guard, address):
        scope = {"type": "http", "method": "POST", "path": "/predict", "headers": [], "client": (address, 1)}

        messages = [{"type": "http.request", "body": b""}]

        async def receive():
            return messages.pop() if messages else await asyncio.Event().wait()

        async def send(message):
            statuses.append(message.get("status"))

        await guard(scope, receive, send)

    async def scenario():
        guard = Guard(app, Limits(requests_per_client=1), Origins())
        first = asyncio.ensure_future(ask(guard, "2001:db8::1"))
        await asyncio.sleep(0.01)
        await ask(guard, "2001:db8::2")
        assert statuses[0] == 429
        others = asyncio.ensure_future(ask(guard, "2001:db8:0:1::1"))
        await asyncio.sleep(0.01)
        assert guard.taken.total() == 2
        released.set()
        await asyncio.gather(first, others)

    asyncio.run(asyncio.wait_for(scenario(), 20))


# Over a socket


PHOTO = image_file(np.full((100, 100, 3), 128, dtype=np.uint8))


def post(address, timeout=20.0):
    return httpx.post(f"{address}/v1/reconstructions", files={"photo": PHOTO}, timeout=timeout)


@pytest.fixture
def held_network(mean_reconstructor, monkeypatch):
    """The network waits until it is let go."""
    network = SlowNetwork()
    predict = mean_reconstructor.predict_faces

    def held(crops):
        network(crops)
        return predict(crops)

    monkeypatch.setattr(mean_reconstructor, "predict_faces", held)
    yield network
    network.go.set()


def wait_for_crops(address, waiting: int) -> None:
    """Until the network holds one batch and that many crops wait."""
    deadline = time.monotonic() + 20
    while (found := httpx.get(f"{address}/health").json()["waiting"]) != waiting:
        assert time.monotonic() < deadline, f"{found} crops wait"


def post_in_threads(address, count):
    answers = []
    threads = [threading.Thread(target=lambda: answers.append(post(address))) for _ in range(count)]
    for thread in threads:
        thread.start()
    return threads, answers


@pytest.mark.parametrize(
    ("limits", "status"),
    [(Limits(requests=3), 503), (Limits(requests_per_client=3), 429), (Limits(waiting_crops=2), 503)],
)
def test_a_full_server_says_when_to_come_back_and_answers_those_it_took(
    mean_reconstructor, held_network, limits, status
):
    with listening(build_application(mean_reconstructor, batch_size=1, limits=limits)) as address:
        threads, answers = post_in_threads(address, 1)
        assert held_network.began.wait(20)  # else three crops might wait for a moment, which is too many
        more, later = post_in_threads(address, 2)
        wait_for_crops(address, waiting=2)
        refused = post(address)
        assert refused.status_code == status
        assert refused.headers["retry-after"] == "1"
        assert refused.json()["detail"]
        assert httpx.get(f"{address}/health").status_code == 200
        held_network.go.set()
        for thread in threads + more:
            thread.join()
        assert [answer.status_code for answer in answers + later] == [200] * 3
        assert post(address).status_code == 200


def sent_by_hand(address, request: httpx.Request, count: int) -> list[socket.socket]:
    """Connections that have sent a request each and read nothing."""
    host, port = address.removeprefix("http://").split(":")
    body = request.read()
    head = f"{request.method} {request.url.raw_path.decode()} HTTP/1.1\r\nHost: {host}\r\n"
    head += "".join(f"{name}: {value}\r\n" for name, value in request.headers.items() if name != "host")
    connections = [socket.create_connection((host, int(port))) for _ in range(count)]
    for connection in connections:
        connection.sendall(head.encode() + b"\r\n" + body)
    return connections


def test_a_client_that_goes_away_leaves_no_work_behind(mean_reconstructor, held_network):
    app = build_application(mean_reconstructor, batch_size=1)
    with listening(app) as address:
        threads, _ = post_in_threads(address, 1)
        assert held_network.began.wait(20)
        request = httpx.Request("POST", f"{address}/v1/reconstructions", files={"photo": PHOTO})
        connections = sent_by_hand(address, request, 5)
        wait_for_crops(address, waiting=5)
        for connection in connections:
            connection.close()
        time.sleep(2)  # nothing tells from outside that the server has seen it
        held_network.go.set()
        threads[0].join()
        assert post(address).status_code == 200
        assert len(held_network.batches) == 2


@pytest.fixture
def slow_work(monkeypatch):
    """Downloads and pairs of meshes take a while; what has begun is noted."""
    begun = []

    def slowly(answer):
        def slow(*arguments):
            begun.append(arguments)
            time.sleep(0.3)
            return answer

        return slow

    monkeypatch.setattr("prnet.serving.reconstructions._archive_face", slowly(None))
    monkeypatch.setattr("prnet.serving.prnet_keras._errors_of_pair", slowly(PairErrors(evalValues=[])))
    return begun


def wait_until_begun(begun: list) -> None:
    deadline = time.monotonic() + 20
    while not begun:
        assert time.monotonic() < deadline, "nothing is begun"
        time.sleep(0.01)


def send_and_leave(address, request: httpx.Request, begun: list, count: int) -> None:
    """Send a request by so many connections, close them once the first is worked on, and wait for what follows."""
    connections = sent_by_hand(address, request, count)
    wait_until_begun(begun)
    for connection in connections:
        connection.close()
    time.sleep(2)


def test_downloads_that_nobody_waits_for_are_not_made(mean_reconstructor, slow_work):
    with listening(build_application(mean_reconstructor)) as address:
        answer = httpx.post(f"{address}/v1/reconstructions", files={"photo": PHOTO}, data={"box": "10,10,80,80"})
        archive = httpx.Request("GET", address + answer.json()["links"]["zip"])
        send_and_leave(address, archive, slow_work, 20)
    assert len(slow_work) <= 8  # of 20, two at a time


def test_archives_leave_room_for_photos(mean_reconstructor, monkeypatch):
    """Two of them took both threads: six archives of eight faces were a minute in which no photo was decoded."""
    begun, go = [], threading.Event()

    def held(*_):
        begun.append(None)
        assert go.wait(60)

    monkeypatch.setattr("prnet.serving.reconstructions._archive_face", held)
    with listening(build_application(mean_reconstructor)) as address:
        boxes = {"box": ["10,10,80,80", "10,10,60,60"]}
        link = httpx.post(f"{address}/v1/reconstructions", files={"photo": PHOTO}, data=boxes).json()["links"]["zip"]
        connections = sent_by_hand(address, httpx.Request("GET", address + link), 6)
        wait_until_begun(begun)
        assert [post(address).status_code for _ in range(4)] == [200] * 4
        assert len(begun) == 1
        go.set()
        assert [connection.recv(1 << 16)[9:12] for connection in connections] == [b"200"] * 6
        for connection in connections:
            connection.close()
    assert len(begun) == 12


def test_downloads_count_as_requests(mean_reconstructor, slow_work):
    with listening(build_application(mean_reconstructor, limits=Limits(requests_per_client=3))) as address:
        answer = httpx.post(f"{address}/v1/reconstructions", files={"photo": PHOTO}, data={"box": "10,10,80,80"})
        connections = sent_by_hand(address, httpx.Request("GET", address + answer.json()["links"]["zip"]), 12)
        statuses = [connection.recv(1 << 16)[9:12] for connection in connections]
        for connection in connections:
            connection.close()
    assert statuses.count(b"429") >= 6


def test_pairs_of_a_client_that_left_are_not_evaluated(mean_reconstructor, slow_work):
    pairs = {"imageMatList": [{"rawImage": "", "rawOrgMats": [""] * 30, "rawPredictMats": [""] * 30}]}
    with listening(build_application(mean_reconstructor)) as address:
        send_and_leave(address, httpx.Request("POST", f"{address}/evaluate", json=pairs), slow_work, 1)
    assert len(slow_work) <= 4  # seven begin until the end if none is called off, and 30 are asked for


def test_a_stop_finishes_what_was_taken(mean_reconstructor, held_network):
    with listening(build_application(mean_reconstructor)) as address:
        threads, answers = post_in_threads(address, 4)
        wait_for_crops(address, waiting=3)
        threading.Timer(0.5, held_network.go.set).start()
    for thread in threads:
        thread.join()
    assert [answer.status_code for answer in answers] == [200] * 4


def most_memory() -> int:
    """Bytes that this process has held at most so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss << 10


@pytest.mark.parametrize(("clients", "seconds"), [(4, 2), pytest.param(8, 30, marks=pytest.mark.large)])
def test_clients_at_once_get_answers_in_bounded_memory(mean_reconstructor, clients, seconds):
    statuses, lock = [], threading.Lock()

    def client(address):
        with httpx.Client(base_url=address, timeout=20) as session:
            while time.monotonic() < deadline:
                status = session.post("/v1/reconstructions", files={"photo": PHOTO}).status_code
                with lock:
                    statuses.append(status)

    with listening(build_application(mean_reconstructor)) as address:
        for _ in range(70):  # more than the results that are kept
            post(address)
        before = most_memory()
        deadline = time.monotonic() + seconds
        threads = [threading.Thread(target=client, args=(address,)) for _ in range(clients)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        grown = most_memory() - before
    assert set(statuses) <= {200, 503}
    assert statuses.count(200) > clients
    assert grown < 60 << 20, f"{grown >> 20} MiB after {len(statuses)} requests"
