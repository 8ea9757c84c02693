"""An invented cohort with the truth known: people, places, buses, and all that goes wrong.

From a seed. Each person lives some days of visits; from the truth come scans as units would make
them: exits that nobody scanned, clocks a little or wholly wrong, cards on the way in and phones on
the way out. What the desk makes of the scans is then held against the truth.
"""

import random
import uuid
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field

from edge.messages import DocumentKind
from edge.register import Place, Register, Vehicle
from edge.tracing.answers import Certainty
from edge.tracing.index import Index
from edge.tracing.persons import Opened
from edge.tracing.places import DAY, HOUR, LOCAL_MS, MINUTE, Places
from edge.tracing.questions import MINIMUM_MS, Questions
from edge.tracing.tokens import Token
from edge.tracing.visits import Bound, Direction, Quality, Sighting
from tests.tracing.desk import TOKENS, at

KINDS = ("market", "station", "office", "food", "bar", "mall", "school", "gym")
TRIP_MS = 40 * MINUTE


@dataclass(frozen=True)
class World:
    """How large the cohort is, and how bad the field."""

    seed: int = 1
    people: int = 150
    days: int = 21
    places: int = 12
    buses: int = 3
    missed_exits: float = 0.25
    missed_entries: float = 0.03
    #: Share of unit-days on which the clock was not set; most are corrected later.
    unset_clocks: float = 0.05
    never_corrected: float = 0.1
    clock_error_s: float = 20.0


@dataclass
class TrueVisit:
    """What really was, and which scans tell of it."""

    person: int
    place: str
    trip: str
    start: int
    end: int
    entry: Opened | None = None
    exit: Opened | None = None
    #: Whether the scans hold its interval: both ends, at known times.
    contained: bool = False


@dataclass
class Cohort:
    """The people of a world, with all that they did."""

    world: World
    places: Places
    visits: list[TrueVisit] = field(default_factory=list)
    scans: list[Opened] = field(default_factory=list)
    #: What storage gives later: the same scans at their corrected times.
    corrections: list[Opened] = field(default_factory=list)


def make_cohort(world: World) -> Cohort:
    """The cohort of *world*; the same for the same seed."""
    rng = random.Random(world.seed)
    register = [
        Place(id=f"noi-{n}", name=f"Nơi {n}", kind=KINDS[n % len(KINDS)])
        for n in range(world.places)
    ] + [
        Place(id=f"xe-{n}", name=f"Xe {n}", kind="vehicle", vehicle=Vehicle(plate=f"81B-{n:05}"))
        for n in range(world.buses)
    ]
    cohort = Cohort(world, Places(Register(places=tuple(register))))
    unset = {
        (place.id, day): rng.random() >= world.never_corrected
        for place in register
        for day in range(world.days)
        if rng.random() < world.unset_clocks
    }
    for person in range(world.people):
        for day in range(world.days):
            for visit in _a_day(rng, world, person, day):
                _scan(rng, cohort, visit, unset.get((visit.place, day)))
                cohort.visits.append(visit)
    rng.shuffle(cohort.scans)
    return cohort


def index_cohort(cohort: Cohort, index: Index, batch: int = 1000) -> None:
    """Let the desk take it all in, corrections last."""
    for scans in (cohort.scans, cohort.corrections):
        for start in range(0, len(scans), batch):
            index.add(scans[start : start + batch], str(start))


#: Who with whom, at which place, on which local day.
Met = tuple[int, int, str, int]


@dataclass(frozen=True)
class Score:
    """The overlap answers for everybody against the truth.

    By meetings: two persons at one place on one day.
    """

    contained: int  #: meetings of which both visits are whole in the scans
    found_of_contained: int
    met: int  #: meetings that really were, whatever was scanned
    found_of_met: int
    found: int  #: meetings that the desk tells of
    true_of_found: int
    sure: int  #: of these, by scanned ends alone
    true_of_sure: int

    @property
    def recall(self) -> float:
        """On what the scans contain."""
        return self.found_of_contained / max(1, self.contained)

    @property
    def recall_of_all(self) -> float:
        """On what really was."""
        return self.found_of_met / max(1, self.met)

    @property
    def precision(self) -> float:
        """Of all that is told."""
        return self.true_of_found / max(1, self.found)

    @property
    def precision_of_sure(self) -> float:
        """Of what is told as scanned."""
        return self.true_of_sure / max(1, self.sure)


