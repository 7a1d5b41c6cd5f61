# hearth chat on a terminal (a pseudo-terminal of Python): prompt, editing, history, Ctrl-C and Ctrl-D, and no control characters of a
# model's answer.
set -eu
if ! python3 -c 'import pty' 2>/dev/null; then
    echo "SKIPPED: there is no python3, whose pseudo-terminal this needs"
    exit 77
fi
if [ -n "${HEARTH_SANITIZE-}" ]; then
    echo "SKIPPED: waiting for a sanitized program would be guessing"
    exit 77
fi
cd "$HEARTH_SOURCE_DIR"
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
edits=no
if ldd "$HEARTH" | grep -q libedit; then
    edits=yes
else
    echo "note: built without libedit; editing and history were not tried"
fi
cat >"$scratch/terminal.py" <<'PYTHON'
import os, pty, re, select, signal, stat, sys, time

hearth, scratch, edits = sys.argv[1], sys.argv[2], sys.argv[3] == "yes"
state = scratch + "/state"
failures = 0
CTRL_D = b"\x15\x04"  # an empty line before: what comes between a prompt and its reading may be taken for text


def fail(what, out):
    global failures
    failures += 1
    print("FAILED: %s\n    %r" % (what, out[-1000:]))


class Chat:
    """hearth chat on a terminal of its own; `out` is all that it wrote."""

    def __init__(self, *arguments, **environment):
        self.out = b""
        self.seen = 0
        everything = dict(os.environ, TERM="xterm", XDG_STATE_HOME=state, HOME=scratch, LC_ALL="C.UTF-8", HEARTH_MODEL="")
        everything.pop("NO_COLOR", None)
        everything.update(environment)
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            os.execve(hearth, [hearth, "chat", "--temp", "0", "-t", "1", *arguments], everything)

    def read(self, seconds):
        if select.select([self.fd], [], [], seconds)[0]:
            try:
                self.out += os.read(self.fd, 65536)
                return True
            except OSError:  # the other end is closed
                pass
        return False

    def expect(self, pattern, what, seconds=240):
        """Wait for a pattern in what was not looked at yet."""
        end = time.monotonic() + seconds
        while True:
            found = re.search(pattern, self.out[self.seen :], re.S)
            if found:
                self.seen += found.end()
                return found
            if time.monotonic() > end:
                fail("%s: no %r" % (what, pattern), self.out[self.seen :])
                sys.exit(1)
            self.read(0.05)

    def prompt(self, what="prompt"):
        return self.expect(rb">(\x1b\[0?m)? ", what)

    def type(self, text):
        os.write(self.fd, text)

    def end(self, code, what, by=None):
        """Wait for the end; `by` is typed again each second."""
        begin = time.monotonic()
        typed = pid = 0
        while pid == 0 and time.monotonic() < begin + 240:
            if by and time.monotonic() >= begin + typed:
                typed += 1
                try:
                    os.write(self.fd, by)
                except OSError:  # it has ended
                    pass
            self.read(0.02)
            pid, status = os.waitpid(self.pid, os.WNOHANG)
        if pid == 0:
            os.kill(self.pid, signal.SIGKILL)
            os.waitpid(self.pid, 0)
            fail("%s: does not end" % what, self.out)
            return
        while self.read(0.02):
            pass
        os.close(self.fd)
        got = os.waitstatus_to_exitcode(status)
        if got != code:
            fail("%s: exit code %d, not %d" % (what, got, code), self.out)


answer = rb"Good night! I turned off the lights and locked the front door\.\r\n"

chat = Chat()
chat.expect(rb"hearth-home.Q4_K_M: context 512, plan ", "greeting")
chat.expect(rb"/help shows the commands", "greeting")
chat.prompt()
chat.type(b"Hello\r")
chat.expect(answer, "answer")
chat.prompt()
chat.end(0, "Ctrl-D", CTRL_D)
if edits and b"\x1b[1m>" not in chat.out:
    fail("no colour", chat.out)

for environment in {"NO_COLOR": "1"}, {"TERM": "dumb"}:
    chat = Chat(**environment)
    chat.prompt()
    chat.type(b"Hello\r")
    chat.expect(answer, "answer without colour")
    chat.prompt()
    chat.type(b"/exit\r")
    chat.end(0, "/exit")
    if re.search(rb"\x1b\[[0-9]*m", chat.out) or ("TERM" in environment and b"\x1b" in chat.out):
        fail("colour in spite of %r" % environment, chat.out)

