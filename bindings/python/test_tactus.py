# SPDX-License-Identifier: Apache-2.0
"""Tests of the Python module over an installed library. Speaks TAP: a line for each test."""

import array
import ast
import contextlib
import ctypes
import faulthandler
import gc
import io
import itertools
import os
import pathlib
import pickle
import pydoc
import re
import select
import signal
import subprocess
import sys
import tempfile
import threading
import time
import traceback
import tracemalloc
import unittest
import uuid
import warnings

import tactus

HERE = pathlib.Path(__file__).resolve().parent

# A bar is a few hundred records, and no thread is started.
SMALL = {
    "block_size": "4KiB",
    "page_size": 512,
    "memtable_size": "32KiB",
    "slice_size": "64KiB",
    "beats_per_bar": 16,
    "page_cache_size": "1MiB",
    "index_cache_size": "4MiB",
    "threads": 0,
}

# Values of more than a page, and stage threads.
THREADED = {
    "memtable_size": "1MiB",
    "page_cache_size": "4MiB",
    "index_cache_size": "8MiB",
    "threads": 3,
}


def memory_store(**options):
    return tactus.Store.open(None, backend="memory", **{**SMALL, **options})


def key_of(number):
    return b"key%06d" % number


def fill(tree, count, value=b"value"):
    for number in range(count):
        tree[key_of(number)] = value


def uses_of_tree(tree, batch):
    """Every call that takes a tree which is there, by itself or in a batch."""
    return (
        lambda: tree[b"a"],
        lambda: tree.__setitem__(b"a", b"1"),
        lambda: tree.__delitem__(b"a"),
        lambda: b"a" in tree,
        lambda: iter(tree),
        lambda: tree.compare_and_set(b"a", None, b"1"),
        lambda: tree.delete(b"a"),
        lambda: tree.delete_range(b"a", b"b"),
        lambda: tree.get(b"a"),
        lambda: tree.get_many([b"a"]),
        lambda: tree.get_pinned(b"a"),
        lambda: tree.ingest([(b"a", b"1")]),
        lambda: tree.put(b"a", b"1"),
        lambda: tree.put_if_absent(b"a", b"1"),
        tree.compact,
        tree.compact_range,
        tree.drop,
        tree.items,
        tree.keys,
        tree.values,
        lambda: batch.delete(tree, b"a"),
        lambda: batch.expect(tree, b"a", None),
        lambda: batch.put(tree, b"a", b"1"),
    )


class InFolder(unittest.TestCase):
    """Has a folder of its own, and `path` in it."""

    def setUp(self):
        self.folder = tempfile.TemporaryDirectory()
        self.addCleanup(self.folder.cleanup)
        self.path = os.path.join(self.folder.name, "store")


class InMemory(unittest.TestCase):
    """Has a store in memory with a tree."""

    options = {}

    def setUp(self):
        self.store = memory_store(**self.options)
        self.addCleanup(self.store.close)
        self.tree = self.store.create_tree("tree")


class OpeningTest(InFolder):
    def test_a_store_is_created_and_opened_again(self):
        for path in (self.path, os.fsencode(self.path + "2"), pathlib.Path(self.path + "3")):
            with tactus.Store.create(path, **SMALL) as store:
                self.assertEqual(store.path, path)
                self.assertIn("open", repr(store))
                store.create_tree("tree")[b"key"] = b"value"
            self.assertIn("closed", repr(store))
            with tactus.Store.open(path) as store:
                self.assertEqual(store.tree("tree")[b"key"], b"value")

    def test_what_cannot_be_opened(self):
        with self.assertRaises(tactus.NoStore) as caught:
            tactus.Store.open(self.path)
        self.assertIsInstance(caught.exception, FileNotFoundError)
        self.assertEqual(caught.exception.code, 10)
        self.assertIn(self.path, str(caught.exception))
        self.assertEqual(caught.exception.message, str(caught.exception))
        pathlib.Path(self.path).write_text("Dear friend")
        with self.assertRaises(tactus.Format):
            tactus.Store.open(self.path)
        with self.assertRaises(FileExistsError) as caught:
            tactus.Store.create(self.path)
        self.assertIs(type(caught.exception), tactus.Exists)
        self.assertRaises(TypeError, tactus.Store.open)
        self.assertRaises(TypeError, tactus.Store.open, 7)
        self.assertRaises(ValueError, tactus.Store.open, "a\0b")
        self.assertRaises(TypeError, tactus.Store)
        for kind in (tactus.Tree, tactus.Iterator, tactus.Batch, tactus.Pool):
            self.assertRaises(TypeError, kind)

    def test_one_open_at_a_time(self):
        with tactus.Store.create(self.path, **SMALL):
            self.assertRaises(tactus.Locked, tactus.Store.open, self.path)
        tactus.Store.open(self.path).close()

    @unittest.skipIf(os.geteuid() == 0, "root may read anything")
    def test_a_file_that_may_not_be_read(self):
        tactus.Store.create(self.path, **SMALL).close()
        os.chmod(self.path, 0)
        with self.assertRaises(PermissionError) as caught:
            tactus.Store.open(self.path)
        self.assertIs(type(caught.exception), tactus.Access)

    def test_options_are_the_text_of_their_value(self):
        number = uuid.UUID(int=7)
        with memory_store(assist=False, io_depth=2, uuid=number, memtable_size=65536) as store:
            self.assertEqual(store.stat()["threads_read"], 0)
        with self.assertRaises(ValueError) as caught:
            memory_store(block_size=3)
        self.assertIs(type(caught.exception), tactus.Option)
        self.assertIn("block_size", str(caught.exception))
        with self.assertRaisesRegex(tactus.Option, "no_such_option"):
            memory_store(no_such_option=1)
        self.assertRaises(tactus.Option, memory_store, threads=None)
        self.assertRaises(ValueError, memory_store, threads="0\0")
        self.assertRaises(ValueError, memory_store, **{"threads\0": "0"})

        class Stubborn:
            def __str__(self):
                raise ZeroDivisionError

        self.assertRaises(ZeroDivisionError, memory_store, threads=Stubborn())

    def test_a_memory_store_has_no_file(self):
        with tactus.Store.open(self.path, backend="memory", **SMALL) as store:
            self.assertEqual(store.stat()["backend"], "memory")
        self.assertFalse(os.path.exists(self.path))
        self.assertRaises(tactus.Option, tactus.Store.create, self.path, backend="memory")
        self.assertRaises(tactus.Invalid, tactus.Store.create, None)
        self.assertRaises(tactus.Invalid, tactus.Store.open, None)

    def test_abandon_is_like_a_crash(self):
        store = tactus.Store.create(self.path, **SMALL)
        tree = store.create_tree("tree")
        tree[b"a"] = b"1"
        store.checkpoint()
        durable = store.durable_op
        tree[b"b"] = b"2"
        self.assertGreater(store.last_op, durable)
        store.abandon()
        store.abandon()
        self.assertTrue(store.closed)
        with tactus.Store.open(self.path, threads=0) as store:
            self.assertEqual(list(store.tree("tree")), [(b"a", b"1")])

    def test_a_log_that_is_missing(self):
        store = tactus.Store.create(self.path, log="sync", **SMALL)
        store.create_tree("tree")[b"a"] = b"1"
        self.assertEqual(store.durable_op, store.last_op)
        store.abandon()
        os.unlink(self.path + "-wal")
        self.assertRaises(tactus.LogMissing, tactus.Store.open, self.path, log="sync", threads=0)

    def test_the_hosts_log(self):
        store = tactus.Store.create(self.path, log="host", **SMALL)
        ops = [lambda: store.create_tree("tree"), lambda: store.checkpoint(),
               lambda: store.tree("tree").put(b"a", b"1")]
        self.assertEqual(store.replay_op, 1)
        store.replay_end()
        for op in ops:
            op()
        store.abandon()
        store = tactus.Store.open(self.path, log="host", threads=0)
        self.assertIn(store.replay_op, (1, 2, 3))
        for op in ops[store.replay_op - 1:]:
            op()
        store.replay_end()
        self.assertEqual((store.last_op, store.replay_op), (3, 4))
        self.assertEqual(store.tree("tree")[b"a"], b"1")
        store.close()


