//! Pure: every problem of a configuration at once, each under its line: what was found, what would
//! be right.

use std::ops::Range;
use std::path::PathBuf;

use annotate_snippets::{AnnotationKind, Level, Renderer, Snippet};

/// A file that was read.
pub struct Source {
    pub path: PathBuf,
    pub text: String,
}

/// One mistake, and where it stands.
#[derive(Clone, Debug)]
pub struct Problem {
    /// Index of the source.
    pub source: usize,
    pub span: Range<usize>,
    /// What is wrong, with the key's full name in front.
    pub title: String,
    /// What would be right.
    pub help: Option<String>,
}

/// All mistakes of a configuration, and the texts that they stand in.
#[derive(Default)]
pub struct Report {
    pub sources: Vec<Source>,
    pub problems: Vec<Problem>,
    /// How many of the sources are files; the others were made of documents.
    pub of_files: usize,
}

impl Report {
    /// What is wrong with files of the configuration, and what with documents; each as a line.
    pub fn parts(&self) -> (Vec<String>, Vec<String>) {
        let lines = self.lines().into_iter().zip(&self.problems);
        let (files, documents): (Vec<_>, Vec<_>) =
            lines.partition(|(_, problem)| problem.source < self.of_files);
        let texts = |all: Vec<(String, &Problem)>| all.into_iter().map(|(line, _)| line).collect();
        (texts(files), texts(documents))
    }

    /// One line a problem, `file:line: what (remedy)`, for logs and `/v1/status`.
    pub fn lines(&self) -> Vec<String> {
        self.problems
            .iter()
            .map(|problem| {
                let source = &self.sources[problem.source];
                let before = source.text.get(..problem.span.start).unwrap_or("");
                let line = before.bytes().filter(|b| *b == b'\n').count() + 1;
                let help =
                    problem.help.as_ref().map(|help| format!(" ({help})")).unwrap_or_default();
                format!("{}:{line}: {}{help}", source.path.display(), problem.title)
            })
            .collect()
    }

    /// Annotated source for people.
    pub fn render(&self, colour: bool) -> String {
        let renderer = if colour { Renderer::styled() } else { Renderer::plain() };
        let mut text = String::new();
        for problem in &self.problems {
            let source = &self.sources[problem.source];
            let path = source.path.display().to_string();
            let end = source.text.len();
            let span = problem.span.start.min(end)..problem.span.end.min(end);
            let snippet = Snippet::source(&source.text)
                .path(&path)
                .annotation(AnnotationKind::Primary.span(span));
            let mut group = Level::ERROR.primary_title(&problem.title).element(snippet);
            if let Some(help) = &problem.help {
                group = group.element(Level::HELP.message(help));
            }
            text.push_str(&renderer.render(&[group]));
            text.push_str("\n\n");
        }
        let count = self.problems.len();
        let word = if count == 1 { "problem" } else { "problems" };
        text.push_str(&format!("{count} {word}; nothing was loaded\n"));
        text
    }
}

/// The known word nearest to a misspelt one, if one is near.
pub fn nearest<'k>(word: &str, known: impl IntoIterator<Item = &'k str>) -> Option<&'k str> {
    let allowed = (word.len() / 3).clamp(1, 3);
    known
        .into_iter()
        .map(|k| (distance(word, k), k))
        .filter(|(d, _)| *d <= allowed)
        .min()
        .map(|(_, k)| k)
}

// Levenshtein's distance, one row at a time.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut diagonal = i;
        row[0] = i + 1;
        for (j, y) in b.iter().enumerate() {
            let next = (diagonal + usize::from(x != *y)).min(row[j] + 1).min(row[j + 1] + 1);
            diagonal = std::mem::replace(&mut row[j + 1], next);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn near_words_are_found() {
        assert_eq!(nearest("imges", ["images", "app"]), Some("images"));
        assert_eq!(nearest("lsiten", ["listen", "limits"]), Some("listen"));
        assert_eq!(nearest("zzz", ["images", "app"]), None);
    }
}
