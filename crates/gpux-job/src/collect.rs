//! Which files of a part come back to the renter.
//!
//! A pattern has a fixed folder and names below it. What it matches is a relative name that is safe to create below any
//! folder: no absolute path, no `..`, no control character.

use crate::{
    path::{ContainerPath, segments},
    text::{cut, serde_as_text},
};
use std::{fmt, str::FromStr};

/// The folder that parts write to: nothing else of a container outlives it.
pub const OUT: &str = "/out";

/// A pattern such as `/out/*.png`: `*` is any text within a name, `?` one character, `**` any folders.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Collect {
    pattern: String,
    /// Length of the fixed folder at the start of the pattern.
    dir: usize,
}

/// A text that is not a pattern of files to collect.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ParseCollectError {
    /// Not a pattern below a fixed folder.
    #[error(
        "reading a pattern from {0:?}: expected a fixed folder and a name in it, such as /out/*.png or /out/**/*.exr"
    )]
    NoFolder(String),
    /// A character that other patterns give a meaning.
    #[error("reading a pattern from {text:?}: {found:?} is not supported; there are *, ? and **")]
    Unsupported {
        /// What was given.
        text: String,
        /// The character.
        found: char,
    },
    /// `**` as a part of a name.
    #[error("reading a pattern from {0:?}: ** stands for whole folders, as in /out/**/*.png")]
    PartialDoubleStar(String),
}

impl Collect {
    /// The fixed folder that holds everything the pattern can match.
    #[must_use]
    pub fn dir(&self) -> &str {
        self.pattern.get(..self.dir).unwrap_or_default()
    }

    /// Whether it can match anything that a node hands back: only files below `/out` are.
    #[must_use]
    pub fn is_below_out(&self) -> bool {
        let rest = self.dir().strip_prefix(OUT);
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    }

    /// The name below [`Collect::dir`] of a file that the pattern matches. Safe for any text.
    #[must_use]
    pub fn matches<'a>(&self, path: &'a str) -> Option<&'a str> {
        let name = path.strip_prefix(self.dir())?.strip_prefix('/')?;
        segments(path)?;
        path_matches(&self.pattern, path).then_some(name)
    }
}

/// Whether a pattern, which need not be one of files to collect, covers the whole of a path. Both may come from strangers: the time
/// that it takes is bounded by the product of their lengths.
#[must_use]
pub fn path_matches(pattern: &str, path: &str) -> bool {
    let names = |text| str::split(text, '/').filter(|name| !name.is_empty()).collect();
    let (pattern, path): (Vec<&str>, Vec<&str>) = (names(pattern), names(path));
    wildcard(
        &pattern,
        &path,
        |pattern| *pattern == "**",
        |pattern, name| name_matches(pattern, name),
    )
}

fn name_matches(pattern: &str, name: &str) -> bool {
    let (pattern, name): (Vec<_>, Vec<_>) = (pattern.chars().collect(), name.chars().collect());
    wildcard(
        &pattern,
        &name,
        |c| *c == '*',
        |pattern, c| *pattern == '?' || pattern == c,
    )
}

/// Matches with one kind of wildcard that stands for any run of items. Going back only to the latest wildcard is
/// enough, so the time is bounded by the product of the lengths.
fn wildcard<P, T>(pattern: &[P], items: &[T], is_any: impl Fn(&P) -> bool, fits: impl Fn(&P, &T) -> bool) -> bool {
    let (mut p, mut i) = (0, 0);
    let mut latest = None;
    while let Some(item) = items.get(i) {
        match pattern.get(p) {
            Some(part) if is_any(part) => {
                latest = Some((p, i));
                p += 1;
            }
            Some(part) if fits(part, item) => {
                p += 1;
                i += 1;
            }
            Some(_) | None => {
                let Some((any, from)) = latest else { return false };
                latest = Some((any, from + 1));
                p = any + 1;
                i = from + 1;
            }
        }
    }
    pattern.iter().skip(p).all(is_any)
}

impl FromStr for Collect {
    type Err = ParseCollectError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if let Some(found) = text.chars().find(|c| "[]{}!\\".contains(*c)) {
            return Err(ParseCollectError::Unsupported { text: cut(text), found });
        }
        let no_folder = || ParseCollectError::NoFolder(cut(text));
        let names = segments(text).ok_or_else(no_folder)?;
        if names.iter().any(|name| name.contains("**") && *name != "**") {
            return Err(ParseCollectError::PartialDoubleStar(cut(text)));
        }
        let folders = names.len() - 1;
        let fixed = names.iter().take(folders).take_while(|name| !name.contains(['*', '?']));
        let dir = fixed.map(|name| name.len() + 1).sum();
        let folder: Result<ContainerPath, _> = text.get(..dir).unwrap_or_default().parse();
        if folder.is_err() || names.last() == Some(&"**") {
            return Err(no_folder());
        }
        Ok(Self {
            pattern: text.to_owned(),
            dir,
        })
    }
}

