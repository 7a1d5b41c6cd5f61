"""Tests of hearth.py: python3 test_hearth.py, with HEARTH_LIBRARY in the environment, and HEARTH_LAYOUT for the comparison with
hearth.h."""
import ctypes
import gc
import os
import signal
import sys
import tempfile
import threading
import time
import unittest

import hearth

SOURCE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..")
HOME = os.path.join(SOURCE, "models", "hearth-home.Q4_K_M.gguf")
LIGHT = "<|user|>\nTurn on the kitchen light.<|end|>\n<|assistant|>\n"
LIMITS = {"context": 256, "batch": 64}
CAP = 200 << 20


def kind(type_):
    """The kind of a type as tests/tools/layout.py writes it."""
    if type_ is None:
        return "v"
    if issubclass(type_, ctypes.Array):
        return "%s[%d]" % (kind(type_._type_), type_._length_)
    if isinstance(getattr(type_, "_type_", None), str):
        code = {"c": "i", "b": "i", "h": "i", "i": "i", "l": "i", "q": "i", "B": "u", "H": "u", "I": "u", "L": "u", "Q": "u",
                "f": "f", "d": "f", "?": "b", "z": "p", "P": "p"}[type_._type_]
        return "%s%d" % (code, ctypes.sizeof(type_))
    return "p8"


class Layout(unittest.TestCase):
    def test_declarations_are_those_of_the_header(self):
        path = os.environ.get("HEARTH_LAYOUT")
        if not path:
            self.skipTest("HEARTH_LAYOUT is not set; tests/tools/python.sh makes it")
        with open(path, encoding="utf-8") as file:
            header = set(file.read().splitlines())
        ours = set()
        for line in header:
            if line.startswith("constant "):
                name = line.split()[1]
                ours.add("constant %s %s" % (name, getattr(hearth, name[len("HEARTH_"):], "missing")))
        for structure in hearth._STRUCTURES:
            name = "hearth" + structure.__name__
            ours.add("struct %s %d" % (name, ctypes.sizeof(structure)))
            for field, type_ in structure._fields_:
                ours.add("field %s.%s %d %s" % (name, field, getattr(structure, field).offset, kind(type_)))
        for name, callback in hearth._CALLBACKS.items():
            ours.add(" ".join(["callback", name, kind(callback._restype_)] + [kind(a) for a in callback._argtypes_]))
        for name, (result, arguments) in hearth._FUNCTIONS.items():
            ours.add(" ".join(["function", name, kind(result)] + [kind(a) for a in arguments]))
        self.assertGreater(len(ours), 150)
        self.assertEqual(sorted(header - ours), [], "only in hearth.h")
        self.assertEqual(sorted(ours - header), [], "only in hearth.py")


