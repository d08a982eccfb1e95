//! Takes a digest, gives as much of it as is kept.

/// Its first bytes; zeros where it has fewer.
pub(crate) fn first<const N: usize>(digest: &[u8]) -> [u8; N] {
    let mut first = [0; N];
    first
        .iter_mut()
        .zip(digest)
        .for_each(|(to, from)| *to = *from);
    first
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_is_the_beginning() {
        assert_eq!(first(&[1, 2, 3]), [1, 2]);
        assert_eq!(first(&[1]), [1, 0]);
    }
}
