//! Pure: what calls came to, for calls that would come to the same.
//!
//! A call is told its event by a few functions of ours and by nothing else, and nothing of an
//! earlier call is left in its realm. So what comes of it hangs on what it read, unless it asked
//! for the time, for chance or for a key value store; then nothing is kept of it. What was read is
//! compared octet by octet. A result is used once two calls came to it, and every some thousand
//! times the code is asked again: code for which that shows a difference is never remembered any
//! more. (Code may catch that it ran out of stack or memory, which no event says.)

use std::collections::{HashMap, VecDeque};
use std::rc::Rc;

use super::reads::{Read, write_key};
use super::told::Told;
use super::weight;
use crate::functions::event::{Event, Place, Remembered, Returned};
use crate::functions::rules::{self, Change, Invalid, url};

/// Code that reads in more ways than so many is remembered for the first of them.
const WAYS_MAX: usize = 8;
/// Functions, each place for itself, of which something is kept.
const FUNCTIONS_MAX: usize = 1_024;
/// Of so many they are looked through one by one, which costs less than hashing does.
const FEW: usize = 4;
/// Octets of what a call may have read.
const KEY_MAX: usize = 8 << 10;
const ENTRIES_MAX: usize = 65_536;
/// What an entry takes beside its key and its result.
const OVERHEAD: usize = 256;
/// A result is compared with a new one before its first use and after every so many.
const COMPARED: u32 = 4_096;
/// After so many calls it is looked at whether remembering is worth its while.
const WINDOW: u32 = 4_096;
/// It is not where less than one call of so many was remembered; it rests for `REST` calls then.
const WORTH: u32 = 8;
const REST: u32 = 65_536;
/// Entries in use that are passed over, where one has to go.
const CHANCES_MAX: usize = 8;

/// What is kept of a call.
#[derive(Debug, PartialEq)]
enum Outcome {
    /// What the rules made of it, which hangs on nothing else.
    Judged(Change),
    /// What came back: the rules compare it with what only they look at.
    Returned(Returned),
}

/// A result, as if the code had been asked.
pub struct Recalled {
    pub judged: Result<Change, Invalid>,
    /// Of the call that it is from.
    pub utilisation: u8,
}

struct Entry {
    /// Which of the functions it is of.
    at: usize,
    outcome: Outcome,
    utilisation: u8,
    uses: u32,
    /// Another call came to it, too.
    is_confirmed: bool,
    /// Since it was last passed over.
    is_used: bool,
    octets: usize,
}

/// What is known of a function at one of its places.
struct Known {
    digest: [u8; 32],
    place: Place,
    /// What its calls read, each way once.
    ways: Vec<Box<[Read]>>,
    /// Ways that were forgotten: none gets the number of another.
    forgotten: usize,
    /// Within the window.
    calls: u32,
    found: u32,
    /// Calls for which it still rests.
    rest: u32,
    is_given_up: bool,
    kept: Remembered,
}

impl Known {
    fn new(digest: [u8; 32], place: Place) -> Self {
        Self {
            digest,
            place,
            ways: Vec::new(),
            forgotten: 0,
            calls: 0,
            found: 0,
            rest: 0,
            is_given_up: false,
            kept: Remembered::default(),
        }
    }

    const fn is_awake(&self) -> bool {
        self.rest == 0 && !self.is_given_up
    }

    // Counts a call; says whether it is looked for.
    fn begins(&mut self) -> bool {
        if self.rest > 0 {
            self.rest -= 1;
            return false;
        }
        self.calls += 1;
        if self.calls > WINDOW {
            if self.found < WINDOW / WORTH {
                self.rest = REST;
                // Viewers may have led the code to ways that nobody goes again.
                self.forgotten += self.ways.len();
                self.ways.clear();
                self.kept.rests += 1;
            }
            (self.calls, self.found) = (0, 0);
        }
        self.is_awake()
    }
}

/// One core's results.
pub struct Memo {
    /// Octets that may be kept.
    most: usize,
    entries: HashMap<Rc<[u8]>, Entry, foldhash::fast::RandomState>,
    /// The keys, the next that goes first.
    order: VecDeque<Rc<[u8]>>,
    octets: usize,
    functions: Vec<Known>,
    /// Where each of them is.
    places: HashMap<([u8; 32], Place), usize, foldhash::fast::RandomState>,
    /// These are used again by each call.
    key: Vec<u8>,
    told: Told,
}

