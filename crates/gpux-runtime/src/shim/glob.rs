//! Matching of output paths: `*` and `?` stay within one folder, `**` crosses folders.
//!
//! Pure. The time it takes grows with pattern length times path length, whatever the pattern: both come from strangers.

/// Whether `path` (without a leading slash) matches `pattern`.
pub(crate) fn matches(pattern: &str, path: &str) -> bool {
    let pattern: Vec<&str> = pattern.split('/').filter(|part| !part.is_empty()).collect();
    let path: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
    align(
        &pattern,
        &path,
        |part| *part == "**",
        |part, name| component(part, name),
    )
}

fn component(pattern: &str, name: &str) -> bool {
    let pattern: Vec<char> = pattern.chars().collect();
    let name: Vec<char> = name.chars().collect();
    align(
        &pattern,
        &name,
        |&sign| sign == '*',
        |&sign, &letter| sign == '?' || sign == letter,
    )
}

/// Whether the pattern covers the whole text, where a wildcard stands for any number of items. Only the last wildcard is
/// ever tried again: whatever the earlier ones could take, it can take as well.
fn align<P, T>(pattern: &[P], text: &[T], is_wildcard: impl Fn(&P) -> bool, fits: impl Fn(&P, &T) -> bool) -> bool {
    let (mut at_pattern, mut at_text) = (0, 0);
    let mut retry = None;
    while let Some(item) = text.get(at_text) {
        match pattern.get(at_pattern) {
            Some(sign) if is_wildcard(sign) => {
                at_pattern += 1;
                retry = Some((at_pattern, at_text));
            }
            Some(sign) if fits(sign, item) => {
                at_pattern += 1;
                at_text += 1;
            }
            Some(_) | None => match retry {
                Some((after, from)) => {
                    at_pattern = after;
                    at_text = from + 1;
                    retry = Some((after, at_text));
                }
                None => return false,
            },
        }
    }
    pattern.iter().skip(at_pattern).all(is_wildcard)
}

#[cfg(test)]
mod tests {
    use super::*;

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
            assert_eq!(matches(pattern, path), expected, "{pattern} {path}");
        }
    }

    #[test]
    fn a_hostile_pattern_takes_no_time() {
        let pattern = "a*".repeat(2_000);
        let path = "a".repeat(4_000);
        assert!(!matches(&format!("{pattern}b"), &path));
    }
}
