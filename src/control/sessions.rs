//! Pure: who has shown the admin token in a browser, and how often somebody may be wrong about it.
//! A session is a random word in a cookie; it ends by its time, by logging out, with the process,
//! or when so many others have begun after it that there is no room.

use std::collections::{HashMap, VecDeque};
use std::net::{IpAddr, Ipv6Addr};
use std::time::Duration;

use aws_lc_rs::constant_time::verify_slices_are_equal;

use crate::base::secret::Secret;
use crate::semantics::time::Timestamp;

/// Sessions at a time.
pub const SESSIONS_MAX: usize = 32;
/// How long one lasts.
pub const LIFE: Duration = Duration::from_secs(12 * 3600);
/// The cookie's name.
pub const COOKIE: &str = "foreshore-session";

/// Wrong tokens of one address within `GUESS_SPAN` at the login.
pub const LOGINS_MAX: u32 = 5;
/// The same of calls that bear one. More, since programs call again by themselves.
pub const BEARERS_MAX: u32 = 20;
pub const GUESS_SPAN: Duration = Duration::from_secs(60);
/// Addresses whose guesses are remembered one by one; the others share one count.
const ADDRESSES_MAX: usize = 1024;

/// Sessions that are open, the oldest first.
#[derive(Default)]
pub struct Sessions {
    open: VecDeque<Session>,
}

struct Session {
    word: Secret<String>,
    until: Timestamp,
}

impl Sessions {
    /// Begins a session under a word that nobody can guess.
    pub fn begin(&mut self, word: Secret<String>, now: Timestamp) {
        self.open.retain(|session| session.until > now);
        if self.open.len() == SESSIONS_MAX {
            self.open.pop_front();
        }
        self.open.push_back(Session { word, until: now.plus(LIFE) });
    }

    /// Says whether this word is that of an open session. All are compared, each in constant time.
    pub fn knows(&self, word: &str, now: Timestamp) -> bool {
        let is_open = |session: &Session| is_same(&session.word, word) && session.until > now;
        self.open.iter().filter(|session| is_open(session)).count() > 0
    }

    /// Ends a session.
    pub fn end(&mut self, word: &str) {
        self.open.retain(|session| !is_same(&session.word, word));
    }
}

fn is_same(known: &Secret<String>, word: &str) -> bool {
    verify_slices_are_equal(known.expose().as_bytes(), word.as_bytes()).is_ok()
}

/// The field that puts a session into a browser. Scripts cannot read it, and no other site can have
/// it sent. Its path is that of the calls: cookies know no ports, and with a wider one it would go to
/// the viewers' ports of the same host, too, and from there to origins and into logs.
pub fn set_cookie(word: &str, is_https: bool) -> String {
    let secure = if is_https { "; Secure" } else { "" };
    let age = LIFE.as_secs();
    format!("{COOKIE}={word}; Path=/v1/; Max-Age={age}; HttpOnly; SameSite=Strict{secure}")
}

/// The field that takes it away again.
pub fn unset_cookie(is_https: bool) -> String {
    let secure = if is_https { "; Secure" } else { "" };
    format!("{COOKIE}=; Path=/v1/; Max-Age=0; HttpOnly; SameSite=Strict{secure}")
}

/// The session's word in a Cookie field.
pub fn word_in(cookies: &str) -> Option<&str> {
    let mut pairs = cookies.split(';').filter_map(|pair| pair.trim().split_once('='));
    pairs.find(|(name, _)| *name == COOKIE).map(|(_, word)| word)
}

/// What a browser says of where a request comes from.
#[derive(Clone, Copy, Default)]
pub struct Provenance<'r> {
    pub origin: Option<&'r str>,
    /// `Sec-Fetch-Site`.
    pub site: Option<&'r str>,
    pub host: Option<&'r str>,
}

impl Provenance<'_> {
    /// Says whether a page of the admin listener itself sent a request that changes something.
    pub fn is_own(&self, is_https: bool) -> bool {
        let scheme = if is_https { "https" } else { "http" };
        let is_own_origin = match (self.origin, self.host) {
            (Some(origin), Some(host)) => {
                let said = origin.strip_prefix(scheme).and_then(|rest| rest.strip_prefix("://"));
                said.is_some_and(|said| said.eq_ignore_ascii_case(host))
            }
            _ => false,
        };
        is_own_origin && self.site.is_none_or(|site| site == "same-origin")
    }

    /// Says whether another site had it sent. A request that only reads may come without an Origin.
    pub fn is_foreign(&self) -> bool {
        self.site.is_some_and(|site| !matches!(site, "same-origin" | "none"))
    }
}