impl Memo {
    /// An empty one of so many octets at most; of none, it keeps nothing.
    pub fn new(most: usize) -> Self {
        Self {
            most,
            entries: HashMap::default(),
            order: VecDeque::new(),
            octets: 0,
            functions: Vec::new(),
            places: HashMap::default(),
            key: Vec::new(),
            told: Told::default(),
        }
    }

    /// What a call came to that read the same, if it is known.
    pub fn recall(&mut self, digest: &[u8; 32], event: &Event<'_>) -> Option<Recalled> {
        let at = self.find(digest, event.place)?;
        let Self { entries, functions, key, told, .. } = self;
        let known = &mut functions[at];
        if !known.begins() {
            return None;
        }
        let mut is_told = false;
        for (way, reads) in known.ways.iter().enumerate() {
            // What each call is told needs no copy.
            if !reads.is_empty() && !is_told {
                told.fill(event);
                is_told = true;
            }
            begin_key(key, at, known.forgotten + way);
            write_key(key, event, told, reads);
            let Some(entry) = entries.get_mut(key.as_slice()) else { continue };
            entry.is_used = true;
            if !entry.is_confirmed {
                return None;
            }
            entry.uses = entry.uses.wrapping_add(1);
            if entry.uses.is_multiple_of(COMPARED) {
                entry.is_confirmed = false;
                return None;
            }
            let judged = entry.outcome.judged(event)?;
            known.found += 1;
            return Some(Recalled { judged, utilisation: entry.utilisation });
        }
        None
    }

    /// Keeps what a call came to, which read this of what it was told.
    pub fn remember(
        &mut self,
        (digest, event): (&[u8; 32], &Event<'_>),
        (told, reads): (&Told, &[Read]),
        returned: &Returned,
        utilisation: u8,
    ) {
        if self.most == 0 {
            return;
        }
        let at = match self.find(digest, event.place) {
            Some(at) => at,
            None if self.functions.len() < FUNCTIONS_MAX => {
                let at = self.functions.len();
                self.functions.push(Known::new(*digest, event.place));
                self.places.insert((*digest, event.place), at);
                at
            }
            None => return,
        };
        let known = &mut self.functions[at];
        if !known.is_awake() {
            return;
        }
        let way = match known.ways.iter().position(|way| **way == *reads) {
            Some(way) => way,
            None if known.ways.len() < WAYS_MAX => {
                known.ways.push(reads.into());
                known.ways.len() - 1
            }
            None => return,
        };
        begin_key(&mut self.key, at, known.forgotten + way);
        write_key(&mut self.key, event, told, reads);
        if self.key.len() > KEY_MAX {
            return;
        }
        let Some(outcome) = Outcome::of(event, returned) else { return };
        match self.entries.get_mut(self.key.as_slice()) {
            Some(entry) if entry.outcome == outcome => entry.is_confirmed = true,
            Some(_) => {
                known.is_given_up = true;
                known.kept.differences += 1;
            }
            None => self.keep(at, outcome, utilisation),
        }
    }

    /// What is kept of a function, at both of its places.
    pub fn kept(&self, digest: &[u8; 32]) -> Remembered {
        let mut all = Remembered::default();
        let both = [Place::ViewerRequest, Place::ViewerResponse];
        for known in both.iter().filter_map(|place| self.functions.get(self.find(digest, *place)?))
        {
            all.results += known.kept.results;
            all.octets += known.kept.octets;
            all.rests += known.kept.rests;
            all.differences += known.kept.differences;
        }
        all
    }

    fn find(&self, digest: &[u8; 32], place: Place) -> Option<usize> {
        if self.functions.len() > FEW {
            return self.places.get(&(*digest, place)).copied();
        }
        self.functions.iter().position(|known| known.digest == *digest && known.place == place)
    }

    // Under the key that is written.
    fn keep(&mut self, at: usize, outcome: Outcome, utilisation: u8) {
        let octets = self.key.len() + outcome.octets() + OVERHEAD;
        let key: Rc<[u8]> = self.key.as_slice().into();
        let (uses, is_confirmed, is_used) = (0, false, false);
        let entry = Entry { at, outcome, utilisation, uses, is_confirmed, is_used, octets };
        self.entries.insert(Rc::clone(&key), entry);
        self.order.push_back(key);
        self.octets += octets;
        let kept = &mut self.functions[at].kept;
        kept.results += 1;
        kept.octets += octets as u64;
        self.make_room();
    }

    fn make_room(&mut self) {
        let mut chances = CHANCES_MAX;
        while self.octets > self.most || self.entries.len() > ENTRIES_MAX {
            let Some(key) = self.order.pop_front() else { return };
            if chances > 0
                && let Some(entry) = self.entries.get_mut(&*key)
                && entry.is_used
            {
                entry.is_used = false;
                chances -= 1;
                self.order.push_back(key);
                continue;
            }
            if let Some(entry) = self.entries.remove(&*key) {
                self.octets -= entry.octets;
                let kept = &mut self.functions[entry.at].kept;
                kept.results -= 1;
                kept.octets -= entry.octets as u64;
            }
        }
    }
}

fn begin_key(key: &mut Vec<u8>, at: usize, way: usize) {
    key.clear();
    key.extend_from_slice(&at.to_le_bytes());
    key.extend_from_slice(&way.to_le_bytes());
}

impl Outcome {
    // `None` for what the rules refuse: it is to be refused anew each time.
    fn of(event: &Event<'_>, returned: &Returned) -> Option<Self> {
        let stands_alone = match returned {
            Returned::Unchanged => true,
            Returned::Request(out) => {
                let has_fields = out.headers.is_some() || out.changed.is_some();
                !has_fields && out.query.is_none() && out.cookies.is_none()
            }
            Returned::Response(_) => event.place == Place::ViewerRequest,
        };
        if stands_alone {
            return rules::judge(event, returned).ok().map(Self::Judged);
        }
        // What is no number equals nothing, not even itself, and the rules refuse it.
        if let Returned::Response(out) = returned
            && out.status.is_some_and(f64::is_nan)
        {
            return None;
        }
        Some(Self::Returned(returned.clone()))
    }

