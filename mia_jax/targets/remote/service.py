"""A service that is asked: questions split, several in flight, faults outlived, answers kept as they arrive."""

import concurrent.futures
import contextlib
import functools
import math
import queue
import random
import threading
import urllib.parse
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, TypeVar

import numpy as np

from mia_jax.progress import Progress
from mia_jax.targets import answer_format
from mia_jax.targets.answer_store import AnswerStore
from mia_jax.targets.black_box import Budget, TargetError, WrongAnswer
from mia_jax.targets.remote import credentials, earlier, errors, protocols, replies, urls
from mia_jax.targets.remote.asked_twice import PROBE_ROWS, PROBE_TRIES, AskedTwice
from mia_jax.targets.remote.options import Options
from mia_jax.targets.remote.protocols import Codec
from mia_jax.targets.remote.replies import Reading
from mia_jax.types import Answers, InputError

T = TypeVar("T")

LONGEST_WAIT = 30.0  # seconds between two tries, where the service does not ask for more
TOLD_WAIT = 2.0  # seconds; whoever waits longer is told for what
REPLY_BYTES = 16 * 2**20  # of an answer, at most, and for each number that is expected of it
NUMBER_BYTES = 64
LONGEST_LINE = 600  # characters of a message that quotes a service


class Dialect(NamedTuple):
    """How a service is asked and what its replies mean, as the probe found out."""

    codec: Codec
    reading: Reading