/// What a token that is shown comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trial {
    Right,
    /// After the last wrong one within the span the address has to wait.
    Wrong {
        is_last: bool,
    },
    /// One more wrong one, or one that was not looked at.
    Wait(Duration),
}

/// Wrong tokens of late, by the address that showed them.
pub struct Guesses {
    most: u32,
    of: HashMap<IpAddr, Guess>,
    others: Guess,
}

#[derive(Clone, Copy, Default)]
struct Guess {
    wrong: u32,
    until: Timestamp,
}

impl Guess {
    fn wait(&self, most: u32, now: Timestamp) -> Option<Duration> {
        let is_over = self.wrong < most || self.until <= now;
        (!is_over).then(|| Duration::from_millis(self.until.millis_since(now)))
    }

    fn note(&mut self, now: Timestamp) {
        if self.until <= now {
            *self = Self { wrong: 0, until: now.plus(GUESS_SPAN) };
        }
        self.wrong = self.wrong.saturating_add(1);
    }
}

impl Guesses {
    /// None yet. After so many within the span an address has to wait.
    pub fn at_most(most: u32) -> Self {
        Self { most, of: HashMap::new(), others: Guess::default() }
    }

    /// Judges a token that an address shows. Where the address has to wait, it is not even compared.
    /// It is from this machine itself, where whoever guesses, or has an old token in a script, must
    /// not keep out the operator beside it; and where the address waits for what others showed.
    pub fn judge(
        &mut self,
        address: IpAddr,
        now: Timestamp,
        is_right: impl FnOnce() -> bool,
    ) -> Trial {
        let whose = household(address);
        let wait = self.wait(whose, now);
        if let Some(wait) = wait
            && !address.is_loopback()
            && self.of.contains_key(&whose)
        {
            return Trial::Wait(wait);
        }
        if is_right() {
            return Trial::Right;
        }
        self.note(whose, now);
        match wait {
            Some(wait) => Trial::Wait(wait),
            None => Trial::Wrong { is_last: self.wait(whose, now).is_some() },
        }
    }

    // How long an address has to wait before it may show a token again; `None` for not at all.
    fn wait(&self, address: IpAddr, now: Timestamp) -> Option<Duration> {
        match self.of.get(&address) {
            Some(guess) => guess.wait(self.most, now),
            None if self.of.len() < ADDRESSES_MAX => None,
            None => self.others.wait(self.most, now),
        }
    }

    // Notes that an address showed a wrong one.
    fn note(&mut self, address: IpAddr, now: Timestamp) {
        if self.of.len() == ADDRESSES_MAX {
            self.of.retain(|_, guess| guess.until > now);
        }
        if self.of.len() < ADDRESSES_MAX || self.of.contains_key(&address) {
            self.of.entry(address).or_default().note(now);
        } else {
            self.others.note(now);
        }
    }
}