class Library(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.engine = hearth.Engine(ram_cap=CAP, threads=2)
        cls.model = cls.engine.model(HOME, **LIMITS)

    @classmethod
    def tearDownClass(cls):
        cls.engine.close()

    def session(self, prompt=LIGHT, **params):
        session = self.model.session()
        self.addCleanup(session.close)
        session.set_params(**dict({"temperature": 0, "max_tokens": 40}, **params))
        session.feed_text(prompt, bos=True, special=True)
        return session

    def test_an_answer_streams(self):
        session = self.session()
        pieces = list(session.stream())
        self.assertEqual("".join(pieces), "Okay, the kitchen light is now on.")
        self.assertGreater(len(pieces), 3)
        self.assertEqual((session.answer.text, session.answer.stop), ("".join(pieces), hearth.STOP_END))
        self.assertTrue(self.model.is_end(session.answer.ids[-1]))
        pushed = []
        session = self.session(stop_tokens="light")
        answer = session.generate(pushed.append)
        self.assertEqual((answer.text, answer.stop), ("Okay, the kitchen ", hearth.STOP_STRING))
        self.assertEqual("".join(pushed), answer.text)

    def test_a_stream_left_early_stands_where_it_was_left(self):
        whole = self.session("The hearth", ignore_end=True).generate()
        session = self.session("The hearth", ignore_end=True)
        text = ""
        for piece in session.stream():
            text += piece
            if len(text) > 10:
                break
        time.sleep(0.05)  # nothing runs ahead
        stood = session.position
        time.sleep(0.05)
        self.assertEqual(session.position, stood)
        text += session.generate().text
        self.assertTrue(text.startswith(whole.text))

    def test_a_suspended_stream_is_closed_with_its_session(self):
        with self.assertRaisesRegex(ZeroDivisionError, "out of the loop"):
            with self.model.session() as session:
                session.feed_text("The hearth", bos=True)
                for _ in session.stream():
                    raise ZeroDivisionError("out of the loop")
        with self.assertRaises(hearth.InvalidConfig):
            session.position

    def test_tokens_go_there_and_back(self):
        text = "The hearth \U0001f525 is warm. " * 50
        ids = self.model.tokenize(text)
        self.assertGreater(len(ids), 64)
        self.assertEqual(self.model.detokenize(ids).decode(), text)
        self.assertEqual((self.model.tokenize(""), self.model.detokenize([])), ([], b""))
        self.assertEqual(self.model.tokenize(b"a\0b"), self.model.tokenize("a\0b"))
        self.assertEqual(len(self.model.tokenize("<|end|>", special=True)), 1)
        self.assertEqual(self.model.tokenize("<|end|>", special=True, from_caller=[1] * 7), self.model.tokenize("<|end|>"))
        with self.assertRaises(hearth.InvalidConfig):
            self.model.tokenize("<|end|>", from_caller=[1])
        with self.assertRaises(hearth.InvalidConfig):
            self.model.detokenize([-1])
        with self.assertRaises(hearth.InvalidConfig):
            self.model.detokenize([2**32])
        with self.assertRaises(hearth.Unsupported):
            self.model.tokenize_infill("a", "b")
        with self.engine.vocabulary(HOME) as vocabulary:
            self.assertEqual(vocabulary.tokenize(text), ids)

    def test_logits(self):
        session = self.session("The hearth is")
        logits = session.logits()
        self.assertEqual(len(logits), self.model.vocabulary_size)
        token = session.sample()
        self.assertEqual(token, max(range(len(logits)), key=lambda i: (logits[i], -i)))
        self.assertIsNone(session.logits(1))
        session.feed([token])
        self.assertNotEqual(session.logits(), logits)
        session.reset()
        self.assertEqual((session.position, session.context), (0, 256))

    def test_a_session_goes_back(self):
        ids = self.model.tokenize("The hearth is warm, and the light is on.", bos=True)
        session = self.model.session(batch=4)
        self.addCleanup(session.close)
        session.feed(ids)
        logits = session.logits()
        self.assertEqual(session.tokens(), ids)
        session.rewind(5)
        self.assertEqual((session.tokens(), session.logits()), (ids[:5], None))
        for bad in (6, -1, 2**32):
            with self.assertRaises(hearth.InvalidConfig):
                session.rewind(bad)
        self.assertEqual(session.prompt(ids), (5, 0, len(ids) - 5))
        self.assertEqual(session.logits(), logits)

    def test_a_prefix_is_taken_up_again(self):
        with hearth.Engine(ram_cap=CAP, cache_budget=8 << 20) as engine, engine.model(HOME, **LIMITS) as model:
            ids = model.tokenize("The hearth is warm, and the light is on. " * 8, bos=True)
            with model.session() as session:
                session.feed(ids)
                logits = session.logits()
            with model.session() as session:
                self.assertGreaterEqual(session.prompt(ids).n_restored, 64)
                self.assertEqual(session.logits(), logits)

    def test_tokens_come_with_their_probabilities(self):
        session = self.session()
        tokens = []
        answer = session.generate(on_token=tokens.append, top_logprobs=3)
        self.assertEqual([token.id for token in tokens], answer.ids)
        self.assertEqual(b"".join(token.text for token in tokens).decode(), answer.text)
        for token in tokens:
            self.assertEqual((token.id, token.logprob), token.top[0])
            self.assertTrue(len(token.top) == 3 and 0 >= token.logprob >= token.top[1][1] >= token.top[2][1])
        session = self.session()
        self.assertEqual(session.generate(on_token=lambda token: token.logprob is not None).stop, hearth.STOP_CALLBACK)
        with self.assertRaises(hearth.InvalidConfig):
            session.generate(on_token=print, top_logprobs=21)

    def test_states(self):
        params = {"temperature": 0.9, "seed": 5, "ignore_end": True, "max_tokens": 20}
        twin = self.session("The hearth", **params)
        twin.generate()
        whole = twin.generate().ids
        session = self.session("The hearth", **params)
        session.generate()
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, "state")
            session.save(path)
            tokens = session.tokens()
            other = self.model.session(batch=32)
            self.addCleanup(other.close)
            other.set_params(**params)  # of which max_tokens stays, and the rest is restored
            other.restore(path)
            self.assertEqual(other.tokens(), tokens)
            self.assertEqual(other.generate().ids, whole)
            with open(path, "r+b") as file:
                file.seek(1000)
                file.write(bytes([file.read(1)[0] ^ 1]))
            tokens = other.tokens()
            with self.assertRaises(hearth.StateError):
                other.restore(path)
            self.assertEqual(other.tokens(), tokens)
            with self.assertRaises(hearth.ModelNotFound):
                other.restore(path + ".missing")
            with self.assertRaises(hearth.FileError):
                other.restore(folder)

    def test_errors_are_exceptions(self):
        with self.assertRaises(hearth.ModelNotFound) as caught:
            self.engine.model("/nonexistent/model.gguf")
        self.assertIn("/nonexistent/model.gguf", str(caught.exception))
        with self.assertRaises(hearth.FormatError):
            self.engine.model(os.path.join(SOURCE, "README.md"))
        with self.assertRaises(hearth.OutOfMemory) as caught:
            self.engine.model(HOME, context=1 << 24)
        self.assertGreater(caught.exception.needed, caught.exception.available)
        self.assertLessEqual(caught.exception.available, CAP)
        self.assertEqual(caught.exception.status, hearth.E_MEMORY)
        with self.assertRaises(hearth.InvalidConfig):
            self.engine.model(HOME, context=2**32 - 1)
        with self.assertRaises(hearth.InvalidConfig):
            self.engine.model(HOME, kontext=5)
        for bad in ({"threads": 100000}, {"threads": 2**32}, {"ram_cap": -1}, {"ram_cap": "much"}):
            with self.assertRaises(hearth.InvalidConfig, msg=str(bad)):
                hearth.Engine(**bad)
        session = self.session()
        for bad in ({"temperature": float("nan")}, {"top_p": 1.5}, {"top_q": 1}, {"order": [2] * 9}, {"seed": -1}, {"top_k": 2**40},
                    {"struct_size": 8}, {"max_tokens": -1}, {"max_tokens": 2**32}, {"stop_tokens": ["a\0b"]},
                    {"logit_bias": dict.fromkeys(range(257), 0.0)},
                    {"temperature": "hot"}):
            with self.assertRaises(hearth.InvalidConfig, msg=str(bad)):
                session.set_params(**bad)
        for mistake in (lambda: self.model.tokenize(5), lambda: self.model.tokenize(None), lambda: session.feed_text(["a"])):
            with self.assertRaises(TypeError):
                mistake()
        with self.assertRaises(hearth.InvalidConfig):
            session.estimate("The hearth", -1)
        with self.assertRaises(hearth.ContextFull) as caught:
            session.feed([1] * 300)
        self.assertEqual(caught.exception.needed, 300)
        with self.assertRaises(hearth.InvalidConfig):
            session.feed([])
        estimate = session.estimate("The hearth", 300)
        self.assertFalse(estimate.fits)
        self.assertEqual(estimate.n_needed, session.position + estimate.n_prompt + 300)

    def test_a_plan(self):
        plan = self.engine.plan(HOME, **LIMITS)
        self.assertEqual(plan.private_bytes, sum(size for _, size in plan.lines))
        self.assertEqual((plan.context, plan.batch, plan.refusal), (256, 64, None))
        self.assertLess(plan.cap_bytes, CAP)  # less what is open
        plan = self.engine.plan(HOME, context=1 << 24)
        self.assertEqual(plan.refusal.needed, plan.private_bytes)

    def test_pages(self):
        plans = []
        for pages in (hearth.PAGES_4K, hearth.PAGES_AUTO, hearth.PAGES_2M):
            with hearth.Engine(ram_cap=CAP, threads=1, pages=pages, prefetch_window=1 << 20) as engine:
                plans.append(engine.plan(HOME, **LIMITS).private_bytes)
                engine.model(HOME, **LIMITS).session().feed_text("The hearth")
        self.assertLess(plans[0], plans[1])
        self.assertEqual(plans[1], plans[2])
        with self.assertRaises(hearth.InvalidConfig):
            hearth.Engine(pages=4)

    def test_a_grammar(self):
        with self.engine.model(HOME, grammar=True, **LIMITS) as model, model.session() as session:
            session.feed_text(LIGHT, bos=True, special=True)
            with self.assertRaises(hearth.InvalidConfig):
                session.set_grammar("root ::= (")
            session.set_grammar('root ::= "yes" | "no"')
            self.assertIn(session.generate().text, ("yes", "no"))

    def test_another_thread_cancels(self):
        whole = self.session("The hearth", ignore_end=True, max_tokens=120).generate()
        session = self.session("The hearth", ignore_end=True, max_tokens=120)
        pieces = []
        begun = threading.Event()
        stopper = threading.Thread(target=lambda: (begun.wait(), session.cancel()))
        stopper.start()

        def show(piece):
            pieces.append(piece)
            begun.set()
            time.sleep(0.002)

        with self.assertRaises(hearth.Cancelled):
            session.generate(show)
        stopper.join()
        with self.assertRaises(hearth.Cancelled):
            session.generate()
        session.resume()
        session.generate(pieces.append)
        self.assertTrue("".join(pieces).startswith(whole.text))
        session.close()
        session.cancel()  # and nothing happens
        session.resume()

    def test_a_deadline(self):
        session = self.session(ignore_end=True, max_tokens=200)
        session.set_deadline(0.02)
        with self.assertRaises(hearth.Cancelled) as caught:
            session.generate(lambda _: time.sleep(0.005))
        self.assertEqual(caught.exception.detail, "E_DEADLINE")
        session.set_deadline(None)
        session.generate(lambda _: False)
        with self.assertRaises(hearth.InvalidConfig):
            session.set_deadline(-1)

    def test_exceptions_go_around_c(self):
        session = self.session()
        text = []

        def show(piece):
            text.append(piece)
            if len(text) == 3:
                raise KeyError("enough")

        with self.assertRaisesRegex(KeyError, "enough"):
            session.generate(show)
        self.assertEqual("".join(text) + session.generate().text, "Okay, the kitchen light is now on.")
        with self.assertRaises(ZeroDivisionError):
            self.engine.model(HOME, progress=lambda done, total: 1 // 0, **LIMITS)
        with self.assertRaises(hearth.Cancelled):
            self.engine.model(HOME, progress=lambda done, total: False, **LIMITS)

    def test_control_c_stops_an_answer(self):
        session = self.session("The hearth", ignore_end=True, max_tokens=200)
        with self.assertRaises(KeyboardInterrupt):
            session.generate(lambda _: signal.raise_signal(signal.SIGINT))
        with self.assertRaises(KeyboardInterrupt):
            for _ in session.stream():
                signal.raise_signal(signal.SIGINT)
        session.generate(lambda _: False)

    def test_a_session_in_use(self):
        session = self.session("The hearth")
        stream = session.stream()
        next(stream)
        with self.assertRaises(hearth.Busy):
            session.feed([1])
        with self.assertRaises(hearth.Busy):  # the model's close() would close the session of another thread's call
            hearth._Handle.close(session)
        stream.close()
        session.feed([1])

    def test_sessions_on_many_threads(self):
        def answer(out):
            with self.model.session() as session:
                session.set_params(seed=3)
                session.feed_text(LIGHT, bos=True, special=True)
                out.append(session.generate().ids)

        answers = []
        threads = [threading.Thread(target=answer, args=(answers,)) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        answer(answers)
        self.assertEqual(len(answers), 5)
        self.assertTrue(all(ids == answers[0] for ids in answers))

    def test_closing_closes_what_stands_on_it(self):
        engine = hearth.Engine(threads=1)
        model = engine.model(HOME, **LIMITS)
        session = model.session()
        self.assertEqual((engine.threads, engine.cpu_level in ("reference", "avx2", "avxvnni", "avx512")), (1, True))
        self.assertIn("kernels", engine.summary)
        engine.close()
        engine.close()
        for use in (lambda: session.position, lambda: model.vocabulary_size, lambda: engine.threads):
            with self.assertRaises(hearth.InvalidConfig):
                use()
        session = hearth.Engine(threads=1).model(HOME, **LIMITS).session()  # keeps the two others
        gc.collect()
        session.feed_text("The hearth")

    def test_the_log(self):
        lines = []

        def log(level, line):
            lines.append((level, line))
            raise ValueError("a log that raises")

        with tempfile.TemporaryDirectory() as folder, hearth.Engine(threads=1, pack_cache=folder, log=log) as engine:
            engine.model(HOME, **LIMITS).close()
        with self.assertRaisesRegex(hearth.InvalidConfig, "verify is unknown"):
            hearth.Engine(verify=3)
        hearth.Engine(threads=1, verify=hearth.VERIFY_OFF).close()
        self.assertTrue(any("pack cache" in line for _, line in lines), lines)


class Chat(unittest.TestCase):
    def chat(self, context=256, **options):
        engine = hearth.Engine(ram_cap=CAP, threads=2)
        self.addCleanup(engine.close)
        session = engine.model(HOME, context=context, batch=64, chat=True).session()
        session.set_params(temperature=0, max_tokens=40)
        return session.chat(**options)

    def test_a_conversation_grows_and_goes_back(self):
        chat = self.chat()
        self.assertEqual("".join(chat.stream("Turn on the kitchen light.")), "Okay, the kitchen light is now on.")
        self.assertEqual(chat.prompt_info.n_kept, 0)
        second = chat.send("And the bedroom light?").text
        self.assertGreater(chat.prompt_info.n_kept, 0)
        self.assertEqual([(m.role, m.number) for m in chat.messages], [(1, 0), (2, 1), (1, 2), (2, 3)])
        self.assertEqual(chat.messages[1].text, "Okay, the kitchen light is now on.")
        self.assertTrue(chat.max_length == 256 > chat.current_length > 20)
        chat.pop()
        self.assertEqual(chat.ask().text, second)
        chat.pop()
        self.assertEqual("".join(chat.stream()), second)
        chat.set_system("Be brief.")
        self.assertEqual(chat.messages[0].role, hearth.ROLE_SYSTEM)
        chat.clear()
        chat.set_system(None)
        self.assertEqual(chat.messages, [])
        for bad in (chat.pop, chat.ask, lambda: chat.add(hearth.ROLE_SYSTEM, "x")):
            with self.assertRaises(hearth.InvalidConfig):
                bad()

    def test_notes(self):
        chat = self.chat()
        self.assertIsNone(chat.metadata("title"))
        chat.set_metadata("title", b"Lights\0on")
        chat.set_metadata("empty", "")
        self.assertEqual((chat.metadata("title"), chat.metadata("empty")), (b"Lights\0on", b""))
        chat.set_metadata("title", None)
        self.assertIsNone(chat.metadata("title"))
        with self.assertRaises(hearth.InvalidConfig):
            chat.set_metadata("a\0b", "")

    def test_what_is_dropped_is_told(self):
        dropped = []
        chat = self.chat(96, when_full=hearth.CHAT_DROP_OLDEST, reserve=20, dropped=dropped.append)
        for _ in range(8):
            chat.send("Turn on the kitchen light.")
        self.assertEqual([message.number for message in dropped], list(range(len(dropped))))
        self.assertEqual(chat.messages[0].number, len(dropped))
        self.assertGreater(len(dropped), 0)
        chat = self.chat(96, reserve=20)
        with self.assertRaises(hearth.ContextFull) as caught:
            for _ in range(8):
                chat.send("Turn on the kitchen light.")
        self.assertGreater(caught.exception.needed, caught.exception.available)
        self.assertEqual(len(chat.messages) % 2, 0)

    def test_a_conversation_goes_on_from_its_file(self):
        twin = self.chat()
        twin.set_metadata("title", "Lights")
        twin.send("Turn on the kitchen light.")
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, "state")
            twin.save(path)
            whole = twin.send("And the bedroom light?")
            chat = self.chat()
            chat.restore(path)
            self.assertEqual(chat.metadata("title"), b"Lights")
            answer = chat.send("And the bedroom light?")
            self.assertEqual((answer.ids, answer.text), (whole.ids, whole.text))
            self.assertEqual((chat.messages, chat.prompt_info), (twin.messages, twin.prompt_info))
            self.assertEqual(len(chat.messages), 4)
            with self.assertRaises(hearth.ModelNotFound):
                chat.restore(path + ".missing")

    def test_refusals_and_exceptions(self):
        with self.assertRaisesRegex(hearth.InvalidConfig, "never"):
            self.chat(chat_template="{{ raise_exception('never') }}").send("Hello")
        with self.assertRaises(hearth.InvalidConfig):
            self.chat(family="none")

        def refuse(_):
            raise KeyError("not this one")

        chat = self.chat(96, when_full=hearth.CHAT_DROP_OLDEST, reserve=20, dropped=refuse)
        with self.assertRaises(KeyError):
            for _ in range(8):
                chat.send("Turn on the kitchen light.")
        chat = self.chat()
        with self.assertRaises(hearth.Cancelled):
            chat.send("Turn on the kitchen light.", lambda _: chat.session.cancel())
        chat.session.resume()
        self.assertEqual(len(chat.messages), 2)
        session = chat.session
        session.close()  # and with it the chat
        with self.assertRaises(hearth.InvalidConfig):
            chat.messages


class Manager(unittest.TestCase):
    """The application's whole day is application.py."""

    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        engine = hearth.Engine(ram_cap=CAP, threads=2)
        self.addCleanup(engine.close)
        self.manager = engine.manager(os.path.join(folder.name, "states"))
        self.manager.register("home", HOME, **LIMITS)
        self.manager.register("again", HOME, **LIMITS)

    def answer(self, session):
        session.set_params(temperature=0, max_tokens=20)
        session.feed_text(LIGHT, bos=True, special=True)
        return session.generate().ids

    def test_models_come_and_go(self):
        manager = self.manager
        self.assertIsNone(manager.session)
        self.assertIsNone(manager.current)
        for name, path, error in (("home", HOME, hearth.InvalidConfig), ("../home", HOME, hearth.InvalidConfig),
                                  ("a\0b", HOME, hearth.InvalidConfig), ("c", "/nonexistent", hearth.ModelNotFound),
                                  ("text", os.path.join(SOURCE, "README.md"), hearth.FormatError)):
            with self.assertRaises(error):
                manager.register(name, path)
        with self.assertRaises(hearth.ModelNotFound):
            manager.switch("c")
        manager.load("again")
        session = manager.switch("home")
        ids = self.answer(session)
        self.assertTrue(manager.model.is_end(ids[-1]))
        home, again = manager.models
        self.assertEqual((home.name, home.path, home.state, again.state),
                         ("home", HOME, hearth.MODEL_CURRENT, hearth.MODEL_RESIDENT))
        self.assertTrue(home.last_used > 0 and home.resident_bytes > 0)
        self.assertEqual(manager.optimize().n_unloaded, 1)
        manager.save()
        self.assertTrue(manager.models[0].saved)
        manager.unload("home")
        with self.assertRaises(hearth.InvalidConfig):  # it was closed
            session.position
        session = manager.switch("home")
        self.assertEqual(manager.models[0].conversation, hearth.CONVERSATION_RESTORED)
        self.assertEqual(session.tokens()[-len(ids) + 1:], ids[:-1])
        manager.forget("home")
        self.assertEqual((manager.current, manager.session, len(manager.models)), (None, None, 1))

    def test_chats_go_with_their_models(self):
        manager = self.manager
        self.assertIsNone(manager.chat)
        manager.register("chat", HOME, chat=True, **LIMITS)
        manager.switch("chat").set_params(temperature=0, max_tokens=20)
        self.assertEqual(manager.chat.send("Turn on the kitchen light.").text, "Okay, the kitchen light is now on.")
        manager.chat.set_metadata("title", "Light")
        chat = manager.chat
        manager.unload("chat")
        with self.assertRaises(hearth.InvalidConfig):  # it was closed
            chat.messages
        manager.switch("home")
        self.assertIsNone(manager.chat)
        manager.switch("chat")
        self.assertEqual((len(manager.chat.messages), manager.chat.metadata("title")), (2, b"Light"))

    def test_a_refused_switch_takes_nothing_away(self):
        self.manager.register("huge", HOME, context=1 << 24)
        ids = self.answer(self.manager.switch("home"))
        with self.assertRaises(hearth.OutOfMemory) as caught:
            self.manager.switch("huge")
        self.assertGreater(caught.exception.needed, caught.exception.available)
        self.assertEqual(self.manager.current, "home")
        self.manager.session.reset()
        self.assertEqual(self.answer(self.manager.session), ids)

    def test_no_switch_while_an_answer_is_made(self):
        session = self.manager.switch("home")
        session.feed_text(LIGHT, bos=True, special=True)

        def switch(_):
            with self.assertRaises(hearth.Busy):
                self.manager.switch("again")
            return False

        session.generate(switch)
        self.assertEqual(self.manager.current, "home")
        stream = session.stream()
        next(stream)
        self.manager.switch("again")  # ends the stream
        self.assertEqual(list(stream), [])


if __name__ == "__main__":
    sys.exit(not unittest.main(exit=False).result.wasSuccessful())
