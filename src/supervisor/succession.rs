//! Pure: the steps in which a running process hands its place over to a new one, as two small
//! machines that take turns, and what each may do meanwhile.
//!
//! The one that hands over (*giver*) starts the other (*taker*) and ends it, with certainty, before
//! it takes anything back: so there is one writer of the data folder at any moment, and one that
//! answers from a store which knows of every invalidation.

/// What one tells the other, in this order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Step {
    /// Taker: the configuration is good.
    Hello,
    /// Giver: here are the sockets.
    Sockets,
    /// Taker: whatever can be done without the data folder is done.
    Prepared,
    /// Giver: nothing is written to the data folder any more; read it.
    Yours,
    /// Taker: it was read.
    Opened,
    /// Giver: nothing is answered from my store any more; write, serve.
    Go,
    /// Taker: viewers are served.
    Serving,
}

/// All of them.
pub const SCRIPT: [Step; 7] = [
    Step::Hello,
    Step::Sockets,
    Step::Prepared,
    Step::Yours,
    Step::Opened,
    Step::Go,
    Step::Serving,
];

/// What the giver is to do, in this order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Act {
    SendSockets,
    /// Let what is being written be finished, and have what comes wait.
    Hold,
    SendYours,
    /// Answer nothing from the store any more.
    Freeze,
    SendGo,
    /// End the taker, and wait until it is gone.
    EndTaker,
    /// Take note of what the taker has written down, and answer from the store again.
    Thaw,
    /// Write again; what waited goes on here.
    Release,
    /// What waits goes on at the taker, which is told of all that is invalidated here. Drain.
    Leave,
}

/// What the giver gets to know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Heard {
    Step(Step),
    /// The time for the next step is over.
    Nothing,
    /// The taker is gone, says that it cannot go on, or says what makes no sense.
    Trouble,
}

/// How far the giver is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Stage {
    /// The taker was started.
    Started,
    /// It has the sockets.
    Preparing,
    /// Nothing is written here.
    Held,
    /// The taker may write and serve.
    Given,
    Over(End),
}

/// How it ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum End {
    Handed,
    /// The taker had written nothing.
    Kept,
    /// The taker may have written something.
    Recovered,
}

/// The process that hands its place over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Giver {
    pub stage: Stage,
}

impl Giver {
    /// One that has just started a taker.
    pub const fn new() -> Self {
        Self { stage: Stage::Started }
    }

    /// Says what is to be done about what was heard.
    pub fn hear(&mut self, heard: Heard) -> &'static [Act] {
        let (next, acts): (Stage, &'static [Act]) = match (self.stage, heard) {
            (Stage::Over(_), _) => return &[],
            (Stage::Started, Heard::Step(Step::Hello)) => (Stage::Preparing, &[Act::SendSockets]),
            (Stage::Preparing, Heard::Step(Step::Prepared)) => {
                (Stage::Held, &[Act::Hold, Act::SendYours])
            }
            (Stage::Held, Heard::Step(Step::Opened)) => (Stage::Given, &[Act::Freeze, Act::SendGo]),
            (Stage::Given, Heard::Step(Step::Serving)) => (Stage::Over(End::Handed), &[Act::Leave]),
            (Stage::Started | Stage::Preparing, _) => (Stage::Over(End::Kept), &[Act::EndTaker]),
            (Stage::Held, _) => (Stage::Over(End::Kept), &[Act::EndTaker, Act::Release]),
            (Stage::Given, _) => {
                (Stage::Over(End::Recovered), &[Act::EndTaker, Act::Thaw, Act::Release])
            }
        };
        self.stage = next;
        acts
    }
}

impl Default for Giver {
    fn default() -> Self {
        Self::new()
    }
}

/// The process that takes the place: how many steps of the script are behind it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Taker {
    done: usize,
}

impl Taker {
    /// The step that comes next; `None` after the last.
    pub fn coming(&self) -> Option<Step> {
        SCRIPT.get(self.done).copied()
    }

    /// A step was said or heard. False if it is not the next.
    #[must_use]
    pub fn does(&mut self, step: Step) -> bool {
        let is_next = self.coming() == Some(step);
        self.done += usize::from(is_next);
        is_next
    }