// Who has one address of IPv6 has 2^64 of them.
fn household(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(_) => address,
        IpAddr::V6(v6) if v6.is_loopback() => address,
        IpAddr::V6(v6) => Ipv6Addr::from_bits(v6.to_bits() & !u128::from(u64::MAX)).into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_secs(1_800_000_000);

    fn word(at: usize) -> Secret<String> {
        Secret::new(format!("word-{at}"))
    }

    #[test]
    fn a_session_ends_by_its_time_by_logging_out_and_for_want_of_room() {
        let mut sessions = Sessions::default();
        sessions.begin(word(0), NOW);
        assert!(sessions.knows("word-0", NOW) && !sessions.knows("word-1", NOW));
        assert!(!sessions.knows("", NOW) && !sessions.knows("word-", NOW));
        assert!(!sessions.knows("word-0", NOW.plus(LIFE)), "its time is over");
        sessions.end("word-0");
        assert!(!sessions.knows("word-0", NOW));
        (0..=SESSIONS_MAX).for_each(|at| sessions.begin(word(at), NOW));
        assert!(!sessions.knows("word-0", NOW) && sessions.knows("word-1", NOW));
        assert_eq!(sessions.open.len(), SESSIONS_MAX);
        sessions.begin(word(99), NOW.plus(LIFE));
        assert_eq!(sessions.open.len(), 1, "those that are over make room first");
    }

    #[test]
    fn the_cookie_is_strict() {
        let said = set_cookie("w", true);
        assert_eq!(
            said,
            "foreshore-session=w; Path=/v1/; Max-Age=43200; HttpOnly; SameSite=Strict; Secure"
        );
        assert!(!set_cookie("w", false).contains("Secure"), "a browser would drop it");
        assert!(unset_cookie(true).contains("=; Path=/v1/; Max-Age=0;"));
        for (cookies, found) in [
            ("foreshore-session=w", Some("w")),
            ("a=b; foreshore-session=w; c=d", Some("w")),
            ("a=foreshore-session=w", None),
            ("xforeshore-session=w", None),
            ("", None),
        ] {
            assert_eq!(word_in(cookies), found, "{cookies}");
        }
    }

    #[test]
    fn only_a_page_of_ours_may_change_anything() {
        let of = |origin: &'static str, site: Option<&'static str>| Provenance {
            origin: (!origin.is_empty()).then_some(origin),
            site,
            host: Some("127.0.0.1:9080"),
        };
        assert!(of("http://127.0.0.1:9080", None).is_own(false));
        assert!(of("http://127.0.0.1:9080", Some("same-origin")).is_own(false));
        assert!(of("https://127.0.0.1:9080", None).is_own(true));
        for (origin, site, is_https) in [
            ("", None, false),
            ("null", None, false),
            ("http://127.0.0.1:9080", None, true),
            ("http://127.0.0.1:9081", None, false),
            ("http://127.0.0.1", None, false),
            ("http://evil.test", None, false),
            ("http://127.0.0.1:9080", Some("same-site"), false),
            ("http://127.0.0.1:9080.evil.test", None, false),
        ] {
            assert!(!of(origin, site).is_own(is_https), "{origin} {site:?}");
        }
        assert!(!Provenance::default().is_own(false) && !Provenance::default().is_foreign());
        assert!(of("", Some("cross-site")).is_foreign() && of("", Some("same-site")).is_foreign());
        assert!(!of("", Some("none")).is_foreign() && !of("", Some("same-origin")).is_foreign());
    }

    #[test]
    fn who_guesses_waits_and_others_do_not() {
        let mut guesses = Guesses::at_most(LOGINS_MAX);
        let [one, other] = [[10, 0, 0, 1], [10, 0, 0, 2]].map(IpAddr::from);
        for at in 1..=LOGINS_MAX {
            let is_last = at == LOGINS_MAX;
            assert_eq!(guesses.judge(one, NOW, || false), Trial::Wrong { is_last }, "{at}");
        }
        let unseen = || -> bool { panic!("it is not compared") };
        assert_eq!(guesses.judge(one, NOW, unseen), Trial::Wait(GUESS_SPAN));
        assert_eq!(guesses.judge(other, NOW, || true), Trial::Right);
        assert_eq!(guesses.judge(one, NOW.plus(GUESS_SPAN), || true), Trial::Right);
        // The table is bounded; what has no place in it shares one.
        for at in 0..2 * ADDRESSES_MAX as u32 {
            guesses.judge(IpAddr::from(at.to_be_bytes()), NOW, || false);
        }
        assert_eq!(guesses.of.len(), ADDRESSES_MAX);
        assert_eq!(guesses.judge(other, NOW, || false), Trial::Wait(GUESS_SPAN), "as one of many");
        assert_eq!(
            guesses.judge(other, NOW, || true),
            Trial::Right,
            "it showed no wrong one itself"
        );
        let known = IpAddr::from(0_u32.to_be_bytes());
        assert_eq!(guesses.judge(known, NOW, || true), Trial::Right, "its own count holds");
        guesses.judge(other, NOW.plus(GUESS_SPAN), || false);
        assert_eq!(guesses.of.len(), 1);
    }

    #[test]
    fn the_right_token_is_let_in_from_this_machine_whoever_guesses_there() {
        for address in ["127.0.0.1", "127.9.9.9", "::1"] {
            let address: IpAddr = address.parse().unwrap();
            let mut guesses = Guesses::at_most(BEARERS_MAX);
            for at in 1..=BEARERS_MAX {
                let is_last = at == BEARERS_MAX;
                assert_eq!(guesses.judge(address, NOW, || false), Trial::Wrong { is_last });
            }
            assert_eq!(guesses.judge(address, NOW, || false), Trial::Wait(GUESS_SPAN));
            assert_eq!(guesses.judge(address, NOW, || true), Trial::Right, "{address}");
        }
    }

    #[test]
    fn a_network_of_ipv6_is_one_guesser() {
        let mut guesses = Guesses::at_most(1);
        let of = |text: &str| text.parse::<IpAddr>().unwrap();
        guesses.judge(of("2001:db8:1:2::1"), NOW, || false);
        let near = guesses.judge(of("2001:db8:1:2:ffff::9"), NOW, || true);
        assert_eq!(near, Trial::Wait(GUESS_SPAN));
        assert_eq!(guesses.judge(of("2001:db8:1:3::1"), NOW, || true), Trial::Right);
        assert_eq!(guesses.judge(of("::1"), NOW, || true), Trial::Right);
    }
}
