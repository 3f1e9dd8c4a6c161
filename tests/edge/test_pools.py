"""Worker threads and the memory of uploads, in one process."""

from __future__ import annotations

import asyncio
import gc
import random
import threading
import time
from collections.abc import Coroutine
from typing import Any, TypeVar

import pytest

from fanlight.errors import Busy
from fanlight.http.body import OVERDRAFT, Budget, Share
from fanlight.http.pools import Pools
from fanlight.logs import REQUEST_ID

T = TypeVar("T")
KIB, MIB = 1024, 1024 * 1024


def run(work: Coroutine[Any, Any, T]) -> T:
    return asyncio.run(work)


def fail(error: BaseException) -> None:
    raise error


def test_results_and_errors_come_back() -> None:
    async def work() -> None:
        pools = Pools()
        for pool in (pools.metadata, pools.transfer, pools.sending("a")):
            assert await pool(divmod, 7, 2) == (3, 1)
            with pytest.raises(KeyError):
                await pool(fail, KeyError("x"))
            with pytest.raises(RuntimeError):
                await pool(fail, StopIteration())
            assert await pool(threading.current_thread) is not threading.main_thread()
        assert pools.close()

    run(work())


def test_a_job_knows_whose_it_is() -> None:
    """Each pool, one thread, and requests that take turns in it."""

    async def request(pools: Pools, name: str) -> None:
        REQUEST_ID.set(name)
        for pool in (pools.metadata, pools.transfer, pools.sending("a")):
            assert await pool(REQUEST_ID.get) == name

    async def work() -> None:
        pools = Pools(1, 8, 1)
        await asyncio.gather(*(request(pools, f"req-{number}") for number in range(8)))
        assert REQUEST_ID.get() is None
        assert await pools.metadata(REQUEST_ID.get) is None
        assert pools.close()

    run(work())


def test_at_most_as_many_threads_as_said_and_all_work_is_done() -> None:
    async def work() -> None:
        pools = Pools(metadata_threads=3)
        running, highest, lock = 0, 0, threading.Lock()

        def job(number: int) -> int:
            nonlocal running, highest
            with lock:
                running += 1
                highest = max(highest, running)
            time.sleep(0.001)
            with lock:
                running -= 1
            return number

        results = await asyncio.gather(*(pools.metadata(job, number) for number in range(200)))
        assert results == list(range(200))
        assert highest == 3
        assert pools.close()

    run(work())


def test_transfers_are_refused_when_all_threads_are_taken() -> None:
    async def work() -> None:
        pools = Pools(transfer_threads=2)
        gate = threading.Event()
        running = [asyncio.create_task(pools.transfer(gate.wait)) for _ in range(2)]
        await asyncio.sleep(0)
        with pytest.raises(Busy) as refused:
            await pools.transfer(bool)
        assert refused.value.retry_after > 0
        assert await pools.metadata(bool) is False
        gate.set()
        assert await asyncio.gather(*running) == [True, True]
        assert await pools.transfer(bool) is False

    run(work())


def test_a_cancelled_wait_leaves_the_thread_taken_until_it_ends() -> None:
    async def work() -> None:
        pools = Pools(transfer_threads=1)
        gate = threading.Event()
        task = asyncio.create_task(pools.transfer(gate.wait))
        await asyncio.sleep(0.05)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert pools.transfers == 1
        gate.set()
        while pools.transfers:
            await asyncio.sleep(0.01)
        assert await pools.transfer(bool) is False

    run(work())


def test_close_waits_but_not_for_ever() -> None:
    async def work() -> None:
        pools = Pools()
        gate = threading.Event()
        task = asyncio.create_task(pools.transfer(gate.wait))
        await asyncio.sleep(0.05)
        began = time.monotonic()
        assert not pools.close(0.2)
        assert time.monotonic() - began < 1
        gate.set()
        assert await task
        assert pools.close(5)

    run(work())


