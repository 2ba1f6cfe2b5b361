//! The known word that an unknown one most likely meant.

/// The word of `known` that is nearest to `given`, whatever the case of its letters.
pub(crate) fn nearest<'a>(given: &str, known: &[&'a str]) -> Option<&'a str> {
    let given = given.to_lowercase();
    let distance = |word: &&&str| strsim::damerau_levenshtein(&given, &word.to_lowercase());
    known.iter().min_by_key(distance).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_finds_what_was_meant() {
        let known = ["image_name", "description", "CP_HOST"];
        assert_eq!(nearest("image-name", &known), Some("image_name"));
        assert_eq!(nearest("cp_hots", &known), Some("CP_HOST"));
        assert_eq!(nearest("anything", &[]), None);
    }
}