impl fmt::Display for Collect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.pattern)
    }
}

serde_as_text!(
    Collect,
    "files to collect inside the container; * and ? within a name, ** for folders",
    "/out/*.png"
);

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn collect(pattern: &str) -> Collect {
        pattern.parse().unwrap()
    }

    #[test]
    fn a_pattern_matches_names_in_its_folder() {
        let png = collect("/out/*.png");
        assert_eq!(png.dir(), "/out");
        assert_eq!(png.matches("/out/0001.png"), Some("0001.png"));
        for other in [
            "/out/0001.exr",
            "/out/sub/1.png",
            "/outer/1.png",
            "/out",
            "/out/",
            "/tmp/1.png",
            "out/1.png",
        ] {
            assert_eq!(png.matches(other), None, "{other}");
        }
        let deep = collect("/out/**/frame-??.*");
        for (path, name) in [
            ("/out/frame-01.exr", "frame-01.exr"),
            ("/out/a/b/frame-02.png", "a/b/frame-02.png"),
        ] {
            assert_eq!(deep.matches(path), Some(name));
        }
        assert_eq!(deep.matches("/out/a/frame-123.png"), None);
        assert_eq!(
            collect("/out/result.bin").matches("/out/result.bin"),
            Some("result.bin")
        );
    }

    #[test]
    fn stars_stay_within_a_folder_and_double_stars_do_not() {
        for (pattern, path, expected) in [
            ("out/*.png", "out/frame-0001.png", true),
            ("/out/*.png", "out/frame-0001.png", true),
            ("out/*.png", "out/deep/frame-0001.png", false),
            ("out/**/*.png", "out/deep/deeper/frame.png", true),
            ("out/**/*.png", "out/frame.png", true),
            ("out/**", "out/a/b/c", true),
            ("out/**", "in/a", false),
            ("out/frame-????.png", "out/frame-0012.png", true),
            ("out/frame-????.png", "out/frame-12.png", false),
            ("out/a*b*c", "out/aXXbYYbZZc", true),
            ("out/a*b*c", "out/aXXbYYcZ", false),
            ("out/?", "out/é", true),
            ("*", "out", true),
            ("", "out", false),
        ] {
            assert_eq!(path_matches(pattern, path), expected, "{pattern} {path}");
        }
    }

    #[test]
    fn a_hostile_pattern_takes_no_time() {
        let pattern = "a*".repeat(2_000);
        let path = "a".repeat(4_000);
        assert!(!path_matches(&format!("{pattern}b"), &path));
    }

    #[test]
    fn only_patterns_below_the_output_folder_can_match_anything() {
        for (pattern, expected) in [
            ("/out/*.png", true),
            ("/out/frames/**/*.png", true),
            ("/results/*.png", false),
            ("/outer/*.png", false),
            ("/data/out/*.png", false),
        ] {
            assert_eq!(collect(pattern).is_below_out(), expected, "{pattern}");
        }
    }

    #[test]
    fn a_hostile_path_never_leaves_the_folder() {
        let all = collect("/out/**/*");
        for hostile in [
            "/out/../etc/passwd",
            "/out/./x",
            "/out//x",
            "/out/a/..",
            "/out/x\0",
            "/out/x\ny",
        ] {
            assert_eq!(all.matches(hostile), None, "{hostile:?}");
        }
    }

    #[test]
    fn wrong_patterns_are_refused() {
        for wrong in [
            "",
            "*.png",
            "/*.png",
            "/",
            "/out",
            "/out/",
            "/out/**",
            "/dev/*",
            "/a/../b/*",
        ] {
            assert!(wrong.parse::<Collect>().is_err(), "{wrong}");
        }
        assert!(matches!(
            "/out/[0-9].png".parse::<Collect>(),
            Err(ParseCollectError::Unsupported { found: '[', .. })
        ));
        assert!(matches!(
            "/out/a**".parse::<Collect>(),
            Err(ParseCollectError::PartialDoubleStar(_))
        ));
    }

    #[test]
    fn many_stars_do_not_take_forever() {
        let pattern = collect(&format!("/out/{}b", "a*".repeat(100)));
        assert_eq!(pattern.matches(&format!("/out/{}", "a".repeat(250))), None);
    }

    proptest! {
        #[test]
        fn what_a_pattern_matches_is_a_safe_name(pattern in "/out/[a*?/]{1,12}", path in "/out/[a./*]{0,16}") {
            if let Ok(pattern) = pattern.parse::<Collect>()
                && let Some(name) = pattern.matches(&path)
            {
                prop_assert!(path.ends_with(name) && !name.is_empty());
                prop_assert!(name.split('/').all(|part| !matches!(part, "" | "." | "..")));
            }
        }
    }
}