    // `None` where the code has to be asked after all.
    fn judged(&self, event: &Event<'_>) -> Option<Result<Change, Invalid>> {
        match self {
            Self::Judged(change) => {
                // A query that the code did not read counts for the length of the URL.
                if let Change::Request(request) = change
                    && let Some(uri) = &request.uri
                {
                    url::check_length(uri.len(), event.request.query.map(<[u8]>::len)).ok()?;
                }
                Some(Ok(change.clone()))
            }
            Self::Returned(returned) => Some(rules::judge(event, returned)),
        }
    }

    fn octets(&self) -> usize {
        match self {
            Self::Judged(change) => weight::of_change(change),
            Self::Returned(returned) => weight::of_returned(returned),
        }
    }
}

#[cfg(test)]
mod tests {
    use aws_lc_rs::digest::SHA256;

    use super::super::told::Part;
    use super::*;
    use crate::functions::event::{
        IdFacts, OriginChoice, OriginOverrides, RequestFacts, RequestOut,
    };
    use crate::message::request::Fields;

    const DIGEST: [u8; 32] = [7; 32];

    fn event(uri: &str) -> Event<'_> {
        Event {
            place: Place::ViewerRequest,
            domain_name: None,
            distribution_id: "E1",
            request_id: IdFacts::Text("rid"),
            viewer: "192.0.2.1".parse().unwrap(),
            request: RequestFacts {
                method: "GET",
                uri: uri.as_bytes(),
                query: None,
                fields: Fields::Lines(&[]),
                extra: &[],
            },
            response: None,
            edge: None,
        }
    }

    fn to(uri: &str) -> Returned {
        let out = RequestOut { uri: Some(uri.into()), ..RequestOut::default() };
        Returned::Request(Box::new(out))
    }

    // One call: whether it was remembered; else it comes to this.
    fn call(memo: &mut Memo, uri: &str, reads: &[Read], returned: &Returned) -> bool {
        let event = event(uri);
        if memo.recall(&DIGEST, &event).is_some() {
            return true;
        }
        let mut told = Told::default();
        told.fill(&event);
        memo.remember((&DIGEST, &event), (&told, reads), returned, 3);
        false
    }

    #[test]
    fn a_result_is_used_once_two_calls_came_to_it_and_compared_now_and_then() {
        let mut memo = Memo::new(1 << 20);
        let mut ran = Vec::new();
        for n in 0..=COMPARED + 2 {
            if !call(&mut memo, "/a", &[], &to("/b")) {
                ran.push(n);
            }
        }
        assert_eq!(ran, [0, 1, COMPARED + 1]);
        assert_eq!(memo.recall(&DIGEST, &event("/a")).unwrap().utilisation, 3);
    }