def test_a_block_is_back_when_the_last_view_dies() -> None:
    budget, share = Budget(), Share()
    view = budget.lend(budget.take(share), share, 1000)
    another = view[10:20]
    assert budget.used == 4 * MIB
    assert len(view) == 1000
    assert view.readonly
    del view
    assert bytes(another) == bytes(10)
    del another
    assert (budget.used, share.used) == (0, 0)


def test_a_block_in_use_elsewhere_is_not_used_again() -> None:
    budget, share, other = Budget(), Share(), Share()
    kept = budget.take(other)
    first = budget.take(share)
    first[:3] = b"abc"
    view = budget.lend(first, share, 3)
    del first
    part = view[:]
    del view
    fresh = budget.take(share)
    fresh[:3] = b"xyz"
    assert bytes(part) == b"abc"
    budget.release(fresh, share)
    budget.release(kept, other)
    assert budget.used == 0


def test_blocks_are_used_again_while_transfers_run() -> None:
    budget, share, other = Budget(), Share(), Share()
    kept = budget.take(other)
    first = budget.take(share)
    place = id(first)
    view = budget.lend(first, share, 3)
    del first, view
    assert id(budget.take(share)) == place
    assert len(kept) == 4 * MIB


def test_blocks_shrink_when_many_run() -> None:
    budget = Budget(total=128 * MIB)
    shares = [Share() for _ in range(64)]
    blocks = [budget.take(share) for share in shares]
    sizes = [len(block) for block in blocks]
    assert sizes[0] == 4 * MIB
    assert sizes[-1] == 512 * KIB
    assert sizes == sorted(sizes, reverse=True)


def test_one_upload_has_its_share_only() -> None:
    budget, share = Budget(share=8 * MIB), Share()
    views = [budget.lend(budget.take(share), share, 1) for _ in range(2)]
    threading.Timer(0.2, views.clear).start()
    began = time.monotonic()
    assert len(budget.take(share)) == 4 * MIB
    assert 0.1 < time.monotonic() - began < 0.9


def test_when_nothing_comes_back_there_is_a_little_more() -> None:
    budget, share, stalled = Budget(total=1 * MIB, largest=1 * MIB, smallest=1 * MIB), Share(), Share()
    held = budget.take(stalled)
    began = time.monotonic()
    assert len(budget.take(share)) == OVERDRAFT
    assert 0.8 < time.monotonic() - began < 2
    assert len(held) == 1 * MIB


def test_many_threads_take_and_give_back() -> None:
    budget = Budget(total=4 * MIB, share=2 * MIB, largest=256 * KIB, smallest=64 * KIB)
    failures: list[str] = []

    def work(seed: int) -> None:
        source, share, held = random.Random(seed), Share(), []
        for number in range(300):
            block = budget.take(share)
            block[:4] = number.to_bytes(4, "big")
            held.append((number, budget.lend(block, share, 4)))
            del block
            while len(held) > source.randrange(4):
                expected, view = held.pop(source.randrange(len(held)))
                if bytes(view) != expected.to_bytes(4, "big"):
                    failures.append(f"block {expected} was used twice")
                del view
            if number == 150:
                gc.collect()

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert budget.used == 0


def test_a_store_that_does_not_answer_keeps_no_other_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    async def work() -> None:
        pools = Pools(sending_threads=2)
        go = threading.Event()
        slow, quick = pools.sending("slow"), pools.sending("quick")
        waiting = [asyncio.ensure_future(slow.begin(go.wait, 30)) for _ in range(5)]
        await asyncio.sleep(0.05)
        assert await quick.begin(divmod, 7, 2) == (3, 1)
        # After a while nobody else begins there; who did goes on.
        monkeypatch.setattr("fanlight.http.pools.STALLED_SECONDS", 0.04)
        with pytest.raises(Busy):
            await slow.begin(divmod, 7, 2)
        assert await quick.begin(divmod, 7, 2) == (3, 1)
        go.set()
        assert await asyncio.gather(*waiting) == [True] * 5
        assert await slow.begin(divmod, 7, 2) == (3, 1)
        assert pools.sending("slow") is slow
        assert pools.close()

    run(work())