class Service:
    """What the threads share: the connections, the pace, the budget, the store, and what was learned.

    Args:
        url: that questions are posted to, resolved.
        protocol: one of ``urls.PROTOCOLS``.
        classes: their number, where that is known.
        names: the classes' names in order, where the service answers with names that are not 0, 1, ...
        budget: every record asked about counts.
        options: how to ask.
        notify: gets a line where the service is waited for.

    Attributes:
        store: where answers are put; None while nothing is known of them.
        dialect: None until the first probe, which a cache may spare.
        twice: what came of asking some records twice.
        beside: the names of the labels beside the records, which may be those of the classes.
    """

    store: AnswerStore | None = None
    dialect: Dialect | None = None
    beside: tuple[str, ...] = ()

    def __init__(
        self,
        url: str,
        protocol: str,
        *,
        classes: int | None,
        names: Sequence[str] | None,
        budget: Budget,
        options: Options,
        notify: Callable[[str], None],
    ):
        try:
            from mia_jax.targets.remote.transport import Transport
        except ImportError:
            raise InputError("a remote target needs httpx: pip install 'mia-jax[remote]'") from None
        headers = credentials.from_environment()
        host = urllib.parse.urlsplit(url).hostname
        if headers and url.startswith("http:") and host not in ("localhost", "127.0.0.1", "::1"):
            warnings.warn(f"credentials are sent to {host} in clear text: use https", stacklevel=4)
        self.url, self.shown, self.protocol = url, urls.public(url), protocol
        self.classes, self.names, self.budget, self.options = classes, names, budget, options
        self._transport = Transport(url, headers, budget, options, notify)
        self.notify, self._lock = notify, threading.Lock()
        self._most = math.inf  # records of a request that are all answered, where some were not
        self.twice = AskedTwice(self)

    def __repr__(self) -> str:
        return f"<service {self.shown}, {self.protocol}>"

    def show(self, text: str) -> str:
        """A line about the service as it may be shown."""
        return f"{self.shown}: {self._transport.show(text, LONGEST_LINE)}"

    def known(self) -> Dialect:
        """The dialect, of a service that was probed."""
        assert self.dialect is not None, "the probe comes first"
        return self.dialect

    # A question.

    def ask(
        self, store: AnswerStore, x: np.ndarray, rows: np.ndarray, keys: Sequence[bytes], progress: Progress
    ) -> None:
        """Ask about ``rows`` of x [n, *f], whose keys these are, and put the answers into the store as they arrive.

        Raises:
            BudgetSpent: before the budget is passed.
            TargetError: the service refuses, or its answers are none.
        """
        self.store = store
        self.budget.allow(len(rows))
        if self.dialect is None:  # the cache knew what the answers are, but not how to ask
            p = self.probe(x[rows[:PROBE_ROWS]], rows[:PROBE_ROWS])
            self._compare(store.answers)
            store.put(keys[:PROBE_ROWS], answer_format.exact(p))
            rows, keys = rows[PROBE_ROWS:], keys[PROBE_ROWS:]
        step = self.step(self.known().codec, x)
        parts: queue.SimpleQueue = queue.SimpleQueue()
        stop, kept = threading.Event(), len(store)
        first = step if self.twice.is_larger(min(step, len(rows)), len(rows)) else 0
        for i in range(first, len(rows), step):
            parts.put((rows[i : i + step], keys[i : i + step]))

        def work() -> None:  # part after part: a future for each costs as much as checking its answers
            with contextlib.suppress(queue.Empty):
                while not stop.is_set():
                    self._finish(store, x, *parts.get_nowait(), stop)

        pool = concurrent.futures.ThreadPoolExecutor(self.options.in_flight, "mia-jax-remote")
        with progress(f"asking {self.shown}", len(rows)) as advance:
            try:
                if first:
                    ask_first = functools.partial(self._finish, x=x, rows=rows[:first], keys=keys[:first], stop=stop)
                    self.twice.large(ask_first, store, x[rows[:first]], keys[:first])
                left = {pool.submit(work) for _ in range(min(self.options.in_flight, parts.qsize()))}
                while left:  # now and then, not at each answer: waking up for each costs a tenth of the throughput
                    done, left = concurrent.futures.wait(left, 0.2, concurrent.futures.FIRST_EXCEPTION)
                    for future in done:
                        future.result()
                    before, kept = kept, len(store)
                    advance(kept - before)
            finally:
                stop.set()
                pool.shutdown(wait=True)  # what is in flight still lands in the store

    def ask_again(self, x: np.ndarray, rows: np.ndarray, parts: int, retries: int | None = None) -> np.ndarray:
        """What the service answers now about ``rows`` of x, log-probabilities [len(rows), c]; nothing is kept."""
        if self.dialect is None:
            p = self.probe(x[rows], rows)
            if self.store is not None:
                self._compare(self.store.answers)
            return answer_format.exact(p)
        codec, reading = self.dialect
        step, stop = min(self.step(codec, x), -(-len(rows) // parts)), threading.Event()
        answers = reading.answers if self.store is None else self.store.answers
        retries = self.options.retries if retries is None else retries

        def ask(part: np.ndarray) -> np.ndarray:
            reply = self._ask_once(codec, x[part], stop)
            p = self._understood(replies.read, reply, len(part), reading)
            for row, reason in answer_format.faults(p, answers).items():
                raise errors.Passing(WrongAnswer(int(part[row]), reason))
            return answer_format.exact(p)

        pieces = [rows[i : i + step] for i in range(0, len(rows), step)]
        return np.concatenate([self._insist(functools.partial(ask, piece), retries, stop) for piece in pieces])

    def _compare(self, then: Answers) -> None:
        """Is this still the service whose answers the cache holds?"""
        reading = self.known().reading
        now = reading.answers
        if now.classes != then.classes or (reading.form == "labels" and then.kind != "labels"):
            raise InputError(
                f"{self.shown} answers with {now.kind} of {now.classes} classes, and the cache holds {then.kind} of"
                f" {then.classes}: {earlier.ANEW}"
            )

    def step(self, codec: Codec, x: np.ndarray) -> int:
        """How many of the records x [n, *f] a request holds: as many as rows and bytes allow."""
        size = len(codec.encode(x[:8])) / min(8, len(x))
        fit = int(self.options.max_bytes / size)
        return max(1, min(self.options.rows_per_request, fit, codec.max_rows or fit))

    def _finish(
        self, store: AnswerStore, x: np.ndarray, rows: np.ndarray, keys: Sequence[bytes], stop: threading.Event
    ) -> None:
        """Ask until each of ``rows`` has an answer in the store."""
        codec, reading = self.known()
        left, asked = list(keys), rows  # of those without an answer so far
        short = None  # (records asked about, answers) of the try before, where these were too few

        def once() -> None:
            nonlocal left, asked, short
            if len(asked) > self._most:  # another part found out
                raise errors.TooLarge
            reply = self._ask_once(codec, x[asked], stop)
            if len(reply) < len(asked):
                before, short = short, (len(asked), len(reply))
                self._too_few(*short, again=short == before)
            p = self._understood(replies.read, reply, len(asked), reading)
            wrong = answer_format.faults(p, store.answers)
            if not wrong:
                store.put(left, answer_format.exact(p))
                return
            good = [i for i in range(len(left)) if i not in wrong]
            store.put([left[i] for i in good], answer_format.exact(p[good]))
            left, asked = [left[i] for i in wrong], asked[list(wrong)]  # only they are asked again
            raise errors.Passing(WrongAnswer(int(asked[0]), next(iter(wrong.values()))))

        try:
            self._insist(once, self.options.retries, stop)
        except errors.Stopped:
            pass
        except errors.TooLarge:
            half = len(left) // 2
            self._finish(store, x, asked[:half], left[:half], stop)
            self._finish(store, x, asked[half:], left[half:], stop)
        except BaseException:
            stop.set()  # here, for this thread would begin the next part before anybody heard of it
            raise

    def _too_few(self, asked: int, answered: int, *, again: bool) -> None:
        """A request has brought fewer answers than records: an accident, or all that this service answers at once."""
        if not again:
            raise errors.Passing(errors.numbers(asked, answered), spoken=True)
        if asked == 1:
            raise TargetError(
                self._line(
                    f"it gave {answered} answers to a request of one record, twice in a row, and no smaller"
                    " number of rows per request can help: mend the service"
                )
            )
        with self._lock:
            first, self._most = self._most == math.inf, min(self._most, asked // 2)
        if first:
            self.notify(
                f"{self.shown}: {errors.numbers(asked, answered)}, twice in a row; asking about fewer at a time"
                f" (`rows_per_request={max(1, answered)}` does so from the beginning)"
            )
        raise errors.TooLarge

    # The probe.

    def probe(self, x: np.ndarray, rows: np.ndarray) -> np.ndarray:
        """Find the dialect that the service understands and what it answers; returns its answers to x [b, c].

        Raises:
            TargetError: no dialect is understood. The reason given is that of the first, as a rule.
        """
        refusals = []
        for codec in protocols.dialects(self.protocol, self.url, self._metadata()):
            try:
                return self._probe(codec, x, rows)
            except errors.TooLarge:
                raise TargetError(
                    f"{self.shown}: HTTP 413 for {min(len(x), self.step(codec, x))} records in a request; send fewer"
                    " at a time (`rows_per_request`)"
                ) from None
            except errors.Refused as error:
                refusals.append(error)
        # Open Inference servers refuse the name of an output that they have not: what they answer without tells more.
        told = [each for each in refusals if each.answered and self.protocol == "oip"]
        refusal = str((told or refusals)[0])
        raise TargetError(refusal + errors.sent(refusal, x.shape[1:])) from None

    def _probe(self, codec: Codec, x: np.ndarray, rows: np.ndarray) -> np.ndarray:
        reply: list[Any] = [None] * len(x)
        step, stop = self.step(codec, x), threading.Event()
        todo: Sequence[int] = range(len(x))
        said = ""

        def fetch(part: Sequence[int]) -> None:
            nonlocal said
            some = self._ask_once(codec, x[list(part)], stop)
            if len(some) != len(part):
                raise errors.Refused(self._line(errors.of_another_number(len(part), some)))
            said = getattr(some, "said", said)  # of ``answer_keys.Noted``
            for row, element in zip(part, some, strict=True):
                reply[row] = element

        def once() -> np.ndarray:
            nonlocal todo
            for i in range(0, len(todo), step):
                self._insist(functools.partial(fetch, todo[i : i + step]), PROBE_TRIES, stop)
            todo = range(len(x))
            reading = self._understood(replies.learn, reply, self.classes, self.names, self.beside)
            p = self._understood(replies.read, reply, len(x), reading)
            wrong = answer_format.faults(p, reading.answers)
            todo = list(wrong)
            if wrong:
                raise errors.Passing(WrongAnswer(int(rows[todo[0]]), wrong[todo[0]]))
            self.dialect = Dialect(codec, reading)
            if said:
                self.notify(self.show(said))
            return p

        return self._insist(once, PROBE_TRIES, stop)

    def _metadata(self) -> Mapping[str, Any]:
        """What an Open Inference server says of the model. Not a query, and nothing hangs on it."""
        if self.protocol == "oip" and (body := self._transport.get(urls.metadata_url(self.url))):
            with contextlib.suppress(ValueError, RecursionError):
                if isinstance(value := protocols.loads(body), dict):
                    return value
        return {}

    # A request.

    def _insist(self, once: Callable[[], T], retries: int, stop: threading.Event) -> T:
        """Call ``once`` until it raises no passing fault; later each time."""
        tries, arrived, waited = 0, self._arrived(), 0.0
        while True:
            try:
                return once()
            except errors.Passing as fault:
                further, arrived = self._arrived() > arrived, self._arrived()
                # A service that limits its rate but does answer is waited for as long as it does.
                tries = 1 if fault.limited and further else tries + 1
                waited = fault.wait + (0.0 if further else waited)
                if waited > self.options.patience:
                    raise TargetError(
                        self._line(f"it asks to wait {fault.wait:,.0f} s; run the same again then")
                    ) from None
                if tries > retries:
                    self._give_up(fault, tries)
                pause = min(LONGEST_WAIT, self.options.backoff * 2 ** (tries - 1)) * random.uniform(0.5, 1.0)
                if (wait := max(pause, fault.wait)) >= TOLD_WAIT:
                    why = ", as it asks for" if fault.wait > pause else ""
                    self._transport.tell(
                        f"{fault.words}; waiting {wait:,.0f} s{why}, then try {tries + 1} of {retries + 1}", wait
                    )
                if fault.wait:
                    self._transport.hold(fault.wait)
                if stop.wait(pause):
                    raise errors.Stopped from None

    def _give_up(self, fault: errors.Passing, tries: int) -> None:
        if isinstance(fault.reason, WrongAnswer):
            line = self._line(f"{fault.reason.reason}, {tries} times")
            raise WrongAnswer(fault.reason.record, line) from None
        line = f"{fault.reason}, {tries} times in a row"
        if fault.spoken:
            raise errors.Refused(self._line(line)) from None
        if fault.closed and self.dialect is None:
            raise errors.Refused(self._line(f"{line}: its log may say why")) from None
        raise TargetError(self._line(f"{line}: is it running? The same again goes on where this stopped")) from None

    def _arrived(self) -> int:
        return 0 if self.store is None else len(self.store)

    def _ask_once(self, codec: Codec, x: np.ndarray, stop: threading.Event) -> replies.Reply:
        """One request. Raises Passing, TooLarge or Stopped, or a TargetError where no further try can help."""
        body = codec.encode(x)
        if len(body) > self.options.max_bytes and len(x) > 1:
            raise errors.TooLarge
        expected = 0 if self.store is None else NUMBER_BYTES * len(x) * self.store.answers.classes
        content = self._transport.post(body, codec.headers, len(x), REPLY_BYTES + expected, stop)
        return self._understood(codec.decode, content, len(x), said=content)

    def _understood(self, function: Callable[..., T], *arguments: Any, said: bytes = b"") -> T:
        """Call what reads a reply, whatever that holds."""
        try:
            return function(*arguments)
        except TargetError as error:
            if isinstance(error, replies.Unknown) and not (said and self.dialect):  # else it answered well before
                raise errors.Refused(self.show(str(error)), answered=True) from None
            raise errors.Passing(self._transport.show(str(error), LONGEST_LINE), spoken=True) from None
        except InputError as error:
            raise InputError(self._transport.show(str(error), LONGEST_LINE)) from None
        except Exception:  # whatever odd values make of JSON readers and NumPy
            if said and not self.dialect and (unknown := protocols.outline(said)):
                raise errors.Refused(self.show(f"its answer is of a form that is not known, {unknown}")) from None
            text = self._transport.show(said[:4096].decode("utf-8", "replace"))
            raise errors.Passing(f"the answer cannot be read{': ' * bool(text)}{text}", spoken=True) from None

    def _line(self, reason: str) -> str:
        kept = self._arrived()
        where = "" if self.store is None or self.store.path is None else f" in {self.store.path}"
        return f"{self.shown}: {reason}" + (f" ({kept:,} answers are kept{where})" if kept else "")