if edits:
    history = state + "/hearth/history"
    if stat.S_IMODE(os.stat(history).st_mode) != 0o600 or stat.S_IMODE(os.stat(state + "/hearth").st_mode) != 0o700:
        fail("others can read the history", b"")
    # The line before, in a new process; backspace takes whole characters; the line is edited in its middle.
    chat = Chat()
    chat.prompt()
    chat.type(b"\x1b[A\x1b[A\r")
    chat.expect(answer, "a line of the history")
    chat.prompt()
    chat.type("grüß".encode() + b"\x7f" * 4 + b"/tats\x1b[D\x1b[D\x1b[D\x1b[Ds\r")
    chat.expect(rb"2 messages", "an edited line")
    chat.prompt()
    chat.type("/system Größe\r/system\r".encode())
    chat.expect("[\nl]Größe\r".encode(), "UTF-8")
    chat.prompt()
    chat.end(0, "editing", CTRL_D)
    if b"Hello" not in open(history, "rb").read():
        fail("the history does not have what was typed", open(history, "rb").read())
    # Pasted lines are one message, wherever they are pasted, and no command.
    for i, (paste, end) in enumerate(((b"\x1b[200~one\rtwo\x1b[201~", b"\r"), (b"\x1b[200~one\ntwo\n\x1b[201~", b"\r"),
                                      (b'\x1b[200~"""one\rtwo"""\r\x1b[201~', b""), (b'"""\r\x1b[200~one\rtwo\r\x1b[201~', b'"""\r'),
                                      (b"\x1b[200~/help\r/exit\x1b[201~", b"\r"))):
        chat = Chat("-n", "1")
        chat.prompt()
        chat.type(paste)
        time.sleep(0.3)
        chat.type(end)
        chat.expect(rb"after 1 tokens", "pasted lines %d" % i)
        chat.prompt()
        chat.type(b"/stats\r")
        chat.expect(rb"2 messages", "one message of pasted lines %d" % i)
        chat.prompt()
        chat.end(0, "pasted lines", CTRL_D)
    before = open(history, "rb").read()
    chat = Chat("--no-history")
    chat.prompt()
    chat.type(b"a secret\r")
    chat.prompt()
    chat.type(b"/exit\r")
    chat.end(0, "--no-history")
    if open(history, "rb").read() != before:
        fail("--no-history keeps one", open(history, "rb").read())

# Ctrl-C at the prompt forgets the line; a second one within a second ends.
chat = Chat()
chat.prompt()
chat.type(b"nonsense")
time.sleep(0.2)
chat.type(b"\x03")
chat.expect(rb"Ctrl-D ends", "Ctrl-C at the prompt")
chat.prompt()
time.sleep(1.1)
chat.type(b"Hello\r")
chat.expect(answer, "after Ctrl-C")
chat.prompt()
chat.type(b"\x03")
chat.expect(rb"Ctrl-D ends", "Ctrl-C again, later")
chat.type(b"\x03")
chat.end(130, "two Ctrl-C")

# Ctrl-C stops an answer and keeps the chat, and what was said. The slowest kernels, so that there is time for it.
chat = Chat("--ignore-eos", HEARTH_CPU="reference")
chat.prompt()
chat.type(b"Tell me a story\r")
chat.expect(rb"story\r\n.*\w+ \w+", "an answer without an end")
chat.type(b"\x03")
chat.expect(rb"stopped\r\n", "Ctrl-C in an answer")
chat.prompt()
time.sleep(1.1)
chat.type(b"/stats\r")
chat.expect(rb"2 messages", "after a stopped answer")
chat.prompt()
chat.type(b"/regen\r")
chat.expect(rb"\w+ \w+ \w+", "an answer once more")
chat.type(b"\x03")
chat.expect(rb"stopped", "Ctrl-C in an answer once more")
chat.type(b"\x03")
chat.end(130, "another Ctrl-C at once")

# Ctrl-C while the terminal takes nothing (Ctrl-S): what is being written is not lost, and is no error.
chat = Chat("--ignore-eos", HEARTH_CPU="reference")
chat.prompt()
chat.type(b"Tell me a story\r")
chat.expect(rb"story\r\n.*\w+ \w+", "an answer to be held")
chat.type(b"\x13")
time.sleep(0.5)
os.kill(chat.pid, signal.SIGINT)
time.sleep(0.5)
chat.type(b"\x11")
chat.expect(rb"stopped\r\n", "SIGINT in a write")
chat.prompt()
chat.end(0, "SIGINT in a write", CTRL_D)

# Ctrl-C at any time, many times: no key is waited for, and none of them ends the program.
chat = Chat()
for i in range(5):
    chat.prompt()
    chat.type(b"Hello there\r")
    time.sleep(0.003 * i)
    chat.type(b"\x03")
    chat.expect(rb"stopped\r\n|Ctrl-D ends", "Ctrl-C number %d" % i)
    time.sleep(1.1)
chat.end(0, "Ctrl-C many times", CTRL_D)

# Suspended and continued.
chat = Chat()
chat.prompt()
os.kill(chat.pid, signal.SIGSTOP)  # Ctrl-Z does nothing where no shell could continue
os.waitpid(chat.pid, os.WUNTRACED)
os.kill(chat.pid, signal.SIGCONT)
time.sleep(0.2)
chat.type(b"Hello\r")
chat.expect(answer, "after a stop")
chat.prompt()
chat.end(0, "suspended and continued", CTRL_D)

# The terminal goes away.
chat = Chat()
chat.prompt()
os.kill(chat.pid, signal.SIGHUP)
chat.end(130, "SIGHUP")

# What a model says cannot steer the terminal: this one is made to say nothing but escape characters.
chat = Chat("--logit-bias", sys.argv[4] + "+1000", "-n", "5")
chat.prompt()
mark = len(chat.out)
chat.type(b"x\r")
chat.expect(rb"after 5 tokens", "an answer of escapes")
if b"\x1b\x1b" in chat.out[mark:]:
    fail("escapes reach the terminal", chat.out[mark:])
chat.prompt()
chat.end(0, "an answer of escapes", CTRL_D)

sys.exit(failures != 0)
PYTHON

# The token of the escape character, and that it is said as it is where there is no terminal.
escape=$(printf '\033' | "$HEARTH" tokenize --ids --no-bos | tr ' ,' '\n\n' | grep . | tail -n 1)
printf 'x\n' | "$HEARTH" chat -q --temp 0 --logit-bias "$escape+1000" -n 5 >"$scratch/said" || true
[ "$(tr -cd '\033' <"$scratch/said" | wc -c)" = 5 ] || {
    echo "FAILED: the model does not say escapes"
    exit 1
}
python3 -u "$scratch/terminal.py" "$HEARTH" "$scratch" "$edits" "$escape"