class ClosingTest(InFolder):
    def test_closing_twice_is_closing_once(self):
        store = tactus.Store.create(self.path, **SMALL)
        self.assertFalse(store.closed)
        store.close()
        store.close()
        store.__exit__(None, None, None)
        self.assertTrue(store.closed)

    def test_an_exception_closes_too(self):
        with self.assertRaises(ZeroDivisionError):
            with tactus.Store.create(self.path, **SMALL) as store:
                store.create_tree("tree")[b"a"] = b"1"
                raise ZeroDivisionError
        self.assertTrue(store.closed)
        with tactus.Store.open(self.path, threads=0) as store:
            self.assertEqual(store.tree("tree")[b"a"], b"1")

    def test_after_the_close_every_use_is_refused(self):
        store = memory_store()
        tree = store.create_tree("tree")
        fill(tree, 10)
        batch = store.batch()
        batch.put(tree, b"a", b"1")
        iterator, fetched = tree.items(), tree.items()
        next(fetched)
        next(fetched)  # One more is fetched by now
        store.close()
        uses = [
            store.__enter__,
            store.batch,
            store.checkpoint,
            store.descriptor,
            store.digest,
            store.drain,
            store.metrics,
            store.pause,
            store.replay_end,
            store.resume,
            store.stat,
            store.step,
            store.sync,
            store.trees,
            store.compact_cancel,
            store.compact_progress,
            store.compact_step,
            store.plan,
            store.verify,
            lambda: store.compaction_hold(True),
            lambda: store.create_tree("other"),
            lambda: store.create_snapshot("s"),
            lambda: store.release_snapshot("s"),
            lambda: store.snapshot("s"),
            store.snapshots,
            lambda: store.tree("tree"),
            lambda: store.threads_change(1, 1, 1),
            lambda: store.io_rate_change(0),
            lambda: store.cache_change(0, 0),
            store.beat,
            lambda: store.durable_op,
            lambda: store.last_op,
            lambda: store.replay_op,
            batch.__enter__,
            batch.clear,
            batch.commit,
            lambda: batch.__exit__(None, None, None),
            iterator.__enter__,
            lambda: iterator.seek(b"a"),
            lambda: next(iterator),
            lambda: next(fetched),
            *uses_of_tree(tree, batch),
        ]
        for use in uses:
            with self.assertRaisesRegex(tactus.Closed, "store is closed"):
                use()
        iterator.close()
        batch.__exit__(ZeroDivisionError, None, None)
        self.assertIs(tree.store, store)
        self.assertEqual((tree.name, tree.id), ("tree", 0))
        self.assertIs(store.path, None)

    def things_open(self):
        """A store and what is opened in it, each with how it is closed."""
        store = memory_store()
        tree = store.create_tree("tree")
        fill(tree, 1000)
        store.create_snapshot("s")
        snapshot = store.snapshot("s")
        things = [store, snapshot, tree.items(), snapshot.items(tree)]
        for iterator in things[2:]:
            next(iterator)
        return things

    def test_closing_in_any_order(self):
        for order in itertools.permutations(range(4)):
            with self.subTest(order=order):
                things = self.things_open()
                store, snapshot, *iterators = things
                for at, i in enumerate(order):
                    things[i].close()
                    closed = {things[j] for j in order[:at + 1]}
                    for iterator in iterators:
                        if closed & {iterator, store} or (
                                iterator is iterators[1] and snapshot in closed):
                            self.assertRaises(tactus.Closed, next, iterator)
                        else:
                            next(iterator)
                    self.assertEqual(store.closed, store in closed)
                for thing in things:
                    thing.close()
                    self.assertIsNone(thing.__exit__(None, None, None))
                    self.assertRaises(tactus.Closed, thing.__enter__)

    def test_nesting_in_any_order(self):
        for order in itertools.permutations(range(4)):
            for error in (None, ZeroDivisionError):
                with self.subTest(order=order, error=error):
                    things = self.things_open()
                    with contextlib.ExitStack() as stack:
                        if error is not None:
                            stack.enter_context(self.assertRaises(error))
                        for i in order:
                            self.assertIs(stack.enter_context(things[i]), things[i])
                        if error is not None:
                            raise error
                    for thing in things:
                        self.assertRaises(tactus.Closed, thing.__enter__)

    def test_dropping_in_any_order(self):
        for order in itertools.permutations(range(4)):
            with self.subTest(order=order):
                things = self.things_open()
                with self.assertWarnsRegex(ResourceWarning, "unclosed store"):
                    for i in order:
                        things[i] = None

    def test_a_batch_and_its_store_nested(self):
        for is_store_first in (True, False):
            with self.subTest(is_store_first=is_store_first):
                store = memory_store()
                tree = store.create_tree("tree")
                batch = store.batch()
                first, second = (store, batch) if is_store_first else (batch, store)
                with contextlib.ExitStack() as stack:
                    if not is_store_first:  # Then what is in it would be lost without a word
                        stack.enter_context(self.assertRaises(tactus.Closed))
                    stack.enter_context(first)
                    stack.enter_context(second)
                    batch.put(tree, b"a", b"1")
                self.assertTrue(store.closed)
                self.assertRaises(tactus.Closed, batch.put, tree, b"a", b"1")

    def test_a_pinned_value_and_its_store_nested(self):
        store = memory_store()
        tree = store.create_tree("tree")
        tree[b"a"] = b"value"
        with self.assertRaisesRegex(BufferError, "1 values"):
            with tree.get_pinned(b"a") as value, store:
                self.assertEqual(bytes(value), b"value")
        self.assertFalse(store.closed)
        with store, tree.get_pinned(b"a") as value:
            self.assertEqual(bytes(value), b"value")
        self.assertTrue(store.closed)

    def test_closing_in_the_middle_of_a_loop(self):
        store = memory_store()
        tree = store.create_tree("tree")
        fill(tree, 1000)
        count = 0
        with self.assertRaises(tactus.Closed):
            for _ in tree:
                count += 1
                if count == 300:
                    store.close()
        self.assertEqual(count, 300)

    def test_pinned_values_keep_it_open(self):
        store = memory_store()
        tree = store.create_tree("tree")
        tree[b"a"] = b"value"
        view = tree.get_pinned(b"a")
        part = view[1:3]
        view.release()
        for close in (store.close, store.abandon):
            with self.assertRaisesRegex(BufferError, "1 values"):
                close()
        self.assertEqual(bytes(part), b"al")
        self.assertEqual(tree[b"a"], b"value")
        part.release()
        store.close()
        self.assertRaises(ValueError, bytes, part)

    def test_a_store_that_is_dropped_is_closed_with_a_warning(self):
        store = tactus.Store.create(self.path, **SMALL)
        store.create_tree("tree")[b"a"] = b"1"
        with self.assertWarnsRegex(ResourceWarning, "unclosed store"):
            del store
            gc.collect()
        with tactus.Store.open(self.path, threads=0) as store:
            self.assertEqual(store.tree("tree")[b"a"], b"1")

    def test_its_objects_keep_it(self):
        store = memory_store()
        tree = store.create_tree("tree")
        fill(tree, 600)
        items, batch = tree.items(), store.batch()
        del store
        gc.collect()
        self.assertEqual(len(list(items)), 600)
        batch.put(tree, b"a", b"1")
        batch.commit()
        store = tree.store
        del tree, items, batch
        store.close()

    def test_it_waits_for_calls_of_other_threads(self):
        for _ in range(5):
            store = tactus.Store.create(self.path, log="sync", **THREADED)
            tree = store.create_tree("tree")
            done = [0] * 4

            def write(place):
                with contextlib.suppress(tactus.Closed):
                    while True:
                        tree[b"%d-%06d" % (place, done[place])] = b"value"
                        done[place] += 1

            threads = [threading.Thread(target=write, args=(i,)) for i in range(4)]
            for thread in threads:
                thread.start()
            while min(done) < 3:
                time.sleep(0.001)
            closers = [threading.Thread(target=store.close) for _ in range(3)]
            for closer in closers:
                closer.start()
            for closer in closers:
                closer.join()
            with tactus.Store.open(self.path, log="sync", **THREADED) as again:
                for thread in threads:
                    thread.join()
                keys = list(again.tree("tree").keys())
            self.assertEqual(len(keys), sum(done))
            os.unlink(self.path)
            with contextlib.suppress(FileNotFoundError):
                os.unlink(self.path + "-wal")

    def test_a_signal_handler_ends_the_wait(self):
        class Stop(Exception):
            pass

        def stop(number, frame):
            store.close()  # By the thread that closes: does nothing
            raise Stop

        before = signal.signal(signal.SIGALRM, stop)
        self.addCleanup(signal.signal, signal.SIGALRM, before)
        was_stopped = False
        for _ in range(20):
            store = memory_store(memtable_size="4MiB")
            tree = store.create_tree("tree")
            fill(tree, 100000, b"v" * 100)
            store.drain()
            started = threading.Event()

            def verify():
                started.set()
                with contextlib.suppress(tactus.Closed):
                    store.verify()

            thread = threading.Thread(target=verify)
            thread.start()
            started.wait()
            time.sleep(0.001)
            try:
                signal.setitimer(signal.ITIMER_REAL, 0.002)
                store.close()
                signal.setitimer(signal.ITIMER_REAL, 0)
            except Stop:
                was_stopped = not store.closed
            if was_stopped:
                self.assertEqual(tree[key_of(7)], b"v" * 100)
            thread.join()
            store.close()
            self.assertTrue(store.closed)
            if was_stopped:
                break
        self.assertTrue(was_stopped)


class TreeTest(InMemory):
    def test_trees_have_names_and_layouts(self):
        tree = self.store.create_tree("fixed", key_size=4, value_size=2, fixed=True)
        self.assertEqual((tree.name, tree.id, tree.key_size, tree.value_size, tree.fixed),
                         ("fixed", 1, 4, 2, True))
        self.assertIs(tree.store, self.store)
        self.assertIn("fixed", repr(tree))
        self.store.create_tree("sized", key_size=20, value_size=30)
        self.assertEqual([(t.name, t.key_size, t.value_size, t.fixed) for t in self.store.trees()],
                         [("tree", 256, 768, False), ("fixed", 4, 2, True),
                          ("sized", 20, 30, False)])
        self.assertEqual(self.store.tree("sized").id, 2)

    def test_drop(self):
        other = self.store.create_tree("other")
        for i in range(1000):
            other[b"%04d" % i] = b"value"
        self.tree[b"kept"] = b"1"
        batch = self.store.batch()
        batch.put(other, b"late", b"1")
        batch.put(self.tree, b"late", b"1")
        op = self.store.last_op
        self.assertIsNone(other.drop())
        self.assertEqual(self.store.last_op, op + 1)
        for call in (
            other.drop,
            other.compact,
            batch.commit,
            lambda: other.get(b"0001"),
            lambda: other.put(b"0001", b""),
            lambda: list(other),
            lambda: self.store.tree("other"),
        ):
            self.assertRaises(tactus.NoTree, call)
        self.assertEqual([tree.name for tree in self.store.trees()], ["tree"])
        again = self.store.create_tree("other")
        self.assertNotEqual(again.id, other.id)
        self.assertEqual(list(again), [])
        self.store.drain()
        self.assertEqual(self.store.stat()["tables_discarded"], 0)
        self.assertEqual(dict(self.tree), {b"kept": b"1"})

    def test_every_use_of_a_dropped_tree_is_refused(self):
        tree, batch = self.store.create_tree("other"), self.store.batch()
        fill(tree, 10)
        tree.drop()
        self.tree[b"a"] = b"1"
        op = self.store.last_op
        for use in uses_of_tree(tree, batch):
            with self.assertRaises(LookupError) as caught:
                use()
            self.assertEqual((type(caught.exception), caught.exception.code), (tactus.NoTree, 4))
        self.assertEqual(self.store.last_op, op)
        self.assertEqual((tree.name, tree.key_size), ("other", 256))
        self.assertIn("other", repr(tree))
        self.store.create_tree("other")  # Another one, of which the object knows nothing
        self.assertRaises(tactus.NoTree, tree.get, b"a")
        batch.put(self.tree, b"b", b"2")
        batch.commit()
        self.assertEqual(dict(self.tree), {b"a": b"1", b"b": b"2"})

    def test_what_was_opened_before_a_drop_reads_on(self):
        fill(self.tree, 1000)
        self.store.create_snapshot("s")
        records = list(self.tree.items())
        with (self.store.snapshot("s") as snapshot,
              self.tree.items() as before,
              self.tree.get_pinned(key_of(7)) as value):
            self.assertEqual(next(before), records[0])
            self.tree.drop()
            self.assertEqual(list(before), records[1:])
            before.seek(key_of(999))
            self.assertEqual(next(before), records[999])
            self.assertEqual(bytes(value), b"value")
            self.assertEqual(snapshot.get(self.tree, key_of(8)), b"value")
            self.assertEqual(list(snapshot.items(self.tree)), records)

    def test_another_thread_drops_it(self):
        with memory_store(**THREADED) as store:
            tree = store.create_tree("tree")
            begun, results = threading.Event(), []

            def write():
                try:
                    for number in range(1 << 30):
                        tree[key_of(number)] = b"value"
                        if number == 100:
                            begun.set()
                except Exception as error:
                    results.append(type(error))

            thread = threading.Thread(target=write)
            thread.start()
            begun.wait()
            tree.drop()
            thread.join()
            self.assertEqual(results, [tactus.NoTree])
            self.assertEqual(store.trees(), [])

    def test_trees_that_cannot_be(self):
        with self.assertRaises(LookupError) as caught:
            self.store.tree("none")
        self.assertIs(type(caught.exception), tactus.NoTree)
        self.assertRaises(tactus.Exists, self.store.create_tree, "tree")
        self.assertRaises(tactus.Invalid, self.store.create_tree, "a/b")
        self.assertRaises(tactus.KeySize, self.store.create_tree, "a", key_size=5000)
        self.assertRaises(tactus.KeySize, self.store.create_tree, "a", fixed=True)
        self.assertRaises(tactus.ValueSize, self.store.create_tree, "a", value_size=5000)
        self.assertRaises(OverflowError, self.store.create_tree, "a", value_size=-1)
        self.assertRaises(OverflowError, self.store.create_tree, "a", value_size=1 << 32)
        self.assertRaises(TypeError, self.store.create_tree, b"a")
        self.assertRaises(TypeError, self.store.create_tree, "a", 7)
        self.assertEqual(len(self.store.trees()), 1)