def score(cohort: Cohort, questions: Questions) -> Score:
    """Ask who overlapped everybody, and compare."""
    since, until = _span(cohort)
    group_of = _groups(cohort, questions)
    owner = {
        group_of[scan.sighting.scan]: visit.person
        for visit in cohort.visits
        for scan in (visit.entry, visit.exit)
        if scan is not None
    }
    contained = _meetings(
        [
            (group_of[visit.entry.sighting.scan], visit)
            for visit in cohort.visits
            if visit.contained
            and visit.entry is not None
            and visit.exit is not None
            and group_of[visit.entry.sighting.scan] == group_of[visit.exit.sighting.scan]
        ],
        cohort.places,
        slack=0,
    )
    everybody = [(visit.person, visit) for visit in cohort.visits]
    met = _meetings(everybody, cohort.places, slack=0)
    # What the desk tells may be as much too long as clocks may be wrong.
    near = _meetings(everybody, cohort.places, slack=4 * MINUTE)
    found: set[Met] = set()
    told: set[Met] = set()
    sure: set[Met] = set()
    for group, person in sorted(owner.items()):
        for contact in questions.overlaps(group, since, until):
            for meeting in contact.meetings:
                where = (meeting.place, (meeting.start + LOCAL_MS) // DAY)
                told.add((group, contact.person, *where))
                if person != owner[contact.person]:
                    found.add((person, owner[contact.person], *where))
                    if meeting.certainty is Certainty.SCANNED:
                        sure.add((person, owner[contact.person], *where))
    return Score(
        contained=len(contained),
        found_of_contained=len(contained & told),
        met=len(met),
        found_of_met=len(met & found),
        found=len(found),
        true_of_found=len(found & near),
        sure=len(sure),
        true_of_sure=len(sure & near),
    )


def unmarked(cohort: Cohort, questions: Questions) -> int:
    """Ends of visits that no scan tells of and that do not say so: there must be none."""
    since, until = _span(cohort)
    times = {scan.sighting.scan: scan.sighting.time for scan in cohort.scans}
    times |= {scan.sighting.scan: scan.sighting.time for scan in cohort.corrections}
    wrong = 0
    for person in set(_groups(cohort, questions).values()):
        for stay in questions.where(person, since, until):
            for bound, scan, time in (
                (stay.start_bound, stay.entry, stay.start),
                (stay.end_bound, stay.exit, stay.end),
            ):
                if bound in (Bound.SCANNED, Bound.INFERRED) and times.get(scan) != time:
                    wrong += 1
    return wrong


def _span(cohort: Cohort) -> tuple[int, int]:
    return at("00:00", 1) - DAY, at("00:00", 1) + (cohort.world.days + 1) * DAY


def _groups(cohort: Cohort, questions: Questions) -> dict[bytes, int]:
    """The person of the index that each scan belongs to."""
    known: dict[bytes, int] = {}
    found = {}
    for scan in cohort.scans:
        token = scan.tokens[0].value
        if token not in known:
            (known[token],) = questions.persons([token])
        found[scan.sighting.scan] = known[token]
    return found


def _meetings(visits: list[tuple[int, TrueVisit]], places: Places, slack: int) -> set[Met]:
    """Who was with whom for long enough, less *slack*."""
    there: dict[tuple[str, str, int], list[tuple[int, TrueVisit]]] = defaultdict(list)
    for who, visit in visits:
        for day in range(visit.start // DAY, visit.end // DAY + 1):
            there[visit.place, visit.trip, day].append((who, visit))
    pairs = set()
    for (place, _, _), present in there.items():
        minimum = (1 if places.facts(place).vehicle else MINIMUM_MS) - slack
        present.sort(key=lambda item: item[1].start)
        for position, (who, visit) in enumerate(present):
            for other, later in present[position + 1 :]:
                if later.start >= visit.end + slack:
                    break
                together = min(visit.end, later.end) - later.start
                if who != other and together >= minimum:
                    met_on = (place, (later.start + LOCAL_MS) // DAY)
                    pairs |= {(who, other, *met_on), (other, who, *met_on)}
    return pairs


def _a_day(rng: random.Random, world: World, person: int, day: int) -> Iterator[TrueVisit]:
    """The visits of one person on one day, one after another."""
    time = at("05:30", 1) + day * DAY + rng.randrange(4 * HOUR)
    for _ in range(rng.choice([0, 1, 2, 2, 3])):
        if rng.random() < 0.5:
            departs = (time // HOUR + 1) * HOUR
            boards = departs + rng.randrange(TRIP_MS // 2)
            leaves = min(departs + TRIP_MS, boards + rng.randrange(3, 35) * MINUTE)
            trip = f"t{departs // HOUR % 24:02}00"
            yield TrueVisit(person, f"xe-{rng.randrange(world.buses)}", trip, boards, leaves)
            time = leaves + rng.randrange(1, 15) * MINUTE
        # Some places are everybody's.
        place = min(rng.randrange(world.places), rng.randrange(world.places))
        stays = rng.randrange(5, 150) * MINUTE + rng.randrange(MINUTE)
        yield TrueVisit(person, f"noi-{place}", "", time, time + stays)
        time += stays + rng.randrange(5, 90) * MINUTE
        if time > at("21:00", 1) + day * DAY:
            return


def _scan(rng: random.Random, cohort: Cohort, visit: TrueVisit, corrected: bool | None) -> None:
    """Make its scans. *corrected*: of a unit without a set clock, whether it was set later."""
    world = cohort.world
    vehicle = bool(visit.trip)
    if rng.random() >= world.missed_entries:
        direction = Direction.BOTH if vehicle else Direction.IN
        visit.entry = _show(rng, cohort, visit, visit.start, direction, corrected)
    if rng.random() >= world.missed_exits:
        direction = Direction.BOTH if vehicle else Direction.OUT
        visit.exit = _show(rng, cohort, visit, visit.end, direction, corrected)
    # At a door for both directions a lone scan is an entry, whatever it was: that both are there
    # does not say that both were understood, but the desk has what it needs.
    visit.contained = bool(visit.entry and visit.exit) and corrected is not False


def _show(
    rng: random.Random,
    cohort: Cohort,
    visit: TrueVisit,
    time: int,
    direction: Direction,
    corrected: bool | None,
) -> Opened:
    world = cohort.world
    error = max(-55.0, min(55.0, rng.gauss(0, world.clock_error_s)))
    time += round(error * 1000) // 2
    scan = uuid.UUID(int=rng.getrandbits(128)).bytes

    def shown(at_: int, quality: Quality) -> Opened:
        sighting = Sighting(
            at_, visit.place, direction, visit.trip, quality, time + rng.randrange(HOUR), scan
        )
        return Opened(tokens, None, f"u-{visit.place}", document, sighting)

    document, tokens = _document(rng, visit.person)
    if corrected is None:
        opened = shown(time, Quality.SYNCED)
    else:
        opened = shown(time - rng.randrange(MINUTE, 12 * HOUR), Quality.UNSYNCED)
        if corrected:
            cohort.corrections.append(shown(time, Quality.CORRECTED))
    cohort.scans.append(opened)
    return opened


def _document(rng: random.Random, person: int) -> tuple[DocumentKind, tuple[Token, ...]]:
    pin = TOKENS.token("pin", f"0641900{person:05}")
    qid = TOKENS.token("qid", f"16990000{person:010}")
    bhyt = TOKENS.token("bhyt", f"{person:010}")
    choices: list[tuple[DocumentKind, tuple[Token, ...]]] = [
        ("cccd", (pin,)),
        ("can_cuoc", (pin,)),
        ("qrqg", (pin, bhyt, qid)),
        ("qrqg", (qid,)),  # masked
        ("bhyt", (bhyt,)),
    ]
    # Most people show one document; some whatever is at hand.
    if person % 3:
        return choices[person % 5]
    return rng.choice(choices)
