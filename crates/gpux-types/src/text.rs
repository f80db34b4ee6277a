//! Text that somebody else wrote, made safe to show.

/// Whether a screen obeys the character instead of showing it: it moves the cursor, changes colours, or turns the direction
/// of reading (the bidirectional controls of Unicode Standard Annex 9).
#[must_use]
pub fn is_obeyed(c: char) -> bool {
    let turns = matches!(
        c,
        '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}'
    );
    c.is_control() || turns
}

/// At most `limit` characters of a text that somebody else wrote, without those that a screen obeys.
#[must_use]
pub fn shown(text: &str, limit: usize) -> String {
    text.chars().filter(|c| !is_obeyed(*c)).take(limit).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_screen_obeys_is_left_out_and_the_rest_is_cut() {
        let text = "\u{1b}[31mred\u{202e}der\u{2066}\r\n\u{9b}1m\u{61c}.é";
        assert_eq!(shown(text, 100), "[31mredder1m.é");
        assert_eq!(shown(text, 5), "[31mr");
    }
}
