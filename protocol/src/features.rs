//! The optional parts of the protocol. A client requests features in its `hello`, and the gateway
//! lists those that it grants in `welcome`.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de, ser::SerializeSeq};

use crate::{
    Text,
    limits::{FEATURE_BYTES, FEATURES},
};

/// An optional part of the protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Feature {
    /// The client receives the members of its session, and an event when one joins or leaves.
    Presence,
    /// The connection outlives its link for the resume window, and can be resumed with a ticket.
    /// The gateway confirms the client's signals.
    Resume,
}

impl Feature {
    /// Every feature.
    pub const ALL: [Self; 2] = [Self::Presence, Self::Resume];

    /// The name on the wire.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Presence => "presence",
            Self::Resume => "resume",
        }
    }

    const fn bit(self) -> u8 {
        1 << self as u8
    }
}

/// A set of features. On the wire it is a list of names; readers skip unknown names.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
pub struct Features(u8);

impl Features {
    /// No feature.
    pub const NONE: Self = Self(0);

    /// Whether the feature is in the set.
    pub const fn contains(self, feature: Feature) -> bool {
        self.0 & feature.bit() != 0
    }

    /// The set with this feature, if `wanted`; otherwise without.
    #[must_use]
    pub const fn with(self, feature: Feature, wanted: bool) -> Self {
        if wanted { Self(self.0 | feature.bit()) } else { Self(self.0 & !feature.bit()) }
    }

    /// The features in the set.
    pub fn iter(self) -> impl Iterator<Item = Feature> {
        Feature::ALL.into_iter().filter(move |feature| self.contains(*feature))
    }
}

impl FromIterator<Feature> for Features {
    fn from_iter<I: IntoIterator<Item = Feature>>(features: I) -> Self {
        features.into_iter().fold(Self::NONE, |set, feature| set.with(feature, true))
    }
}

impl fmt::Debug for Features {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.iter()).finish()
    }
}

impl Serialize for Features {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut list = serializer.serialize_seq(Some(self.iter().count()))?;
        for feature in self.iter() {
            list.serialize_element(feature.name())?;
        }
        list.end()
    }
}

impl<'de> Deserialize<'de> for Features {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_seq(FeatureNames)
    }
}

struct FeatureNames;

impl<'de> de::Visitor<'de> for FeatureNames {
    type Value = Features;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "at most {FEATURES} names of at most {FEATURE_BYTES} bytes")
    }

    fn visit_seq<A: de::SeqAccess<'de>>(self, mut names: A) -> Result<Features, A::Error> {
        let (mut features, mut count) = (Features::NONE, 0);
        while let Some(name) = names.next_element::<Text<'de>>()? {
            count += 1;
            if count > FEATURES || name.len() > FEATURE_BYTES {
                return Err(de::Error::invalid_length(count, &self));
            }
            let known = Feature::ALL.into_iter().find(|feature| feature.name() == &*name);
            features = known.map_or(features, |feature| features.with(feature, true));
        }
        Ok(features)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_set_is_a_list_of_names() {
        for (features, names) in [
            (Features::NONE, json!([])),
            (Features::NONE.with(Feature::Resume, true), json!(["resume"])),
            (Feature::ALL.into_iter().collect(), json!(["presence", "resume"])),
        ] {
            assert_eq!(serde_json::to_value(features).unwrap(), names);
            assert_eq!(serde_json::from_value::<Features>(names).unwrap(), features);
            let bytes = postcard::to_stdvec(&features).unwrap();
            assert_eq!(postcard::from_bytes::<Features>(&bytes).unwrap(), features);
        }
    }

    #[test]
    fn unknown_names_are_skipped_and_a_name_may_be_there_twice() {
        let presence = Features::NONE.with(Feature::Presence, true);
        let names = json!(["telepathy", "presence", "", "Resume", "presence"]);
        assert_eq!(serde_json::from_value::<Features>(names).unwrap(), presence);
        assert_eq!(presence.with(Feature::Presence, false), Features::NONE);
    }

    #[test]
    fn count_and_length_are_bounded() {
        let read = |count: usize, bytes: usize| {
            serde_json::from_value::<Features>(json!(vec!["x".repeat(bytes); count]))
        };
        assert!(read(FEATURES, FEATURE_BYTES).is_ok());
        assert!(read(FEATURES + 1, 1).is_err());
        assert!(read(1, FEATURE_BYTES + 1).is_err());
    }
}
