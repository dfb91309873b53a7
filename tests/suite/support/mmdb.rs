//! Small databases of MaxMind's format, of networks that the tests make up.

/// A value of such a database.
pub enum Said<'a> {
    Text(&'a str),
    Short(u16),
    Number(u32),
    Long(u64),
    Fraction(f64),
    Map(Vec<(&'a str, Said<'a>)>),
    List(Vec<Said<'a>>),
}

impl Said<'_> {
    fn write(&self, out: &mut Vec<u8>) {
        let head = |out: &mut Vec<u8>, kind: u8, len: usize| {
            assert!(len < 285);
            let (size, more) =
                if len < 29 { (len as u8, None) } else { (29, Some((len - 29) as u8)) };
            if kind < 8 {
                out.push(kind << 5 | size);
            } else {
                out.extend([size, kind - 7]);
            }
            out.extend(more);
        };
        match self {
            Said::Text(text) => {
                head(out, 2, text.len());
                out.extend_from_slice(text.as_bytes());
            }
            Said::Number(number) => {
                head(out, 6, 4);
                out.extend_from_slice(&number.to_be_bytes());
            }
            Said::Short(number) => {
                head(out, 5, 2);
                out.extend_from_slice(&number.to_be_bytes());
            }
            Said::Long(number) => {
                head(out, 9, 8);
                out.extend_from_slice(&number.to_be_bytes());
            }
            Said::Fraction(number) => {
                head(out, 3, 8);
                out.extend_from_slice(&number.to_be_bytes());
            }
            Said::Map(pairs) => {
                head(out, 7, pairs.len());
                for (name, value) in pairs {
                    Said::Text(name).write(out);
                    value.write(out);
                }
            }
            Said::List(items) => {
                head(out, 11, items.len());
                items.iter().for_each(|item| item.write(out));
            }
        }
    }
}

/// A database that says these things of these IPv4 networks: address, prefix, value.
pub fn database(networks: &[([u8; 4], usize, Said<'_>)]) -> Vec<u8> {
    #[derive(Clone, Copy)]
    enum Next {
        Nothing,
        Node(usize),
        Data(usize),
    }
    let (mut nodes, mut data) = (vec![[Next::Nothing; 2]], Vec::new());
    for (address, prefix, value) in networks {
        let bits = u32::from_be_bytes(*address);
        let mut at = 0;
        for depth in 0..*prefix {
            let side = (bits >> (31 - depth) & 1) as usize;
            if depth + 1 == *prefix {
                nodes[at][side] = Next::Data(data.len());
                break;
            }
            at = match nodes[at][side] {
                Next::Node(next) => next,
                _ => {
                    nodes.push([Next::Nothing; 2]);
                    let next = nodes.len() - 1;
                    nodes[at][side] = Next::Node(next);
                    next
                }
            };
        }
        value.write(&mut data);
    }
    let mut out = Vec::new();
    for node in &nodes {
        for next in node {
            let number = match next {
                Next::Nothing => nodes.len(),
                Next::Node(at) => *at,
                Next::Data(at) => nodes.len() + 16 + at,
            };
            out.extend_from_slice(&(number as u32).to_be_bytes()[1..]);
        }
    }
    out.extend([0; 16]);
    out.extend(data);
    out.extend_from_slice(b"\xab\xcd\xefMaxMind.com");
    let words = |text| Said::Map(vec![("en", Said::Text(text))]);
    Said::Map(vec![
        ("binary_format_major_version", Said::Short(2)),
        ("binary_format_minor_version", Said::Short(0)),
        ("build_epoch", Said::Long(1_795_230_006)),
        ("database_type", Said::Text("Example-City")),
        ("description", words("made up for tests")),
        ("ip_version", Said::Short(4)),
        ("languages", Said::List(vec![Said::Text("en")])),
        ("node_count", Said::Number(nodes.len() as u32)),
        ("record_size", Said::Short(24)),
    ])
    .write(&mut out);
    out
}

/// 127.0.0.0/8 lies in a town of Germany, 198.51.100.0/24 in Sweden; of anything else nothing is
/// known.
pub fn example(country: &str) -> Vec<u8> {
    let place = |country, name, city| {
        Said::Map(vec![
            (
                "country",
                Said::Map(vec![
                    ("iso_code", Said::Text(country)),
                    ("names", Said::Map(vec![("en", Said::Text(name))])),
                ]),
            ),
            ("registered_country", Said::Map(vec![("iso_code", Said::Text("US"))])),
            ("city", Said::Map(vec![("names", Said::Map(vec![("en", Said::Text(city))]))])),
            (
                "location",
                Said::Map(vec![
                    ("latitude", Said::Fraction(53.5)),
                    ("time_zone", Said::Text("Europe/Berlin")),
                ]),
            ),
            ("subdivisions", Said::List(vec![Said::Map(vec![("iso_code", Said::Text("HB"))])])),
            ("autonomous_system_number", Said::Number(64_496)),
        ])
    };
    database(&[
        ([127, 0, 0, 0], 8, place(country, "Germany", "Lübeck")),
        ([198, 51, 100, 0], 24, place("SE", "Sweden", "Umeå")),
    ])
}