    /// Whether the data folder may be written to, and viewers served.
    pub fn may_write(&self) -> bool {
        SCRIPT[..self.done].contains(&Step::Go)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[derive(Clone, Debug, PartialEq, Eq, Hash)]
    struct World {
        giver: Giver,
        /// What the giver has yet to do about what it heard last.
        pending: Vec<Act>,
        holds: bool,
        is_frozen: bool,
        has_left: bool,
        taker: Taker,
        is_alive: bool,
        hangs: bool,
        to_taker: Vec<Step>,
        to_giver: Vec<Step>,
    }

    const SAID_BY_TAKER: [Step; 4] = [Step::Hello, Step::Prepared, Step::Opened, Step::Serving];

    impl World {
        fn begin() -> Self {
            Self {
                giver: Giver::new(),
                pending: Vec::new(),
                holds: false,
                is_frozen: false,
                has_left: false,
                taker: Taker::default(),
                is_alive: true,
                hangs: false,
                to_taker: Vec::new(),
                to_giver: Vec::new(),
            }
        }

        fn act(&mut self, act: Act) {
            match act {
                Act::SendSockets => self.to_taker.push(Step::Sockets),
                Act::Hold => self.holds = true,
                Act::SendYours => self.to_taker.push(Step::Yours),
                Act::Freeze => self.is_frozen = true,
                Act::SendGo => self.to_taker.push(Step::Go),
                Act::EndTaker => self.is_alive = false,
                Act::Thaw => self.is_frozen = false,
                Act::Release => self.holds = false,
                Act::Leave => self.has_left = true,
            }
        }

        // Each world that may follow.
        fn after(&self, bent: Bent) -> Vec<Self> {
            let mut all = Vec::new();
            let mut hear = |heard: Heard, rest: Vec<Step>| {
                let mut next = Self { to_giver: rest, ..self.clone() };
                next.pending = bent(next.giver.hear(heard));
                all.push(next);
            };
            if let Some((act, rest)) = self.pending.split_first() {
                let mut next = Self { pending: rest.to_vec(), ..self.clone() };
                next.act(*act);
                all.push(next);
            } else if !matches!(self.giver.stage, Stage::Over(_)) {
                match self.to_giver.split_first() {
                    Some((first, rest)) => hear(Heard::Step(*first), rest.to_vec()),
                    None if !self.is_alive => hear(Heard::Trouble, Vec::new()),
                    None => {}
                }
                hear(Heard::Nothing, self.to_giver.clone());
            }
            if self.is_alive {
                all.push(Self { is_alive: false, ..self.clone() });
            }
            if self.is_alive && !self.hangs {
                all.push(Self { hangs: true, ..self.clone() });
                all.extend(self.taker_goes_on());
            }
            all
        }

        fn taker_goes_on(&self) -> Option<Self> {
            let step = self.taker.coming()?;
            let mut next = self.clone();
            if SAID_BY_TAKER.contains(&step) {
                next.to_giver.push(step);
            } else if next.to_taker.first() == Some(&step) {
                next.to_taker.remove(0);
            } else {
                return None;
            }
            assert!(next.taker.does(step));
            Some(next)
        }

        fn wrong(&self) -> Option<&'static str> {
            let (giver_writes, taker_writes) =
                (!self.holds && !self.has_left, self.is_alive && self.taker.may_write());
            if giver_writes && taker_writes {
                return Some("two write");
            }
            if !self.is_frozen && taker_writes {
                return Some("the giver answers from a store that the taker's purges do not reach");
            }
            if self.has_left && !self.taker.may_write() {
                return Some("the giver has left, and nobody serves");
            }
            None
        }

        fn wrong_at_the_end(&self) -> Option<&'static str> {
            let Stage::Over(end) = self.giver.stage else { return Some("it never ends") };
            let is_back = !self.holds && !self.is_frozen && !self.is_alive && !self.has_left;
            match end {
                End::Handed if !self.has_left => Some("handed, and still here"),
                End::Kept | End::Recovered if !is_back => Some("kept, and not as before"),
                End::Kept if self.taker.may_write() => Some("what the taker wrote is not read"),
                _ => None,
            }
        }
    }

    type Bent = fn(&'static [Act]) -> Vec<Act>;

    // Walks all worlds; gives their number, or what is wrong with one.
    fn walk(bent: Bent) -> Result<usize, &'static str> {
        let (mut seen, mut open) = (HashSet::new(), vec![World::begin()]);
        while let Some(world) = open.pop() {
            if let Some(wrong) = world.wrong() {
                return Err(wrong);
            }
            let next = world.after(bent);
            if next.is_empty()
                && let Some(wrong) = world.wrong_at_the_end()
            {
                return Err(wrong);
            }
            for world in next {
                if seen.insert(world.clone()) {
                    open.push(world);
                }
            }
        }
        Ok(seen.len())
    }

    #[test]
    fn one_writes_and_nothing_old_is_served_whatever_fails_when() {
        let worlds = walk(|acts| acts.to_vec()).unwrap();
        assert!(worlds > 50, "{worlds}");
    }

    fn without(acts: &[Act], left_out: Act) -> Vec<Act> {
        acts.iter().copied().filter(|act| *act != left_out).collect()
    }

    // Each rule is needed: without it the walk finds the world that goes wrong.
    #[test]
    fn each_bent_rule_is_found_out() {
        let bent: [Bent; 7] = [
            |acts| without(acts, Act::Hold),
            |acts| without(acts, Act::Freeze),
            |acts| without(acts, Act::EndTaker),
            |acts| without(acts, Act::Thaw),
            |acts| without(acts, Act::Release),
            |acts| without(acts, Act::Leave),
            |acts| acts.iter().rev().copied().collect(),
        ];
        for (at, bent) in bent.into_iter().enumerate() {
            assert!(walk(bent).is_err(), "rule {at}");
        }
    }

    #[test]
    fn a_taker_says_nothing_out_of_turn() {
        let mut taker = Taker::default();
        assert!(!taker.does(Step::Go) && !taker.may_write());
        assert!(SCRIPT.iter().all(|step| taker.does(*step)));
        assert!(taker.may_write() && taker.coming().is_none() && !taker.does(Step::Hello));
    }
}