    #[test]
    fn each_of_many_functions_is_found_at_each_of_its_places() {
        let mut memo = Memo::new(16 << 20);
        let digest = |n: usize| aws_lc_rs::digest::digest(&SHA256, &n.to_le_bytes());
        let at = |n: usize| {
            let place =
                if n.is_multiple_of(2) { Place::ViewerRequest } else { Place::ViewerResponse };
            let digest: [u8; 32] = digest(n / 2).as_ref().try_into().unwrap();
            (digest, Event { place, ..event("/a") })
        };
        for n in 0..=FUNCTIONS_MAX {
            let (digest, event) = at(n);
            assert_eq!(memo.find(&digest, event.place), None, "{n}");
            for _ in 0..2 {
                let utilisation = (n % 100) as u8;
                let told = (&Told::default(), &[] as &[Read]);
                memo.remember((&digest, &event), told, &Returned::Unchanged, utilisation);
            }
            let by_hand = |known: &Known| known.digest == digest && known.place == event.place;
            assert_eq!(memo.find(&digest, event.place), memo.functions.iter().position(by_hand));
        }
        assert_eq!(memo.functions.len(), FUNCTIONS_MAX);
        for n in 0..FUNCTIONS_MAX {
            let (digest, event) = at(n);
            let recalled = memo.recall(&digest, &event).unwrap();
            assert_eq!(usize::from(recalled.utilisation), n % 100, "{n}");
            assert_eq!(memo.kept(&digest).results, 2, "{n}: at both places");
        }
        let (digest, event) = at(FUNCTIONS_MAX);
        assert!(memo.recall(&digest, &event).is_none(), "there was no place for it");
    }

    #[test]
    fn ways_that_nobody_goes_again_make_room_for_others() {
        let mut memo = Memo::new(1 << 20);
        for n in 0..WAYS_MAX {
            let reads = [Read::One(Part::Headers, n.to_string().into())];
            call(&mut memo, "/odd", &reads, &to("/odd"));
        }
        let usual = [Read::One(Part::Headers, "0".into()), Read::All(Part::Query)];
        let mut again = || {
            let is_remembered = call(&mut memo, "/a", &usual, &to("/b"));
            (is_remembered, memo.kept(&DIGEST).rests)
        };
        let before = (0..WINDOW).take_while(|_| again() == (false, 0)).count();
        assert!(before < WINDOW as usize, "it rests");
        assert!((0..REST).all(|_| again() == (false, 1)));
        // The last of those was remembered, and this one comes to the same.
        assert_eq!(again(), (false, 1));
        assert_eq!(again(), (true, 1));
        // A number that was another way's is not this one's.
        assert_eq!(memo.functions[0].forgotten, WAYS_MAX);
    }

    #[test]
    fn code_that_comes_to_something_else_is_given_up() {
        let mut memo = Memo::new(1 << 20);
        assert!(!call(&mut memo, "/a", &[], &to("/b")));
        assert!(!call(&mut memo, "/a", &[], &to("/c")));
        for uri in ["/a", "/d"] {
            (0..4).for_each(|_| assert!(!call(&mut memo, uri, &[], &to("/b"))));
        }
        let kept = memo.kept(&DIGEST);
        assert_eq!((kept.results, kept.differences), (1, 1));
    }

    #[test]
    fn ways_of_reading_and_octets_have_a_bound() {
        let mut memo = Memo::new(1 << 20);
        for n in 0..WAYS_MAX + 2 {
            let reads = [Read::One(Part::Headers, n.to_string().into())];
            call(&mut memo, &format!("/{n}"), &reads, &Returned::Unchanged);
        }
        assert_eq!(memo.kept(&DIGEST).results, WAYS_MAX as u64);
        // What one call alone would fill is not kept.
        let mut memo = Memo::new(1 << 10);
        call(&mut memo, "/a", &[], &to(&format!("/{}", "b".repeat(2 << 10))));
        assert_eq!(memo.kept(&DIGEST), Remembered::default());
        let named = |id: String| {
            let choice = OriginChoice::Select { id, overrides: OriginOverrides::default() };
            let out = RequestOut { origin: Some(choice), ..RequestOut::default() };
            Returned::Request(Box::new(out))
        };
        call(&mut memo, "/a", &[], &named("o".repeat(2 << 10)));
        assert_eq!(memo.kept(&DIGEST), Remembered::default(), "an origin has its weight");
        assert!(memo.order.is_empty() && memo.octets == 0);
        call(&mut memo, &"/a".repeat(KEY_MAX), &[], &Returned::Unchanged);
        assert_eq!(memo.kept(&DIGEST), Remembered::default());
    }
}
