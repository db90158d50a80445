//! Connections of the users of a project.
//!
//! A user is the connection data of its tokens: all connections of a project with the same data, which
//! is not empty, are those of one user, in whichever sessions they are.

use std::{
    collections::HashMap,
    hash::{BuildHasher, RandomState},
};

/// A digest of a user's connection data.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct UserDigest(u64);

/// Makes digests. Its key is random: users choose parts of their connection data in many applications,
/// and nobody may choose data with the digest of another user. Digests therefore never leave the
/// process.
#[derive(Debug, Default)]
pub(crate) struct UserDigests(RandomState);

impl UserDigests {
    /// The digest of the user with this connection data. None if it is empty: that is no user.
    pub(crate) fn of(&self, data: &str) -> Option<UserDigest> {
        (!data.is_empty()).then(|| UserDigest(self.0.hash_one(data)))
    }
}

/// The number of connections of each user of one project. A user without a connection takes no
/// memory.
#[derive(Debug, Default)]
pub(crate) struct UserCounts(HashMap<UserDigest, usize>);

impl UserCounts {
    pub(crate) fn of(&self, user: UserDigest) -> usize {
        self.0.get(&user).copied().unwrap_or(0)
    }

    pub(crate) fn add(&mut self, user: UserDigest) {
        *self.0.entry(user).or_default() += 1;
    }

    pub(crate) fn subtract(&mut self, user: UserDigest) {
        if let Some(count) = self.0.get_mut(&user) {
            *count -= 1;
            if *count == 0 {
                self.0.remove(&user);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_without_connections_takes_no_memory() {
        let (digests, mut counts) = (UserDigests::default(), UserCounts::default());
        let [alice, bob] = ["alice", "bob"].map(|data| digests.of(data).unwrap());
        counts.add(alice);
        counts.add(alice);
        counts.add(bob);
        counts.subtract(alice);
        assert_eq!((counts.of(alice), counts.of(bob)), (1, 1));
        counts.subtract(alice);
        counts.subtract(bob);
        assert!(counts.0.is_empty());
        assert_eq!(digests.of(""), None);
    }
}
