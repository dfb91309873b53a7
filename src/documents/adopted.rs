//! Pure: the first line of a file that a distribution of the API was moved into. While such a file
//! is part of the configuration, the API's document of that distribution does not count: a move is
//! done when the file appears, or is gone.

const WORDS: &str = "# Moved out of CloudFront's API by `foreshore adopt`: distribution ";

/// The line for a distribution.
pub fn line(id: &str) -> String {
    format!("{WORDS}{id}\n")
}

/// The distribution that a file was made for; `None` for any other file.
pub fn of(text: &str) -> Option<&str> {
    let rest = text.strip_prefix(WORDS)?;
    rest.lines().next().map(str::trim).filter(|id| !id.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_says_whose_it_is() {
        assert_eq!(of(&(line("E1") + "[[distribution]]\n")), Some("E1"));
        for other in ["", "[[distribution]]\n", WORDS, "# E1\n", &format!("\n{}", line("E1"))] {
            assert_eq!(of(other), None, "{other:?}");
        }
    }
}