class RecordTest(InMemory):
    def test_records_come_and_go(self):
        tree = self.tree
        self.assertNotIn(b"a", tree)
        self.assertIsNone(tree.get(b"a"))
        self.assertEqual(tree.get(b"a", 7), 7)
        tree[b"a"] = b"1"
        tree.put(b"b", b"")
        self.assertIn(b"a", tree)
        self.assertEqual(tree.get(b"a", 7), b"1")
        self.assertEqual((tree[b"a"], tree[b"b"]), (b"1", b""))
        tree[b"a"] = b"2"
        self.assertEqual(tree[b"a"], b"2")
        del tree[b"a"]
        tree.delete(b"b")
        del tree[b"never"]
        self.assertEqual(list(tree), [])

    def test_a_key_that_is_not_there(self):
        for read in (self.tree.__getitem__, self.tree.get_pinned):
            with self.assertRaises(KeyError) as caught:
                read(b"k\xff")
            self.assertIs(type(caught.exception), tactus.NotFound)
            self.assertEqual(str(caught.exception), r"no such key: b'k\xff'")
            self.assertEqual(caught.exception.code, 2)

    def test_bytes_like_objects(self):
        buffers = [bytearray(b"abcd"), memoryview(b"abcd"), memoryview(b"a_b_c_d_")[::2],
                   array.array("B", b"abcd"), type("Bytes", (bytes,), {})(b"abcd")]
        for buffer in buffers:
            self.tree[buffer] = buffer
            self.assertEqual(self.tree[b"abcd"], b"abcd")
            self.assertIs(type(self.tree[buffer]), bytes)
            self.assertIn(buffer, self.tree)
            self.assertEqual(list(self.tree.keys(low=buffer, high=bytearray(b"b"))), [b"abcd"])
            self.assertEqual(bytes(self.tree.get_pinned(buffer)), b"abcd")
            self.tree.compare_and_set(buffer, buffer, bytearray())
            self.assertEqual(self.tree[buffer], b"")
            del self.tree[buffer]
        self.tree[b"n"] = array.array("H", [1, 2])
        self.assertEqual(self.tree[b"n"], array.array("H", [1, 2]).tobytes())

    def test_what_is_not_bytes_like(self):
        for wrong in ("text", 7, None, [1, 2], object()):
            self.assertRaises(TypeError, self.tree.__getitem__, wrong)
            self.assertRaises(TypeError, self.tree.__contains__, wrong)
            self.assertRaises(TypeError, self.tree.__delitem__, wrong)
            self.assertRaises(TypeError, self.tree.__setitem__, wrong, b"1")
            self.assertRaises(TypeError, self.tree.__setitem__, b"a", wrong)
            self.assertRaises(TypeError, self.tree.get, wrong)
            self.assertRaises(TypeError, self.tree.get_pinned, wrong)
            self.assertRaises(TypeError, self.tree.put_if_absent, b"a", wrong)
            self.assertRaises(TypeError, self.tree.compare_and_set, wrong, None, b"1")
            self.assertRaises(TypeError, self.tree.items().seek, wrong)
            self.assertRaises(TypeError, self.store.batch().put, self.tree, b"a", wrong)
        for wrong in ("text", 7):
            self.assertRaises(TypeError, self.tree.compare_and_set, b"a", wrong, None)
            self.assertRaises(TypeError, self.tree.compare_and_set, b"a", None, wrong)
            self.assertRaises(TypeError, self.tree.items, wrong)
        with self.assertRaisesRegex(TypeError, "the key must be a bytes-like object, not.*str"):
            self.tree["text"]
        self.assertEqual(list(self.tree), [])

    def test_keys_and_values_of_bad_sizes(self):
        tree = self.tree
        for key in (b"", b"k" * 257, bytearray(1 << 20)):
            for call in (tree.__getitem__, tree.__delitem__, tree.__contains__, tree.get,
                         tree.get_pinned, lambda k: tree.put(k, b""),
                         lambda k: tree.put_if_absent(k, b""),
                         lambda k: tree.compare_and_set(k, b"", b""),
                         lambda k: self.store.batch().delete(tree, k)):
                self.assertRaises(tactus.KeySize, call, key)
        self.assertRaises(ValueError, tree.put, b"a", bytes(1 << 20))
        self.assertRaises(tactus.ValueSize, tree.put, b"a", bytes(769))
        fixed = self.store.create_tree("fixed", key_size=4, value_size=2, fixed=True)
        self.assertRaises(tactus.Layout, fixed.put, b"abc", b"12")
        self.assertRaises(tactus.Layout, fixed.put, b"abcd", b"1")
        tree[b"k" * 256] = b"v" * 768
        self.assertEqual(tree[b"k" * 256], b"v" * 768)
        self.assertEqual(len(list(tree)), 1)

    def test_large_values(self):
        with tactus.Store.open(None, backend="memory", **THREADED) as store:
            tree = store.create_tree("large")
            sizes = [0, 1, 4095, 4096, 4097, 20000, tree.value_size]
            self.assertEqual(tree.value_size, (32 << 10) - 1024)
            for size in sizes:
                tree[b"%d" % size] = bytes([size % 251]) * size
            for _ in range(2):
                for size in sizes:
                    value = bytes([size % 251]) * size
                    self.assertEqual(tree[b"%d" % size], value)
                    with tree.get_pinned(b"%d" % size) as view:
                        self.assertEqual(view, value)
                self.assertEqual({k: len(v) for k, v in tree}, {b"%d" % s: s for s in sizes})
                tree.compact()

    def test_many_at_once(self):
        fill(self.tree, 3000)
        self.store.drain()
        keys = [key_of(i) for i in range(0, 6000, 7)]
        expected = [self.tree.get(key) for key in keys]
        self.assertIn(None, expected)
        self.assertEqual(self.tree.get_many(keys), expected)
        self.assertEqual(self.tree.get_many(iter(keys)), expected)
        self.assertEqual(self.tree.get_many(map(bytearray, keys)), expected)
        self.assertEqual(self.tree.get_many([]), [])
        self.assertEqual(self.tree.get_many([b"none", key_of(0)], 7), [7, expected[0]])
        with self.assertRaises(tactus.KeySize):
            self.tree.get_many([key_of(0), b""])
        for wrong in (None, 7, [key_of(0), "text"], [None]):
            with self.assertRaises(TypeError):
                self.tree.get_many(wrong)

    def test_conditions(self):
        tree = self.tree
        tree.put_if_absent(b"a", b"1")
        self.assertRaises(tactus.Conflict, tree.put_if_absent, b"a", b"2")
        self.assertEqual(tree[b"a"], b"1")
        tree.compare_and_set(b"a", b"1", b"")
        self.assertEqual(tree[b"a"], b"")
        self.assertRaises(tactus.Conflict, tree.compare_and_set, b"a", None, b"2")
        self.assertRaises(tactus.Conflict, tree.compare_and_set, b"a", b"1", b"2")
        tree.compare_and_set(b"a", b"", None)
        self.assertNotIn(b"a", tree)
        self.assertRaises(tactus.Conflict, tree.compare_and_set, b"a", b"", b"2")
        tree.compare_and_set(b"a", None, b"3")
        self.assertEqual(tree[b"a"], b"3")
        tree.put_if_absent(b"b", b"")
        self.assertEqual(tree[b"b"], b"")

    def test_pinned_values(self):
        fill(self.tree, 2000)
        for key in (key_of(0), key_of(1999)):  # Of a table and of a memtable
            with self.tree.get_pinned(key) as view:
                self.tree[key] = b"other"
                self.assertTrue(view.readonly)
                self.assertEqual((bytes(view), len(view), view.nbytes), (b"value", 5, 5))
                with self.assertRaises(TypeError):
                    view[0] = 7
            self.assertRaises(ValueError, len, view)
            self.assertEqual(self.tree[key], b"other")
        with self.assertRaises(ZeroDivisionError):
            with self.tree.get_pinned(key_of(7)):
                raise ZeroDivisionError
        exporter = self.tree.get_pinned(key_of(8)).obj
        self.assertRaises(BufferError, self.store.close)
        self.assertEqual(bytes(exporter), b"value")


