//! Pure: how much room a node of Redis or Valkey has, and what it does once that is full, as it
//! says of itself.

/// What a node says in `INFO memory`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Room {
    /// `maxmemory-policy`.
    pub policy: String,
    /// `maxmemory` in octets; zero is no bound.
    pub limit: u64,
}

impl Room {
    /// Reads the text of `INFO memory`; `None` where it does not say.
    pub fn parse(text: &str) -> Option<Self> {
        let of = |name: &str| {
            text.lines().find_map(|line| line.trim_end().strip_prefix(name)?.strip_prefix(':'))
        };
        let policy = of("maxmemory_policy")?;
        let is_word = |b: u8| b.is_ascii_lowercase() || b == b'-';
        let fits = (1..=32).contains(&policy.len()) && policy.bytes().all(is_word);
        let limit = of("maxmemory").and_then(|digits| digits.parse().ok()).unwrap_or(0);
        fits.then(|| Self { policy: policy.to_string(), limit })
    }

    /// What is wrong with it for what it holds, and what to do about it. All keys of a cache have a
    /// lifetime, those of a fleet's log have none.
    pub fn wrong(&self, holds: Holds) -> Option<&'static str> {
        match (self.policy.as_str(), self.limit, holds) {
            ("noeviction", 0, _) => Some(
                "noeviction without maxmemory: it grows until the machine has no memory; set maxmemory, and maxmemory-policy allkeys-lru (volatile-lru where the log of the fleet is there too)",
            ),
            ("noeviction", ..) => Some(
                "noeviction: once it is full it refuses writes; set maxmemory-policy allkeys-lru (volatile-lru where the log of the fleet is there too)",
            ),
            (policy, _, Holds::CacheAndLog) if policy.starts_with("allkeys") => Some(
                "this policy evicts the log of the fleet, too; set maxmemory-policy volatile-lru, or volatile-ttl",
            ),
            (_, 0, _) => {
                Some("without maxmemory nothing is evicted before the machine has no memory")
            }
            _ => None,
        }
    }
}

/// What a node is used for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Holds {
    Cache,
    /// It gives the numbers of the fleet's log, too.
    CacheAndLog,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_node_says_is_read_and_judged() {
        let info = |limit: &str, policy: &str| {
            format!(
                "# Memory\r\nused_memory:1\r\nmaxmemory:{limit}\r\nmaxmemory_human:0B\r\nmaxmemory_policy:{policy}\r\n"
            )
        };
        for (limit, policy, is_wrong, is_wrong_with_log) in [
            ("0", "noeviction", true, true),
            ("1048576", "noeviction", true, true),
            ("0", "allkeys-lru", true, true),
            ("1048576", "allkeys-lru", false, true),
            ("1048576", "volatile-ttl", false, false),
        ] {
            let room = Room::parse(&info(limit, policy)).unwrap();
            assert_eq!((room.policy.as_str(), room.limit.to_string().as_str()), (policy, limit));
            assert_eq!(room.wrong(Holds::Cache).is_some(), is_wrong, "{limit} {policy}");
            let with_log = room.wrong(Holds::CacheAndLog).is_some();
            assert_eq!(with_log, is_wrong_with_log, "{limit} {policy}");
        }
        for bad in ["", "# Memory\r\n", "maxmemory_policy:\r\n", "maxmemory_policy:<b>\r\n"] {
            assert_eq!(Room::parse(bad), None, "{bad:?}");
        }
    }
}
