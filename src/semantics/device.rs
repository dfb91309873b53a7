//! What kind of device a User-Agent speaks of, for CloudFront's `CloudFront-Is-*-Viewer` fields. A
//! guess, as it is there.

/// Kinds of devices; several may be true at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Device {
    agent_is: [bool; 6],
}

const ANDROID: usize = 0;
const IOS: usize = 1;
const MOBILE: usize = 2;
const TABLET: usize = 3;
const TV: usize = 4;
const DESKTOP: usize = 5;

impl Device {
    /// Reads a User-Agent.
    ///
    /// ```
    /// use foreshore::semantics::device::Device;
    /// let phone = Device::of(b"Mozilla/5.0 (Linux; Android 15; Pixel 9) AppleWebKit/537.36 Mobile Safari/537.36");
    /// assert_eq!(phone.is("cloudfront-is-mobile-viewer"), Some(true));
    /// assert_eq!(phone.is("cloudfront-is-desktop-viewer"), Some(false));
    /// ```
    pub fn of(agent: &[u8]) -> Self {
        let has =
            |word: &[u8]| agent.windows(word.len()).any(|part| part.eq_ignore_ascii_case(word));
        let is_tv = [
            &b"smart-tv"[..],
            b"smarttv",
            b"appletv",
            b"googletv",
            b"hbbtv",
            b"netcast",
            b"web0s",
            b"bravia",
            b"aft",
            b"roku",
        ]
        .iter()
        .any(|word| has(word));
        let android = has(b"android");
        let ios = has(b"iphone") || has(b"ipad") || has(b"ipod");
        let tablet = !is_tv
            && (has(b"ipad")
                || has(b"tablet")
                || has(b"kindle")
                || has(b"silk/")
                || (android && !has(b"mobile")));
        let mobile = !is_tv
            && !tablet
            && (has(b"mobile")
                || has(b"iphone")
                || has(b"ipod")
                || has(b"phone")
                || has(b"blackberry"));
        let desktop = !is_tv && !tablet && !mobile;
        Self { agent_is: [android, ios, mobile, tablet, is_tv, desktop] }
    }

    /// The value of one of the fields, by its name in lower case.
    pub fn is(&self, name: &str) -> Option<bool> {
        let which = match name {
            "cloudfront-is-android-viewer" => ANDROID,
            "cloudfront-is-ios-viewer" => IOS,
            "cloudfront-is-mobile-viewer" => MOBILE,
            "cloudfront-is-tablet-viewer" => TABLET,
            "cloudfront-is-smarttv-viewer" => TV,
            "cloudfront-is-desktop-viewer" => DESKTOP,
            _ => return None,
        };
        Some(self.agent_is[which])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn agents_are_of_one_kind() {
        for (agent, kind) in [
            ("Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0", DESKTOP),
            (
                "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) Version/18.0 Safari/605.1.15",
                DESKTOP,
            ),
            ("Mozilla/5.0 (iPhone; CPU iPhone OS 18_0 like Mac OS X) Mobile/15E148", MOBILE),
            ("Mozilla/5.0 (iPad; CPU OS 17_0 like Mac OS X) Mobile/15E148", TABLET),
            ("Mozilla/5.0 (Linux; Android 14; SM-X910) Safari/537.36", TABLET),
            ("Mozilla/5.0 (Linux; Android 14; SM-S918B) Mobile Safari/537.36", MOBILE),
            ("Mozilla/5.0 (SMART-TV; Linux; Tizen 8.0) TV Safari/537.36", TV),
            ("Mozilla/5.0 (Web0S; Linux/SmartTV) AppleWebKit/537.36", TV),
            ("curl/8.5.0", DESKTOP),
            ("", DESKTOP),
        ] {
            let device = Device::of(agent.as_bytes());
            for other in [MOBILE, TABLET, TV, DESKTOP] {
                assert_eq!(device.agent_is[other], other == kind, "{agent}");
            }
        }
    }
}
