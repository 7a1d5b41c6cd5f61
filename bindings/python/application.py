"""A day of an application with several models under one cap: application.py CAP_MIB A.gguf B.gguf STATE_FOLDER

Load A, talk, switch to B, talk, switch back, and go on with A's conversation, whose answers have the bits of one that was never
interrupted. Ask for a model that cannot fit, and for one that is not there; neither takes anything away."""
import sys

import hearth

QUESTIONS = ["Turn on the kitchen light.", "And the bedroom light?", "Thank you. Is it warm?"]
PARAMS = {"temperature": 0.9, "seed": 42, "max_tokens": 30}
LIMITS = {"context": 512, "batch": 128}


def show_text(pieces):
    for text in pieces:
        print(text, end="", flush=True)


def talk(chat, question):
    show_text(chat.stream(question))
    print(" [%d tokens]" % len(chat.answer.ids))
    return chat.answer


def go_on(session, text):
    """B is a base model: it knows no turns and only goes on with a text."""
    session.feed_text(text, bos=True)
    show_text(session.stream())
    print(" [%d tokens]" % len(session.answer.ids))


def show(manager):
    for model in manager.models:
        state = ("registered", "resident", "current")[model.state]
        print("  %s: %s, %d of %d bytes" % (model.name, state, model.resident_bytes, model.plan_bytes))


def day(engine, a, b, states):
    with engine.manager(states) as manager:
        manager.register("a", a, chat=True, **LIMITS)
        manager.register("b", b, **LIMITS)
        manager.register("huge", a, context=1 << 24, kv_type="f32")

        manager.switch("a").set_params(**PARAMS)
        answers = [talk(manager.chat, QUESTIONS[0])]

        manager.switch("b").set_params(**PARAMS)
        show(manager)
        go_on(manager.session, "The hearth")

        manager.switch("a")
        show(manager)
        answers.append(talk(manager.chat, QUESTIONS[1]))

        try:
            manager.switch("huge")
        except hearth.OutOfMemory as error:
            assert error.needed > error.available
            print("huge needs %d bytes, %d are available" % (error.needed, error.available))
        for ask in (lambda: manager.switch("c"), lambda: manager.register("c", "/nonexistent.gguf")):
            try:
                ask()
            except hearth.ModelNotFound as error:
                print("not found:", error)
            else:
                raise AssertionError("c was found")
        assert manager.current == "a"
        answers.append(talk(manager.chat, QUESTIONS[2]))
        messages = manager.chat.messages
        freed = manager.optimize()
        print("optimized: %d models left, %d bytes freed" % (freed.n_unloaded, freed.bytes_freed))
        manager.save()
        return answers, messages


def twin(engine, a):
    """A's conversation without an interruption."""
    with engine.model(a, chat=True, **LIMITS) as model, model.session() as session:
        session.set_params(**PARAMS)
        chat = session.chat()
        return [talk(chat, question) for question in QUESTIONS], chat.messages


def main(cap, a, b, states):
    with hearth.Engine(ram_cap=int(cap) << 20) as engine:
        answers, messages = day(engine, a, b, states)
        print("never interrupted:")
        whole, whole_messages = twin(engine, a)
    assert [answer[:3] for answer in answers] == [answer[:3] for answer in whole]
    assert messages == whole_messages
    print("the same %d answers, token by token" % len(whole))


if __name__ == "__main__":
    if len(sys.argv) != 5:
        sys.exit("usage: application.py CAP_MIB A B STATE_FOLDER")
    main(*sys.argv[1:])
