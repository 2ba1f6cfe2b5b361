//! Kubernetes expands `$(NAME)` in commands and values, and makes one `$` of two. Doubled, each one stays as it is.

/// The text that Kubernetes makes `plain` of.
pub(in crate::runner::kubernetes) fn escaped(plain: &str) -> String {
    plain.replace('$', "$$")
}

/// What Kubernetes makes of a text that was [`escaped`].
pub(in crate::runner::kubernetes) fn plain(escaped: &str) -> String {
    escaped.replace("$$", "$")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// As Kubernetes does it (`third_party/forked/golang/expansion`), with variables that are all there.
    fn expanded(text: &str) -> String {
        let (mut out, mut rest) = (String::new(), text);
        while let Some(at) = rest.find('$') {
            out.push_str(&rest[..at]);
            rest = &rest[at + 1..];
            match rest.as_bytes().first() {
                Some(b'$') => {
                    out.push('$');
                    rest = &rest[1..];
                }
                Some(b'(') if rest.contains(')') => {
                    out.push_str("HIJACKED");
                    rest = &rest[rest.find(')').unwrap() + 1..];
                }
                Some(_) | None => out.push('$'),
            }
        }
        out + rest
    }

    #[test]
    fn unescaped_texts_are_not_what_arrives() {
        assert_eq!(expanded("pa$$w0rd $(HOME)/x $"), "pa$w0rd HIJACKED/x $");
    }

    proptest! {
        #[test]
        fn what_is_escaped_arrives_as_it_was(text in "[$()a-z ]{0,20}") {
            prop_assert_eq!(&expanded(&escaped(&text)), &text);
            prop_assert_eq!(plain(&escaped(&text)), text);
        }
    }
}
