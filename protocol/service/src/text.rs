//! Texts of bounded size.

/// A text of `most` bytes at the most; one that is cut says so with `…` at its end. `most` is 3 at least.
pub fn cut(mut text: String, most: usize) -> String {
    const MARK: &str = "…";
    if text.len() > most {
        text.truncate(text.floor_char_boundary(most - MARK.len()));
        text.push_str(MARK);
    }
    text
}