class IteratorTest(InMemory):
    COUNT = 3000

    def setUp(self):
        super().setUp()
        self.records = [(key_of(i), b"value %d" % i) for i in range(self.COUNT)]
        for key, value in reversed(self.records):
            self.tree[key] = value

    def test_all_in_order_and_backward(self):
        self.assertEqual(list(self.tree), self.records)
        self.assertEqual(list(self.tree.items()), self.records)
        self.assertEqual(list(self.tree.keys()), [key for key, _ in self.records])
        self.assertEqual(list(self.tree.values()), [value for _, value in self.records])
        self.assertEqual(list(self.tree.items(reverse=True)), self.records[::-1])
        self.assertEqual(list(self.tree.values(reverse=True)), [v for _, v in self.records[::-1]])

    def test_within_bounds(self):
        low, high = key_of(100), key_of(900)
        for reverse in (False, True):
            step = -1 if reverse else 1
            cases = [
                ({"low": low}, self.records[100:]),
                ({"high": high}, self.records[:900]),
                ({"low": low, "high": high}, self.records[100:900]),
                ({"low": low, "high": low}, []),
                ({"low": high, "high": low}, []),
                ({"low": b""}, self.records),
                ({"low": None, "high": None, "prefix": None}, self.records),
                ({"prefix": b"key0001"}, self.records[100:200]),
                ({"prefix": b""}, self.records),
                ({"prefix": b"x"}, []),
            ]
            for bounds, expected in cases:
                found = list(self.tree.items(**bounds, reverse=reverse))
                self.assertEqual(found, expected[::step], bounds)
        self.assertEqual(list(self.tree.keys(low, high)), [k for k, _ in self.records[100:900]])

    def test_bounds_that_cannot_be(self):
        self.assertRaises(TypeError, self.tree.items, b"a", prefix=b"b")
        self.assertRaises(TypeError, self.tree.items, high=b"a", prefix=b"b")
        self.assertRaises(TypeError, self.tree.items, b"a", b"b", b"c")
        self.assertRaises(tactus.KeySize, self.tree.items, b"k" * 1025)
        self.assertRaises(tactus.KeySize, self.tree.items, high=b"")
        self.assertRaises(tactus.KeySize, self.tree.items, prefix=b"k" * 1025)

    def test_seek(self):
        with self.tree.keys(high=key_of(2000)) as keys:
            self.assertEqual(next(keys), key_of(0))
            keys.seek(key_of(100))
            self.assertEqual([next(keys) for _ in range(500)], [key_of(i) for i in range(100, 600)])
            keys.seek(b"key000099x")
            self.assertEqual(next(keys), key_of(100))
            self.assertRaises(tactus.KeySize, keys.seek, b"")
            self.assertEqual(next(keys), key_of(101))
            keys.seek(b"z")
            self.assertRaises(StopIteration, next, keys)
            self.assertRaises(StopIteration, next, keys)
            keys.seek(key_of(1998))
            self.assertEqual(list(keys), [key_of(1998), key_of(1999)])
            self.assertEqual(list(keys), [])
        with self.tree.items(low=key_of(5), reverse=True) as items:
            items.seek(b"key000007x")
            self.assertEqual(list(items), self.records[7:4:-1])

    def test_it_sees_the_tree_as_of_its_opening(self):
        items = self.tree.items(low=key_of(10), high=key_of(20))
        self.tree[key_of(15) + b"new"] = b"new"
        del self.tree[key_of(16)]
        self.assertEqual(list(items), self.records[10:20])
        self.assertEqual(len(list(self.tree)), self.COUNT)

    def test_closing_it(self):
        with self.tree.items() as items:
            self.assertIs(iter(items), items)
            next(items)
        items.close()
        self.assertRaisesRegex(tactus.Closed, "iterator is closed", next, items)
        self.assertRaises(tactus.Closed, items.seek, b"a")
        self.assertRaises(tactus.Closed, items.__enter__)
        with self.assertRaises(ZeroDivisionError):
            with self.tree.items() as items:
                next(items)
                raise ZeroDivisionError
        self.assertRaises(tactus.Closed, next, items)

    def test_it_expires(self):
        unmoved, moved, keys = self.tree.items(), self.tree.items(), self.tree.keys()
        self.assertEqual(next(moved), self.records[0])
        first = [next(keys) for _ in range(10)]
        fill(self.tree, 3000, b"later")
        self.assertRaises(tactus.Expired, next, unmoved)
        self.assertRaises(tactus.Expired, unmoved.seek, b"a")
        self.assertRaises(tactus.Expired, next, unmoved)
        seen = 1
        with self.assertRaises(tactus.Expired) as caught:
            for record in moved:
                self.assertEqual(record, self.records[seen])
                seen += 1
        self.assertEqual(caught.exception.code, 20)
        self.assertIn("bar", caught.exception.message)
        self.assertRaises(tactus.Expired, next, moved)
        self.assertEqual(first, [key_of(i) for i in range(10)])

    def test_going_on_after_that(self):
        namespace = {"tactus": tactus}
        exec(readme_blocks("python")[1], namespace)
        seen = []
        for key, _ in namespace["items"](self.tree):
            seen.append(key)
            if len(seen) % 1000 == 1:
                fill(self.tree, 3000, b"later")
        self.assertEqual(seen, [key for key, _ in self.records])

    def test_two_threads_cannot_use_it_at_once(self):
        refused, wrong, end = [0] * 4, [], time.monotonic() + 60

        def take(items, found, place):
            try:
                while True:
                    try:
                        found.append(next(items))
                    except tactus.Invalid:
                        refused[place] += 1
                    except StopIteration:
                        return
            except Exception as error:
                wrong.append(error)

        while not any(refused) and time.monotonic() < end:
            items, found = self.tree.keys(), []
            threads = [threading.Thread(target=take, args=(items, found, i)) for i in range(4)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            self.assertEqual(wrong, [])
            self.assertEqual(sorted(found), [key for key, _ in self.records])
        self.assertGreater(sum(refused), 0)


class SnapshotTest(InMemory):
    """Snapshots: what they keep, and how they are opened and closed."""

    def setUp(self):
        super().setUp()
        self.tree = self.store.create_tree("snapshots")
        for i in range(500):
            self.tree[b"%04d" % i] = b"old %d" % i
        self.op = self.store.create_snapshot("s")
        for i in range(0, 500, 2):
            self.tree[b"%04d" % i] = b"new"

    def test_reads(self):
        with self.store.snapshot("s") as snapshot:
            self.assertEqual(snapshot.name, "s")
            self.assertEqual(snapshot.get(self.tree, b"0002"), b"old 2")
            self.assertIsNone(snapshot.get(self.tree, b"none"))
            self.assertEqual(snapshot.get(self.tree, b"none", 1), 1)
            self.assertEqual(list(snapshot.items(self.tree)),
                             [(b"%04d" % i, b"old %d" % i) for i in range(500)])
            self.assertEqual(list(snapshot.keys(self.tree, b"0010", b"0012", reverse=True)),
                             [b"0011", b"0010"])
            self.assertEqual(list(snapshot.values(self.tree, prefix=b"0003")), [b"old 3"])
        self.assertEqual(self.tree[b"0002"], b"new")

    @unittest.skipIf(sys.version_info < (3, 12), "needs __buffer__")
    def test_closed_by_its_own_arguments(self):
        snapshot = None

        class Closing:
            def __buffer__(self, flags):
                snapshot.close()
                return memoryview(b"0002")

        for use in (lambda: snapshot.get(self.tree, Closing()),
                    lambda: snapshot.items(self.tree, Closing()),
                    lambda: snapshot.keys(self.tree, b"0", Closing()),
                    lambda: snapshot.values(self.tree, prefix=Closing())):
            snapshot = self.store.snapshot("s")
            with self.assertRaisesRegex(tactus.Closed, "snapshot is closed"):
                use()

    def test_large(self):
        value = bytes(range(256)) * 24
        with memory_store(memtable_size="256KiB", block_size="32KiB", page_size="4KiB",
                          table_size="256KiB", slice_size="512KiB",
                          file_size_max="256MiB") as store:
            tree = store.create_tree("large")
            tree[b"large"] = value
            store.create_snapshot("large")
            with store.snapshot("large") as snapshot:
                self.assertEqual(snapshot.get(tree, b"large"), value)

    def test_names(self):
        self.assertEqual(self.store.snapshots(), {"s": self.op})
        self.assertRaises(tactus.Exists, self.store.create_snapshot, "s")
        self.assertRaises(tactus.Invalid, self.store.create_snapshot, "a/b")
        longest = "n" * tactus.SNAPSHOT_NAME_MAX
        self.assertRaises(tactus.Invalid, self.store.create_snapshot, longest + "n")
        self.store.create_snapshot(longest)
        self.store.release_snapshot(longest)
        self.assertRaises(tactus.NotFound, self.store.snapshot, "none")
        self.assertRaises(tactus.NotFound, self.store.release_snapshot, "none")
        self.store.release_snapshot("s")
        self.assertEqual(self.store.snapshots(), {})

    def test_closing(self):
        snapshot = self.store.snapshot("s")
        iterator = snapshot.items(self.tree)
        next(iterator)
        self.assertRaises(tactus.Again, self.store.release_snapshot, "s")
        snapshot.close()
        snapshot.close()
        self.assertRaises(tactus.Closed, next, iterator)
        self.assertRaises(tactus.Closed, snapshot.get, self.tree, b"0002")
        self.assertRaises(tactus.Closed, snapshot.keys, self.tree)
        self.store.release_snapshot("s")

    def test_store_closes_it(self):
        snapshot = self.store.snapshot("s")
        iterator = snapshot.keys(self.tree)
        self.store.close()
        self.assertRaises(tactus.Closed, next, iterator)
        self.assertRaises(tactus.Closed, snapshot.__enter__)

    def test_later_tree(self):
        later = self.store.create_tree("later")
        with self.store.snapshot("s") as snapshot:
            self.assertRaises(tactus.NoTree, snapshot.get, later, b"0002")
            self.assertRaises(tactus.NoTree, snapshot.items, later)


class BatchTest(InMemory):
    def test_a_batch_is_one_op(self):
        other = self.store.create_tree("other")
        self.tree[b"gone"] = b"1"
        before = self.store.last_op
        with self.store.batch() as batch:
            batch.put(self.tree, b"a", b"1")
            batch.put(self.tree, b"a", b"2")
            batch.put(other, bytearray(b"b"), memoryview(b""))
            batch.delete(self.tree, b"gone")
            self.assertEqual(list(other), [])
        self.assertEqual(self.store.last_op, before + 1)
        self.assertEqual(list(self.tree), [(b"a", b"2")])
        self.assertEqual(list(other), [(b"b", b"")])
        for use in (batch.commit, batch.clear, batch.__enter__,
                    lambda: batch.put(self.tree, b"a", b"1")):
            self.assertRaisesRegex(tactus.Closed, "batch is closed", use)

    def test_an_exception_drops_it(self):
        with self.assertRaises(ZeroDivisionError):
            with self.store.batch() as batch:
                batch.put(self.tree, b"a", b"1")
                raise ZeroDivisionError
        self.assertNotIn(b"a", self.tree)
        self.assertRaises(tactus.Closed, batch.commit)

    def test_commit_and_clear(self):
        batch = self.store.batch()
        self.assertIsNone(batch.commit())
        batch.put(self.tree, b"a", b"1")
        self.assertEqual(batch.commit(), self.store.last_op)
        self.assertIsNone(batch.commit())
        batch.put(self.tree, b"b", b"1")
        batch.clear()
        self.assertIsNone(batch.commit())
        self.assertEqual(list(self.tree), [(b"a", b"1")])

    def test_conditions(self):
        self.tree[b"a"] = b"1"
        with self.store.batch() as batch:
            batch.expect(self.tree, b"a", b"1")
            batch.expect(self.tree, b"b", None)
            batch.put(self.tree, b"b", b"2")
        self.assertEqual(self.tree[b"b"], b"2")
        with self.assertRaises(tactus.Conflict):
            with self.store.batch() as batch:
                batch.expect(self.tree, b"b", None)
                batch.put(self.tree, b"c", b"3")
        self.assertNotIn(b"c", self.tree)
        self.assertRaises(tactus.Closed, batch.commit)
        batch = self.store.batch()
        batch.expect(self.tree, b"c", b"")
        batch.put(self.tree, b"d", b"4")
        self.assertRaises(tactus.Conflict, batch.commit)
        self.tree[b"c"] = b""
        self.assertEqual(batch.commit(), self.store.last_op)
        self.assertEqual(self.tree[b"d"], b"4")

    def test_it_can_be_too_large(self):
        with self.assertRaises(tactus.BatchSize):
            with self.store.batch() as batch:
                for number in range(1000):
                    batch.put(self.tree, key_of(number), b"v" * 100)
        self.assertEqual(list(self.tree), [])

    def test_trees_of_its_store_alone(self):
        with memory_store() as store:
            tree = store.create_tree("tree")
            batch = self.store.batch()
            self.assertRaisesRegex(tactus.Invalid, "another store", batch.put, tree, b"a", b"1")
            self.assertRaises(tactus.Invalid, batch.delete, tree, b"a")
            self.assertRaises(tactus.Invalid, batch.expect, tree, b"a", None)
            for wrong in (None, 0, "tree", self.store):
                self.assertRaises(TypeError, batch.put, wrong, b"a", b"1")
        self.assertIsNone(batch.commit())

    def test_a_store_that_closes_inside(self):
        store = memory_store()
        tree = store.create_tree("tree")
        with self.assertRaises(tactus.Closed):
            with store.batch() as batch:
                batch.put(tree, b"a", b"1")
                store.close()


class RunTest(InMemory):
    def test_a_sorted_run(self):
        fill(self.tree, 1000)
        before = self.store.last_op
        op = self.tree.ingest((key_of(n), b"run%d" % n if n % 3 else None)
                              for n in range(500, 3000))
        self.assertEqual(op, before + 1)
        self.assertEqual(self.store.durable_op, op)
        self.assertEqual(self.tree[key_of(499)], b"value")
        self.assertEqual(self.tree[key_of(500)], b"run500")
        self.assertEqual(self.tree.get(key_of(501)), None)
        self.assertEqual(len(list(self.tree)), 500 + sum(n % 3 > 0 for n in range(500, 3000)))
        self.assertEqual(self.tree.ingest([]), None)
        self.assertEqual(self.tree.ingest({b"zz": memoryview(b"1")}.items()), op + 1)
        self.assertEqual(self.tree[b"zz"], b"1")
        copy = self.store.create_tree("copy")
        copy.ingest(self.tree.items())
        self.assertEqual(list(copy.items()), list(self.tree.items()))

    def test_a_run_that_goes_wrong_changes_nothing(self):
        def records(count, last):
            for number in range(count):
                yield key_of(number), b"value"
            yield last if last else 1 // 0

        before = self.store.last_op
        with self.assertRaises(tactus.Invalid) as caught:
            self.tree.ingest(records(1000, (key_of(7), b"")))
        self.assertIn("record 1001", caught.exception.message)
        self.assertRaises(ZeroDivisionError, self.tree.ingest, records(1000, None))
        for wrong in (7, b"ab", (b"a",), (b"a", b"b", b"c"), (None, b"1"), (b"a", 7), [b"a", b"b"]):
            self.assertRaises(TypeError, self.tree.ingest, records(300, wrong))
        self.assertRaises(TypeError, self.tree.ingest, 7)
        self.assertRaises(TypeError, self.tree.ingest)
        self.assertEqual((self.store.last_op, list(self.tree)), (before, []))


class MaintenanceTest(InMemory):
    def test_compaction(self):
        fill(self.tree, 2000)
        for number in range(0, 2000, 2):
            del self.tree[key_of(number)]
        self.store.drain()
        self.tree.compact()
        stat = self.store.stat()
        self.assertEqual(sum(level["records"] for level in stat["level"]), 1000)
        self.assertEqual(sum(level["tombstones"] for level in stat["level"]), 0)
        self.assertEqual(len([level for level in stat["level"] if level["records"]]), 1)
        self.store.compaction_hold(True)
        self.assertRaises(TypeError, self.store.compaction_hold)
        fill(self.tree, 2000)
        self.assertGreater(self.store.stat()["level"][0]["records"], 0)
        self.store.compaction_hold(False)
        self.tree.compact()

    def test_delete_range(self):
        for number in range(100):
            self.tree[key_of(number)] = b"value"
        op = self.tree.delete_range(key_of(10), key_of(90))
        self.assertEqual(op, self.store.last_op)
        self.assertEqual(len(list(self.tree.keys())), 20)
        self.assertEqual(self.store.stat()["ranges"], 1)
        self.tree[key_of(50)] = b"again"
        self.assertEqual(self.tree[key_of(50)], b"again")
        self.assertRaises(tactus.Error, self.tree.delete_range, b"b", b"a")
        self.assertRaises(TypeError, self.tree.delete_range, b"b")
        self.assertRaises(TypeError, self.tree.delete_range, 1, b"b")

    def test_compact_range(self):
        fill(self.tree, 2000)
        for number in range(0, 2000, 2):
            del self.tree[key_of(number)]
        self.assertEqual(self.store.compact_progress()["state"], "none")
        self.assertRaises(tactus.Error, self.tree.compact_range, b"b", b"a")
        self.assertRaises(TypeError, self.tree.compact_range, 1)
        self.tree.compact_range(low=key_of(500), high=key_of(1500))
        self.assertRaises(tactus.Error, self.tree.compact_range)
        self.assertEqual(self.store.compact_progress()["state"], "flushing")
        self.store.compact_cancel()
        self.assertEqual(self.store.compact_progress()["state"], "cancelled")
        self.tree.compact_range()
        steps = 1
        while not self.store.compact_step():
            steps += 1
        progress = self.store.compact_progress()
        self.assertGreater(steps, 2)
        self.assertEqual(progress["state"], "done")
        self.assertEqual(progress["left_bytes"], 0)
        stat = self.store.stat()
        self.assertEqual(sum(level["records"] for level in stat["level"]), 1000)
        self.assertEqual(sum(level["tombstones"] for level in stat["level"]), 0)

    def test_plan(self):
        self.assertEqual(self.store.plan(), [])
        fill(self.tree, 2000)
        self.store.compact_step()  # What was written is immutable, and its flush is planned
        self.store.pause()
        entries = self.store.plan()
        self.store.resume()
        flushes = [entry for entry in entries if entry["kind"] == "flush"]
        self.assertEqual(len(flushes), 1)
        self.assertEqual(flushes[0]["reason"], "flush")
        self.assertEqual((flushes[0]["level_from"], flushes[0]["level_to"]), (0, 0))
        self.assertLess(flushes[0]["low"], flushes[0]["high"])
        self.assertGreater(flushes[0]["input_bytes"], 0)

    def test_durable_ops(self):
        fill(self.tree, 10)
        last = self.store.last_op
        self.assertEqual(last, 11)
        self.assertLess(self.store.durable_op, last)
        self.store.sync()
        self.assertGreaterEqual(self.store.durable_op, last)
        last = self.store.last_op
        self.store.checkpoint()
        self.assertGreaterEqual(self.store.durable_op, last)

    def test_other_threads(self):
        with memory_store(threads=6) as store:
            tree = store.create_tree("tree")
            for threads in ((1, 1, 1), (2, 3, 1), (1, 4, 2)):
                fill(tree, 500)
                store.threads_change(*threads)
                stat = store.stat()
                self.assertEqual(
                    (stat["threads_read"], stat["threads_merge"], stat["threads_write"]), threads
                )
            with self.assertRaises(tactus.Option):
                store.threads_change(1, 0, 1)
            for number in (-1, 2**32 - 1, 2**32 + 1, 2**64):
                self.assertRaises(OverflowError, store.threads_change, 1, number, 1)
            self.assertRaises(TypeError, store.threads_change, 1, 1.0, 1)
            self.assertEqual(store.stat()["threads_merge"], 4)
            with self.assertRaises(tactus.Option):
                store.descriptor()

    def test_a_limit_of_io(self):
        with memory_store(threads=3, io_rate_max_bytes="1GiB") as store:
            fill(store.create_tree("tree"), 500)
            store.io_rate_change(1 << 30)
            with self.assertRaises(tactus.Option):
                store.io_rate_change(1 << 41)
            with self.assertRaises(OverflowError):
                store.io_rate_change(-1)
            with self.assertRaises(TypeError):
                store.io_rate_change("1MiB")
            store.io_rate_change(0)

    def test_beats(self):
        with memory_store(beats_per_bar=8) as store:
            store.create_tree("tree")[b"key"] = b"value"
            bars, last = store.stat()["bars"], store.last_op
            for _ in range(16):
                store.beat()
            self.assertEqual(store.stat()["bars"], bars + 2)
            self.assertEqual(store.last_op, last + 16)

    def test_caches(self):
        sizes = {"page_cache_size": "1MiB", "index_cache_size": "1MiB", "cache_size_max": "4MiB"}
        with memory_store(**sizes) as store:
            tree = store.create_tree("tree")
            fill(tree, 500)
            before = store.stat()["memory_budget_bytes"]
            store.cache_change(2 << 20, None)
            self.assertEqual(store.stat()["memory_budget_bytes"] - before, 4 << 20)
            store.cache_change(0, 0)
            with self.assertRaises(tactus.Option):
                store.cache_change(0, (4 << 20) + 1)
            with self.assertRaises(OverflowError):
                store.cache_change(-1, 0)
            with self.assertRaises(TypeError):
                store.cache_change("1MiB", 0)
            with self.assertRaises(TypeError):
                store.cache_change(0)

    def test_a_descriptor(self):
        with memory_store(threads=0) as store:
            descriptor = store.descriptor()
            self.assertEqual(store.descriptor(), descriptor)
            fill(store.create_tree("tree"), 3000)
            while store.step() or select.select([descriptor], [], [], 0.01)[0]:
                pass
            with self.assertRaises(tactus.Option):
                store.threads_change(1, 1, 1)

    def test_a_pause(self):
        self.store.pause()
        self.store.pause()
        self.assertTrue(self.store.stat()["is_paused"])
        for call in (self.store.drain, self.store.checkpoint, self.store.sync, self.tree.compact):
            self.assertRaises(tactus.Paused, call)
        with self.assertRaises(tactus.Paused):
            fill(self.tree, 5000)
        self.assertEqual(self.tree[key_of(0)], b"value")
        self.store.resume()
        self.store.resume()
        fill(self.tree, 5000)
        self.store.drain()

    def test_steps(self):
        fill(self.tree, 600)
        steps = 0
        while self.store.step():
            steps += 1
        self.assertGreater(steps, 0)
        self.assertIs(self.store.step(), False)


class ObservingTest(InFolder):
    def test_stat_has_all_that_the_header_has(self):
        header = pathlib.Path(os.environ["TACTUS_HEADER"]).read_text()

        def names(struct):
            body = re.search(r"struct %s \{(.*?)\n\};" % struct, header, re.S).group(1)
            body = re.sub(r"/\*.*?\*/", "", body, flags=re.S)
            return [name for line in re.findall(r"[^;]+;", body)
                    for name in re.findall(r"(\w+)(?:\[\w+\])?(?=[,;])", line)]

        with memory_store() as store:
            tree = store.create_tree("tree")
            fill(tree, 1000)
            store.drain()
            stat = store.stat()
        self.assertCountEqual(["struct_size", *stat], names("tactus_stats"))
        self.assertCountEqual(stat["stage"], ["read", "merge", "write", "coordinator"])
        for stage in stat["stage"].values():
            self.assertCountEqual(stage, names("tactus_stage_stats"))
        self.assertEqual(len(stat["level"]), stat["levels"])
        for level in stat["level"]:
            self.assertCountEqual(level, names("tactus_level_stats"))
        self.assertEqual(len(stat["wait_buckets"]), 24)
        self.assertEqual(stat["records_put"], 1000)
        self.assertEqual(stat["user_bytes"], 1000 * (9 + 5))
        self.assertEqual((stat["trees"], stat["backend"], stat["block_size"]), (1, "memory", 4096))
        self.assertEqual((stat["scrub_damage"], stat["is_paused"]), ("", False))
        self.assertEqual(sum(level["records"] for level in stat["level"]), 1000)
        self.assertGreater(stat["stage"]["merge"]["bytes"], 0)

    def test_metrics(self):
        with memory_store() as store:
            store.create_tree("tree")[b"a"] = b"1"
            self.assertIn("\ntactus_records_put", store.metrics())
            labelled = store.metrics(labels='store="orders"')
            self.assertIn('store="orders"', labelled)
            self.assertTrue(labelled.endswith("\n"))
            self.assertGreater(len(store.metrics('store="%s"' % ("x" * 1000))), 16384)
            self.assertRaises(TypeError, store.metrics, 7)

    def test_equal_ops_give_equal_digests(self):
        digests = set()
        for threads in (0, 3):
            with memory_store(threads=threads, uuid="7" * 32) as store:
                fill(store.create_tree("tree"), 3000)
                store.drain()
                digest = store.digest()
                self.assertIsInstance(digest, bytes)
                self.assertEqual(len(digest), 16)
                digests.add(digest)
        self.assertEqual(len(digests), 1)

    def test_verify_and_damage(self):
        with tactus.Store.create(self.path, **SMALL) as store:
            fill(store.create_tree("tree"), 2000)
            store.tree("tree")[key_of(500)] = b"precious"
            store.drain()
            report = store.verify()
        self.assertGreaterEqual(report["records"], 2000)
        self.assertEqual(report["damages"], [])
        self.assertGreater(report["blocks"], report["tables"])
        image = pathlib.Path(self.path).read_bytes()
        self.assertIn(b"precious", image)
        pathlib.Path(self.path).write_bytes(image.replace(b"precious", b"spurious"))
        with tactus.Store.open(self.path, page_cache_size="1MiB", index_cache_size="4MiB",
                               threads=0) as store:
            with self.assertRaises(tactus.Corrupt) as caught:
                store.verify()
            report = caught.exception.report
            self.assertGreaterEqual(len(report["damages"]), 1)
            self.assertIn("block", report["damages"][0])
            with self.assertRaises(tactus.Corrupt) as caught:
                list(store.tree("tree"))
            self.assertIsNone(caught.exception.report)
            items = store.tree("tree").items()
            with contextlib.suppress(tactus.Corrupt):
                for _ in items:
                    pass
            self.assertRaises(tactus.Corrupt, next, items)
            items.seek(key_of(1999))
            self.assertEqual(list(items), [(key_of(1999), b"value")])

    def test_a_full_store(self):
        options = {**SMALL, "memtable_size": "256KiB", "block_size": "16KiB", "page_size": "4KiB",
                   "file_size_max": "16MiB"}
        with tactus.Store.create(self.path, **options) as store:
            tree = store.create_tree("tree")
            with self.assertRaises(tactus.Full) as caught:
                fill(tree, 1000000, b"v" * 100)
            self.assertIn("file_size_max", caught.exception.message)
            self.assertEqual(tree[key_of(0)], b"v" * 100)


class PoolTest(InFolder):
    def test_stores_share_threads_and_memory(self):
        digests = set()
        with tactus.Pool.open(threads=3, memory_size="512MiB", memory_shares=2) as pool:
            self.assertFalse(pool.closed)
            for number in range(2):
                options = {**THREADED, "memory_size": "auto", "uuid": "7" * 32, "pool": pool}
                stores = [tactus.Store.create(f"{self.path}-{number}-{i}", **options)
                          for i in range(2)]
                for store in stores:
                    fill(store.create_tree("tree"), 20000, b"v" * 50)
                stat = pool.stat()
                self.assertEqual((stat["stores"], stat["threads_merge"]), (2, 1))
                self.assertEqual(stat["memory_size"], 512 << 20)
                self.assertEqual(stat["memory_budget_bytes"],
                                 sum(s.stat()["memory_budget_bytes"] for s in stores))
                self.assertEqual(stores[0].stat()["threads_read"], 1)
                pool.threads_change(1, 2, 1)
                self.assertEqual(pool.stat()["threads_merge"], 2)
                self.assertRaises(OverflowError, pool.threads_change, 1, -1, 1)
                self.assertRaises(OverflowError, pool.threads_change, 1, 1, 2**32 + 1)
                pool.threads_change(1, 1, 1)
                for store in stores:
                    store.drain()
                    digests.add(store.digest())
                    store.close()
            self.assertEqual(pool.stat()["stores"], 0)
            self.assertEqual(pool.stat()["memory_budget_bytes"], 0)
            self.assertGreater(pool.stat()["busy_ns"], 0)
        self.assertTrue(pool.closed)
        self.assertEqual(len(digests), 1)

    def test_stat_has_all_that_the_header_has(self):
        header = pathlib.Path(os.environ["TACTUS_HEADER"]).read_text()
        body = re.search(r"struct tactus_pool_stats \{(.*?)\n\};", header, re.S).group(1)
        body = re.sub(r"/\*.*?\*/", "", body, flags=re.S)
        with tactus.Pool.open(threads=0) as pool:
            self.assertCountEqual(["struct_size", *pool.stat()],
                                  re.findall(r"(\w+)(?=[,;])", body))

    def test_a_pool_with_open_stores_stays_open(self):
        pool = tactus.Pool.open(threads=3)
        store = memory_store(pool=pool)
        with self.assertRaisesRegex(tactus.Invalid, "1 stores are open"):
            pool.close()
        fill(store.create_tree("tree"), 1000)
        store.close()
        pool.close()
        pool.close()
        for use in (pool.__enter__, pool.stat, pool.step, lambda: pool.threads_change(1, 1, 1),
                    lambda: memory_store(pool=pool)):
            with self.assertRaisesRegex(tactus.Closed, "pool is closed"):
                use()

    def test_what_is_refused(self):
        for options in ({"memory_shares": 0}, {"memory_shares": "many"}, {"memory_shares": 2 ** 33},
                        {"threads": 1}, {"threads_priority": "high"}, {"memory_size": "1XiB"},
                        {"page_size": 4096}, {"none": 1}):
            with self.assertRaises(tactus.Option, msg=options) as caught:
                tactus.Pool.open(**options)
            self.assertIn(next(iter(options)), str(caught.exception))
        self.assertRaises(TypeError, tactus.Pool.open, 3)
        self.assertRaises(TypeError, memory_store, pool=3)
        with tactus.Pool.open(threads=0) as pool:
            self.assertRaises(tactus.Option, pool.threads_change, 1, 1, 1)
        with tactus.Pool.open(threads=0, memory_size="1MiB") as pool:
            with self.assertRaises(tactus.NoMemory):
                memory_store(pool=pool)
            with open(self.path + "-wal", "wb") as log:
                log.write(b"a letter")
            for _ in range(2):
                with self.assertRaises(tactus.NoMemory):
                    tactus.Store.create(self.path, pool=pool, **SMALL)
            self.assertEqual(os.listdir(self.folder.name), ["store-wal"])
            self.assertRaises(tactus.NoStore, tactus.Store.open, self.path, pool=pool)
            self.assertEqual(pool.stat()["stores"], 0)

    def test_a_pool_without_threads_is_stepped(self):
        with tactus.Pool.open(threads=0) as pool:
            with memory_store(pool=pool) as one, memory_store(pool=pool) as two:
                for store in (one, two):
                    fill(store.create_tree("tree"), 1500)
                self.assertTrue(pool.step())
                while pool.step():
                    pass
                for store in (one, two):
                    self.assertGreater(store.stat()["stage"]["merge"]["bytes"], 0)

    def test_callbacks_of_a_step_may_call_the_pool(self):
        counts, refused = [], []

        def on_event(event):
            counts.append(pool.stat()["stores"])
            pool.step()
            try:
                pool.close()
            except tactus.Invalid as error:
                refused.append(str(error))

        with tactus.Pool.open(threads=0) as pool:
            with memory_store(pool=pool, on_event=on_event) as store:
                tree = store.create_tree("tree")
                told = 0
                for number in range(3000):
                    tree[key_of(number)] = b"value"
                    told -= len(counts)
                    while pool.step():
                        pass
                    told += len(counts)
                self.assertGreater(told, 0)
                self.assertEqual(set(counts), {1})
                self.assertEqual(len(refused), len(counts))
            self.assertEqual(pool.stat()["stores"], 0)

    def test_a_pool_that_is_dropped_is_closed_with_a_warning(self):
        pool = tactus.Pool.open(threads=3)
        store = memory_store(pool=pool)
        del pool
        gc.collect()
        fill(store.create_tree("tree"), 1000)
        store.close()
        with self.assertWarnsRegex(ResourceWarning, "unclosed pool"):
            del store
            gc.collect()

    def test_its_threads_serve_and_change_and_end_at_once(self):
        wrong = []

        def work(place):
            try:
                for _ in range(10):
                    with memory_store(pool=pool) as store:
                        fill(store.create_tree("tree"), 500)
                        pool.stat()
                        pool.threads_change(1, 1 + place, 1)
            except Exception as error:
                wrong.append(error)

        with tactus.Pool.open(threads=3) as pool:
            threads = [threading.Thread(target=work, args=(i,)) for i in range(3)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
        self.assertEqual(wrong, [])


class EventTest(InFolder):
    def test_events_are_told(self):
        for threads in (0, 3):
            events, tellers = [], set()

            def on_event(event):
                events.append(event)
                tellers.add(threading.get_ident())

            with tactus.Store.create(self.path, on_event=on_event,
                                     **{**SMALL, "threads": threads}) as store:
                tree = store.create_tree("tree")
                for _ in range(2):
                    fill(tree, 5000)
                tree.compact()
                store.checkpoint()
                last = store.last_op
            kinds = {event["kind"] for event in events}
            self.assertLessEqual({"job", "flush", "compaction", "checkpoint"}, kinds)
            self.assertEqual(tellers == {threading.get_ident()}, threads == 0)
            times = [event["time_ns"] for event in events]
            self.assertEqual(times, sorted(times))
            flushed = [event for event in events if event["kind"] == "flush"]
            self.assertEqual(sum(event["records_in"] for event in flushed), 10000)
            self.assertIn(last, [e["op"] for e in events if e["kind"] == "checkpoint"])
            for event in events:
                self.assertEqual((event["code"], event["text"]), (0, None))
            os.unlink(self.path)

    def test_an_event_has_all_that_the_header_has(self):
        header = pathlib.Path(os.environ["TACTUS_HEADER"]).read_text()
        body = re.search(r"struct tactus_event \{(.*?)\n\};", header, re.S).group(1)
        body = re.sub(r"/\*.*?\*/", "", body, flags=re.S)
        kinds = re.search(r"enum tactus_event_kind \{(.*?)\n\};", header, re.S).group(1)
        kinds = [name.lower() for name in re.findall(r"TACTUS_EVENT_(\w+) =", kinds)]
        events = []
        with memory_store(on_event=events.append, event_kinds=kinds) as store:
            store.checkpoint()
        self.assertCountEqual(["struct_size", *events[0]], re.findall(r"(\w+)(?=[,;])", body))

    def test_only_the_kinds_that_were_asked_for(self):
        events = []
        with memory_store(on_event=events.append, event_kinds=("checkpoint",),
                          event_wait_ns_min=0) as store:
            fill(store.create_tree("tree"), 2000)
            store.drain()
        self.assertEqual({event["kind"] for event in events}, {"checkpoint"})

    def test_what_is_refused(self):
        self.assertRaises(TypeError, memory_store, on_event=7)
        self.assertRaises(TypeError, memory_store, on_event=print, event_kinds=7)
        self.assertRaises(TypeError, memory_store, on_event=print, event_wait_ns_min="long")
        for kinds in (["flush", "fish"], [7]):
            with self.assertRaisesRegex(ValueError, "no kind of event"):
                memory_store(on_event=print, event_kinds=kinds)
        self.assertRaises(tactus.Invalid, memory_store, on_event=print, event_kinds=[])
        for _ in range(2):
            self.assertRaises(tactus.Invalid, tactus.Store.create, self.path, on_event=print,
                              event_kinds=[], log="sync", **SMALL)
        self.assertEqual(os.listdir(self.folder.name), [])
        memory_store(on_event=None, pool=None, event_kinds=None).close()

    def test_damage_is_told(self):
        with tactus.Store.create(self.path, **SMALL) as store:
            tree = store.create_tree("tree")
            fill(tree, 1000)
            tree[key_of(500)] = b"precious"
            store.drain()
        image = pathlib.Path(self.path).read_bytes()
        pathlib.Path(self.path).write_bytes(image.replace(b"precious", b"spurious"))
        events = []
        with tactus.Store.open(self.path, **SMALL, on_event=events.append,
                               event_kinds=["error"]) as store:
            with contextlib.suppress(tactus.Corrupt):
                store.tree("tree").compact()
        self.assertEqual({event["kind"] for event in events}, {"error"})
        self.assertIn("block", events[0]["text"])
        self.assertEqual(events[0]["code"], tactus.Corrupt.code)

    def test_what_it_raises_is_reported(self):
        for threads in (0, 3):
            reported = []

            def hook(unraisable):
                reported.append((unraisable.exc_type, unraisable.object))

            def on_event(event):
                raise ZeroDivisionError

            self.addCleanup(setattr, sys, "unraisablehook", sys.unraisablehook)
            sys.unraisablehook = hook
            with memory_store(threads=threads, on_event=on_event,
                              event_kinds=["checkpoint"]) as store:
                tree = store.create_tree("tree")
                store.checkpoint()
                self.assertRaises(tactus.NotFound, tree.__getitem__, b"none")
                self.assertRaises(ZeroDivisionError, tree.ingest,
                                  ((b"a", 1 // 0) for _ in range(1)))
            self.assertGreater(len(reported), 0)
            self.assertEqual(set(reported), {(ZeroDivisionError, on_event)})

    def test_it_may_use_the_store_but_not_close_it(self):
        for threads in (0, 3):
            wrong, done = [], []

            def on_event(event):
                try:
                    done.append((store.stat()["bars"], len(list(tree.keys(high=key_of(10))))))
                    tree[b"seen"] = b"1"
                except tactus.Closed:
                    pass  # While it is being closed
                except Exception as error:
                    wrong.append(error)
                for close in (store.close, store.abandon):
                    try:
                        close()
                    except tactus.Invalid as error:
                        if "callback" not in str(error):
                            wrong.append(error)
                    else:
                        if not store.closed:
                            wrong.append(close)

            with memory_store(threads=threads, on_event=on_event,
                              event_kinds=["flush", "checkpoint"]) as store:
                tree = store.create_tree("tree")
                fill(tree, 3000)
                store.checkpoint()
                store.checkpoint()
                self.assertFalse(store.closed)
                while not done:
                    time.sleep(0.001)
                    store.stat()
                self.assertEqual(tree.get(b"seen"), b"1")
            self.assertEqual(wrong, [])

    def test_closing_while_it_is_called(self):
        for _ in range(20):
            within, told = threading.Event(), []

            def on_event(event):
                within.set()
                time.sleep(0.002)
                with contextlib.suppress(tactus.Closed):
                    store.stat()
                told.append(event)

            store = memory_store(threads=3, on_event=on_event, event_kinds=["checkpoint", "flush"])
            tree = store.create_tree("tree")
            fill(tree, 1000)
            store.checkpoint()
            within.wait()
            closers = [threading.Thread(target=store.close) for _ in range(2)]
            for closer in closers:
                closer.start()
            for closer in closers:
                closer.join()
            self.assertTrue(store.closed)
            count = len(told)
            self.assertGreater(count, 0)
            time.sleep(0.003)
            self.assertEqual(len(told), count)

    def test_the_last_reference_may_go_in_it(self):
        held, closed = [], threading.Event()

        def on_event(event):
            while len(held) == 1 and sys.getrefcount(held[0]) > 3:
                time.sleep(0.001)  # Until the test has let it go: list, argument, library
            held.clear()

        class Witness:
            def __call__(self, event):
                on_event(event)

            def __del__(self):
                closed.set()

        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            store = memory_store(threads=3, on_event=Witness(), event_kinds=["checkpoint"])
            held.append(store)
            store.checkpoint()
            del store
            end = time.monotonic() + 60
            while not closed.is_set() and time.monotonic() < end:
                time.sleep(0.001)
        self.assertTrue(closed.is_set())
        self.assertEqual([warning.category for warning in caught], [ResourceWarning])

    def test_the_callable_goes_with_the_close(self):
        def on_event(event):
            pass

        before = sys.getrefcount(on_event)
        store = memory_store(on_event=on_event)
        self.assertEqual(sys.getrefcount(on_event), before + 1)
        store.close()
        self.assertEqual(sys.getrefcount(on_event), before)

    def test_lines_are_told(self):
        for threads in (0, 3):
            lines = []

            def on_log(level, line):
                lines.append((level, line))
                for close in (store.close, store.abandon) if len(lines) == 3 else ():
                    self.assertRaises(tactus.Invalid, close)
                if "go on" in line:
                    raise ZeroDivisionError

            reported = []
            self.addCleanup(setattr, sys, "unraisablehook", sys.unraisablehook)
            sys.unraisablehook = lambda it: reported.append((it.exc_type, it.object))
            with memory_store(threads=threads, on_log=on_log, logger_level="debug") as store:
                store.pause()
                store.resume()
                store.checkpoint()
            self.assertEqual([level for level, _ in lines[:2]], ["info", "info"])
            self.assertIn("opened at op 0", lines[0][1])
            self.assertIn("paused", lines[2][1])
            self.assertIn("debug", {level for level, _ in lines})
            self.assertIn("closed", lines[-1][1])
            self.assertEqual(reported, [(ZeroDivisionError, on_log)])

    def test_lines_of_an_open_that_fails(self):
        lines = []
        tactus.Store.create(self.path, **SMALL).close()
        for threads in (0, 3):
            with self.assertRaises(tactus.Option) as caught:
                tactus.Store.open(self.path, on_log=lambda *line: lines.append(line),
                                  memory_size="32KiB", threads=threads)
            level, line = lines.pop()
            self.assertEqual(level, "error")
            self.assertTrue(str(caught.exception).endswith(line.removeprefix("the open failed: ")))
            self.assertEqual(lines, [])
        self.assertRaises(TypeError, memory_store, on_log=7)
        self.assertRaises(tactus.Option, memory_store, on_log=print, logger_level="loud")

    def test_in_a_sub_interpreter_it_is_refused(self):
        try:
            import _xxsubinterpreters as interpreters
        except ImportError:
            self.skipTest("Python has no _xxsubinterpreters")
        program = f"""
import sys
sys.path[:] = {sys.path!r}
import tactus
store = tactus.Store.open(None, backend="memory", **{SMALL!r})
store.close()
try:
    tactus.Store.open(None, backend="memory", on_event=print, **{SMALL!r})
except RuntimeError as error:
    assert "main interpreter" in str(error)
else:
    raise AssertionError
"""
        interpreter = interpreters.create()
        self.addCleanup(interpreters.destroy, interpreter)
        interpreters.run_string(interpreter, program)


class ErrorTest(unittest.TestCase):
    def test_each_code_has_a_class(self):
        header = pathlib.Path(os.environ["TACTUS_HEADER"]).read_text()
        codes = {int(number): text for number, text in
                 re.findall(r"X\(\w+, (\d+), \"([^\"]*)\"\)", header)}
        del codes[0]
        classes = {kind.code: kind for kind in vars(tactus).values()
                   if isinstance(kind, type) and issubclass(kind, tactus.Error)}
        self.assertIs(classes.pop(None), tactus.Error)
        self.assertEqual({code: kind.__doc__ for code, kind in classes.items()}, codes)
        for kind in classes.values():
            self.assertIs(getattr(tactus, kind.__name__), kind)
            self.assertEqual(kind.__module__, "tactus")

    def test_they_are_exceptions_as_others(self):
        with memory_store() as store:
            try:
                store.tree("none")
            except tactus.Error as caught:
                error = caught
        again = pickle.loads(pickle.dumps(error))
        self.assertEqual((type(again), again.args, again.code, again.message, str(again)),
                         (tactus.NoTree, error.args, 4, error.message, str(error)))
        self.assertEqual(error.args, (error.message,))
        for kind in (tactus.NotFound, tactus.NoStore, tactus.NoMemory, tactus.Error):
            self.assertEqual(str(kind("text")), "text")
        self.assertRaises(tactus.Error, self.raise_own)

    def raise_own(self):
        raise tactus.Conflict("mine")


class ThreadTest(InFolder):
    def test_threads_put_and_get_at_once(self):
        wrong = []

        def work(tree, place):
            try:
                for number in range(2000):
                    key = b"%d-%06d" % (place, number)
                    tree[key] = key * 3
                    if tree[key] != key * 3 or key not in tree:
                        wrong.append(key)
                    if number % 500 == 0:
                        mine = list(tree.keys(prefix=b"%d-" % place))
                        if len(mine) != number + 1:
                            wrong.append((key, len(mine)))
                        with tree.store.batch() as batch:
                            batch.put(tree, b"shared", key)
            except Exception as error:
                wrong.append(error)

        with tactus.Store.create(self.path, **THREADED) as store:
            tree = store.create_tree("tree")
            threads = [threading.Thread(target=work, args=(tree, i)) for i in range(6)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            self.assertEqual(wrong, [])
            self.assertEqual(len(list(tree)), 6 * 2000 + 1)
            self.assertEqual(store.verify()["damages"], [])

    def test_one_increment_at_a_time(self):
        def count(tree):
            done = 0
            while done < 300:
                before = tree[b"count"]
                with contextlib.suppress(tactus.Conflict):
                    tree.compare_and_set(b"count", before, b"%d" % (int(before) + 1))
                    done += 1

        with memory_store(threads=3) as store:
            tree = store.create_tree("tree")
            tree[b"count"] = b"0"
            threads = [threading.Thread(target=count, args=(tree,)) for _ in range(4)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            self.assertEqual(tree[b"count"], b"1200")

    def test_two_threads_cannot_use_a_batch_at_once(self):
        refused, wrong = [0] * 4, []

        def write(store, tree, batch, place):
            try:
                for number in range(50):
                    try:
                        batch.put(tree, b"%d-%d" % (place, number), b"value")
                        batch.commit()
                    except tactus.Invalid:
                        refused[place] += 1
            except Exception as error:
                wrong.append(error)

        with tactus.Store.create(self.path, log="sync", **THREADED) as store:
            tree, batch = store.create_tree("tree"), store.batch()
            threads = [threading.Thread(target=write, args=(store, tree, batch, i))
                       for i in range(4)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            batch.commit()
            self.assertEqual(wrong, [])
            self.assertGreater(sum(refused), 0)
            self.assertGreaterEqual(len(list(tree)), 4 * 50 - sum(refused))

    def test_calls_let_other_threads_run(self):
        """Nobody is made to give up the interpreter's lock: who looks on runs if a call does it."""
        ticks, done = [0], threading.Event()

        def tick():
            while not done.is_set():
                ticks[0] += 1
                time.sleep(0.0001)

        def ticks_during(call, seconds):
            before, end = ticks[0], time.monotonic() + seconds
            while ticks[0] == before and time.monotonic() < end:
                call()
            return ticks[0] - before

        self.addCleanup(sys.setswitchinterval, sys.getswitchinterval())
        sys.setswitchinterval(1000)
        with memory_store(memtable_size="1MiB") as store:
            tree = store.create_tree("tree")
            fill(tree, 5000)
            batch, key = store.batch(), key_of(7)
            calls = {
                "put": lambda: tree.put(key, b"value"),
                "get": lambda: tree.get(key),
                "in": lambda: key in tree,
                "get_pinned": lambda: tree.get_pinned(key),
                "put_if_absent": lambda: self.assertRaises(tactus.Conflict, tree.put_if_absent,
                                                           key, b"value"),
                "next": lambda: next(tree.items()),
                "seek": lambda: tree.items().seek(key),
                "commit": lambda: (batch.put(tree, key, b"value"), batch.commit()),
                "drain": store.drain,
                "checkpoint": store.checkpoint,
                "compact": tree.compact,
                "ingest": lambda: tree.ingest((key_of(n), b"v") for n in range(5000)),
                "stat": store.stat,
                "verify": store.verify,
                "open": lambda: memory_store().close(),
            }
            thread = threading.Thread(target=tick)
            thread.start()
            try:
                self.assertEqual(ticks_during(lambda: repr(store), 0.1), 0, "repr")
                for name, call in calls.items():
                    self.assertGreater(ticks_during(call, 20), 0, name)
            finally:
                done.set()
                thread.join()


class ForkTest(InFolder):
    def in_child(self, work):
        """The child's exit status: 0 if the work was done without an exception."""
        sys.stdout.flush()
        child = os.fork()
        if child == 0:
            try:
                work()
                gc.collect()
                status = 0
            except BaseException:
                traceback.print_exc()
                status = 1
            finally:
                sys.stderr.flush()
                os._exit(status)
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])

    def test_a_child_may_do_nothing_with_the_store(self):
        for threads in (0, 3):
            store = tactus.Store.create(self.path, **{**SMALL, "threads": threads})
            tree = store.create_tree("tree")
            fill(tree, 1000)
            iterators, batch = [tree.items(), tree.items()], store.batch()
            next(iterators[0])
            batch.put(tree, b"a", b"1")
            views = [tree.get_pinned(key_of(0))]

            def work():
                uses = [
                    batch.commit,
                    store.checkpoint,
                    store.descriptor,
                    store.digest,
                    store.drain,
                    store.metrics,
                    store.pause,
                    store.replay_end,
                    store.resume,
                    store.stat,
                    store.step,
                    store.sync,
                    store.trees,
                    store.compact_cancel,
                    store.compact_progress,
                    store.compact_step,
                    store.plan,
                    store.verify,
                    tree.compact,
                    tree.compact_range,
                    tree.items,
                    lambda: store.compaction_hold(True),
                    lambda: store.create_tree("other"),
                    lambda: store.create_snapshot("s"),
                    lambda: store.release_snapshot("s"),
                    lambda: store.snapshot("s"),
                    store.snapshots,
                    lambda: store.tree("tree"),
                    lambda: store.threads_change(1, 1, 1),
                    lambda: store.io_rate_change(0),
                    lambda: store.cache_change(0, 0),
                    store.beat,
                    lambda: tree.get_many([b"a"]),
                    lambda: tree.ingest([(b"a", b"1")]),
                    lambda: store.durable_op,
                    lambda: store.last_op,
                    lambda: store.replay_op,
                    lambda: tree[b"a"],
                    lambda: tree.put(b"a", b"1"),
                    lambda: tree.delete(b"a"),
                    lambda: tree.delete_range(b"a", b"b"),
                    tree.drop,
                    lambda: tree.get_pinned(b"a"),
                    lambda: tree.put_if_absent(b"a", b"1"),
                    lambda: b"a" in tree,
                    lambda: iterators[1].seek(b"a"),
                    lambda: [next(item) for item in iterators for _ in range(1000)],
                    lambda: tactus.Store.open(self.path, threads=0),
                    store.close,
                ]
                for use in uses:
                    try:
                        use()
                    except (tactus.Forked, tactus.Locked):
                        continue
                    raise AssertionError(use)
                store.close()
                store.abandon()
                iterators.pop().close()
                iterators.clear()
                views.clear()

            self.assertEqual(self.in_child(work), 0)
            self.assertEqual(len(list(iterators[1])), 1000)
            self.assertEqual(batch.commit(), store.last_op)
            views.clear()
            store.close()
            os.unlink(self.path)

    def test_a_child_may_do_nothing_with_the_pool(self):
        events = []
        pool = tactus.Pool.open(threads=3)
        store = memory_store(pool=pool, on_event=events.append)
        fill(store.create_tree("tree"), 1000)

        def work():
            for use in (pool.__enter__, pool.stat, pool.step, lambda: pool.threads_change(1, 1, 1),
                        lambda: memory_store(pool=pool), store.close, pool.close):
                try:
                    use()
                except tactus.Forked:
                    continue
                raise AssertionError(use)
            pool.close()

        self.assertEqual(self.in_child(work), 0)
        self.assertEqual(pool.stat()["stores"], 1)
        store.checkpoint()
        store.close()
        pool.close()
        self.assertGreater(len(events), 0)

    def test_children_of_a_busy_parent(self):
        with tactus.Store.create(self.path, **THREADED) as store:
            tree = store.create_tree("tree")
            done = threading.Event()

            def write():
                number = 0
                while not done.is_set():
                    tree[key_of(number)] = b"value"
                    number += 1

            def work():
                for use in (store.stat, lambda: tree[b"a"], lambda: store.replay_op, store.close):
                    with contextlib.suppress(tactus.Forked):
                        use()
                        raise AssertionError(use)

            thread = threading.Thread(target=write)
            thread.start()
            statuses = [self.in_child(work) for _ in range(10)]
            done.set()
            thread.join()
        self.assertEqual(statuses, [0] * 10)

    def test_a_child_that_ends_as_programs_do(self):
        program = """
import os, sys, tactus
store = tactus.Store.create(sys.argv[1], threads=3, memtable_size="1MiB")
tree = store.create_tree("tree")
tree[b"a"] = b"1"
items, batch, view = tree.items(), store.batch(), tree.get_pinned(b"a")
child = os.fork()
if child == 0:
    sys.exit(0)
status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
view.release()
tree[b"b"] = b"2"
store.close()
sys.exit(status)
"""
        subprocess.run([sys.executable, "-W", "error::ResourceWarning", "-c", program, self.path],
                       check=True, timeout=120)
        with tactus.Store.open(self.path) as store:
            self.assertEqual(list(store.tree("tree")), [(b"a", b"1"), (b"b", b"2")])


class EndTest(InFolder):
    def test_the_interpreter_ends_with_everything_open(self):
        program = """
import sys, threading, tactus
store = tactus.Store.create(sys.argv[1], threads=3, memtable_size="1MiB")
tree = store.create_tree("tree")
tree[b"a"] = b"1"
store.checkpoint()
items, batch, view = iter(tree), store.batch(), tree.get_pinned(b"a")
next(items)  # Before anybody writes: it may expire after that
begun = threading.Event()
def work():
    number = 0
    while True:
        tree[b"%d" % number] = b"v"
        number += 1
        begun.set()
threading.Thread(target=work, daemon=True).start()
begun.wait()
"""
        subprocess.run([sys.executable, "-c", program, self.path], check=True, timeout=120)
        with tactus.Store.open(self.path) as store:
            self.assertEqual(store.tree("tree")[b"a"], b"1")


    def test_the_interpreter_ends_while_events_are_told(self):
        program = """
import sys, threading, time, tactus
told = []
def on_event(event):
    told.append(event)
    time.sleep(0.001)
pool = tactus.Pool.open(threads=3)
stores = [tactus.Store.create(sys.argv[1] + str(n), pool=pool, memtable_size="128KiB",
                              block_size="16KiB", on_event=on_event, event_wait_ns_min=0,
                              on_log=lambda level, line: told.append(line), logger_level="debug",
                              page_cache_size="1MiB", index_cache_size="4MiB")
          for n in range(2)]
def work(store):
    tree, number = store.create_tree("tree"), 0
    while True:
        tree[b"%d" % number] = b"v" * 100
        number += 1
for store in stores:
    threading.Thread(target=work, args=(store,), daemon=True).start()
while len(told) < 50:
    time.sleep(0.001)
"""
        for number in range(8):
            done = subprocess.run([sys.executable, "-c", program, self.path + str(number)],
                                  timeout=120, capture_output=True, text=True)
            self.assertEqual((done.returncode, done.stderr), (0, ""))

    def test_after_the_end_has_begun_no_callback_is_taken(self):
        program = """
import atexit
def late():
    import tactus
    try:
        tactus.Store.open(None, backend="memory", threads=0, on_event=print)
    except RuntimeError as error:
        print(error)
atexit.register(late)
import tactus
"""
        done = subprocess.run([sys.executable, "-c", program], timeout=120, capture_output=True,
                              text=True, check=True)
        self.assertIn("the interpreter is ending", done.stdout)


class MallocInfo(ctypes.Structure):
    """struct mallinfo2 of glibc."""

    _fields_ = [(name, ctypes.c_size_t) for name in (
        "arena", "ordblks", "smblks", "hblks", "hblkhd", "usmblks", "fsmblks", "uordblks",
        "fordblks", "keepcost")]


LIBC = ctypes.CDLL(None)


def heap_bytes():
    """What C has allocated and not freed."""
    LIBC.mallinfo2.restype = MallocInfo
    info = LIBC.mallinfo2()
    return info.uordblks + info.hblkhd


@unittest.skipUnless(hasattr(LIBC, "mallinfo2"), "the C library does not tell what is allocated")
class LeakTest(unittest.TestCase):
    TIMES = 10000

    def setUp(self):
        self.store = memory_store()
        self.addCleanup(self.store.close)
        self.tree = self.store.create_tree("tree")
        fill(self.tree, 2000)
        self.key = b"key" + b"%06d" % 7
        self.value = b"value" * 3

    def repeated(self, work, times=TIMES):
        """Runs the work many times: no object, nor memory of Python or C, may stay behind."""
        watched = [self.key, self.value, self.tree, self.store, None, True, tactus.Store,
                   tactus.Tree, tactus.Iterator, tactus.Batch, tactus.NotFound, tactus.Conflict]
        tracemalloc.start()
        self.addCleanup(tracemalloc.stop)
        for _ in range(times // 10):
            work()
        gc.collect()
        counts = [sys.getrefcount(thing) for thing in watched]
        heap = heap_bytes()
        before = tracemalloc.get_traced_memory()[0]
        for _ in range(times):
            work()
        gc.collect()
        after = tracemalloc.get_traced_memory()[0]
        self.assertLess(after - before, times, "memory of Python")
        self.assertLess(heap_bytes() - heap, max(times * 20, 64 << 10), "memory of C")
        for thing, count in zip(watched, counts):
            self.assertLess(abs(sys.getrefcount(thing) - count), times // 10, thing)

    def test_reads(self):
        def work():
            self.tree.get(self.key)
            self.tree.get_many([self.key, b"none"])
            self.tree[self.key]
            self.tree.get(b"none", self.value)
            self.key in self.tree
            bytearray(self.key) in self.tree

        self.repeated(work)

    def test_writes(self):
        def work():
            self.tree[self.key] = self.value
            self.tree.put(bytearray(self.key), memoryview(self.value))
            self.tree.compare_and_set(self.key, self.value, self.value)
            del self.tree[b"none"]

        self.repeated(work)

    def test_exceptions(self):
        def work():
            for use in (lambda: self.tree[b"none"], lambda: self.tree["text"],
                        lambda: self.tree.put_if_absent(self.key, self.value),
                        lambda: self.tree.get_pinned(b"none"),
                        lambda: self.tree.put(self.key, "text"),
                        lambda: self.tree.items(low=self.key, prefix=self.key),
                        lambda: self.tree.items(high=b""),
                        lambda: self.store.create_tree("tree"),
                        lambda: self.store.tree("none")):
                try:
                    use()
                except (tactus.Error, TypeError):
                    pass

        self.repeated(work)

    def test_iterators(self):
        def work():
            for _ in self.tree.items(low=self.key, high=key_of(12)):
                pass
            with self.tree.keys(reverse=True) as keys:
                keys.seek(self.key)
                next(keys)
            self.tree.values(prefix=self.key)

        self.repeated(work)

    def test_pinned_values(self):
        def work():
            with self.tree.get_pinned(self.key):
                pass
            self.tree.get_pinned(self.key)[1:2]

        self.repeated(work)

    def test_batches(self):
        def work():
            with self.store.batch() as batch:
                batch.put(self.tree, self.key, self.value)
                batch.expect(self.tree, b"none", None)
                batch.delete(self.tree, b"none")
            self.store.batch().put(self.tree, self.key, self.value)

        self.repeated(work)

    def test_what_the_store_tells(self):
        def work():
            self.store.stat()
            self.store.metrics()
            self.store.trees()
            self.store.tree("tree").name
            self.store.last_op + self.store.durable_op
            repr(self.store), repr(self.tree)

        self.repeated(work)

    def test_pools_and_events(self):
        def work():
            with tactus.Pool.open(threads=0) as pool:
                with memory_store(tables_max=1024, pool=pool,
                                  on_event=lambda event: event,
                                  on_log=lambda level, line: line) as store:
                    store.create_tree("tree")
                    store.checkpoint()
                    pool.stat()

        self.repeated(work, 100)

    def test_stores(self):
        def work():
            with memory_store(tables_max=1024) as store:
                tree = store.create_tree("tree")
                tree[b"a"] = b"1"
                items, batch = iter(tree), store.batch()
            del items, batch

        self.repeated(work, 100)


def readme_blocks(language):
    blocks, lines, fence = [], None, None
    for line in (HERE / "README.md").read_text().splitlines(keepends=True):
        if not line.startswith("```"):
            if lines is not None:
                lines.append(line)
        elif lines is None:
            lines, fence = [], line.strip()
        else:
            if fence == "```" + language:
                blocks.append("".join(lines))
            lines = None
    return blocks


class DocumentTest(InFolder):
    def test_the_example_of_the_readme(self):
        before, printed = os.getcwd(), io.StringIO()
        os.chdir(self.folder.name)
        self.addCleanup(os.chdir, before)
        with contextlib.redirect_stdout(printed):
            exec(readme_blocks("python")[0], {})
        self.assertIn(printed.getvalue(), readme_blocks(""))

    def test_everything_has_a_docstring(self):
        for name, kind in vars(tactus).items():
            if not name.startswith("_") and isinstance(kind, type):
                self.assertTrue(kind.__doc__, name)
                for attribute, thing in vars(kind).items():
                    if not attribute.startswith("_") and not issubclass(kind, tactus.Error):
                        self.assertTrue(thing.__doc__, f"{name}.{attribute}")
        text = pydoc.plain(pydoc.render_doc(tactus))
        for line in ("open(path, /, *, pool=None, on_event=None", "open(**options)",
                     "get(self, key, default=None, /)",
                     "items(self, /, low=None, high=None, *, prefix=None, reverse=False)"):
            self.assertIn(line, text)

    def test_the_stub_has_the_same_names(self):
        others = {"__doc__", "__module__", "__weakref__", "__repr__", "__str__"}
        stub = ast.parse((HERE / "tactus-stubs" / "__init__.pyi").read_text())
        declared = set()
        for node in stub.body:
            if isinstance(node, ast.AnnAssign):
                declared.add(node.target.id)
            if not isinstance(node, ast.ClassDef):
                continue
            declared.add(node.name)
            kind = getattr(tactus, node.name)
            names = {item.name for item in node.body if isinstance(item, ast.FunctionDef)}
            names |= {item.target.id for item in node.body if isinstance(item, ast.AnnAssign)}
            if issubclass(kind, tactus.Error):
                self.assertEqual([base.id for base in node.bases],
                                 [base.__name__ for base in kind.__bases__])
                names.add("code")
            self.assertEqual(set(vars(kind)) - others, names, node.name)
        self.assertEqual({name for name in vars(tactus) if not name.startswith("_")}, declared)


class TapResult(unittest.TestResult):
    def line(self, test, is_ok, directive=""):
        kind, name = test.id().split(".")[-2:]
        text = f"{kind.removesuffix('Test')}: {name.removeprefix('test_').replace('_', ' ')}"
        print("ok" if is_ok else "not ok", "-", text + directive, flush=True)

    def failed(self, test, error):
        self.line(test, False)
        for text in self._exc_info_to_string(error, test).splitlines():
            print("#", text, flush=True)

    def addSuccess(self, test):
        super().addSuccess(test)
        self.line(test, True)

    def addSkip(self, test, reason):
        super().addSkip(test, reason)
        self.line(test, True, f" # SKIP {reason}")

    def addFailure(self, test, error):
        super().addFailure(test, error)
        self.failed(test, error)

    def addError(self, test, error):
        super().addError(test, error)
        self.failed(test, error)

    def addSubTest(self, test, subtest, error):
        super().addSubTest(test, subtest, error)
        if error is not None:
            self.failed(subtest, error)


if __name__ == "__main__":
    faulthandler.enable()
    faulthandler.dump_traceback_later(500, exit=True)
    warnings.simplefilter("error")
    warnings.filterwarnings("ignore", ".*fork.*", DeprecationWarning)
    loader, main = unittest.defaultTestLoader, sys.modules["__main__"]
    if sys.argv[1:]:
        suite = loader.loadTestsFromNames(sys.argv[1:], main)
    else:
        suite = loader.loadTestsFromModule(main)
    sys.exit(0 if suite.run(TapResult()).wasSuccessful() else 1)
