//! What the evidence of an alert has in common, and the first few of what differs.

use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::xxh3_64;

use crate::event::{
    CredentialFacts, Facts, OriginFacts, PrincipalFacts, TargetFacts, Word, word_or_none,
};

/// What all requests of an alert have in common; `None` where they differ, or none has it.
/// It can only shrink, so the order of adding does not matter.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shared {
    /// `None` when names or kinds differ. Its impersonator is the common one, its groups are
    /// those that were always there.
    pub principal: Option<PrincipalFacts>,
    /// `None` when credentials differ or none was recorded.
    pub credential: Option<CredentialFacts>,
    /// Field by field.
    pub origin: SharedOrigin,
    /// Field by field.
    pub target: SharedTarget,
}

/// [`OriginFacts`] field by field.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[expect(
    missing_docs,
    reason = "each is the field of OriginFacts of the same name"
)]
pub struct SharedOrigin {
    pub ip: Option<Box<str>>,
    #[serde(deserialize_with = "word_or_none")]
    pub scope: Option<Word>,
    pub client: Option<Box<str>>,
    pub user_agent: Option<Box<str>>,
}

/// [`TargetFacts`] field by field.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[expect(
    missing_docs,
    reason = "each is the field of TargetFacts of the same name"
)]
pub struct SharedTarget {
    pub verb: Option<Box<str>>,
    pub resource: Option<Box<str>>,
    pub subresource: Option<Box<str>>,
    pub namespace: Option<Box<str>>,
    pub name: Option<Box<str>>,
}

impl Shared {
    /// One request has everything in common with itself.
    pub(super) fn of(facts: &Facts) -> Self {
        Self {
            principal: Some(PrincipalFacts::clone(&facts.principal)),
            credential: facts.credential.as_deref().cloned(),
            origin: SharedOrigin::of(&facts.origin),
            target: SharedTarget::of(&facts.target),
        }
    }

    /// Keeps what `facts` has as well.
    pub(super) fn add(&mut self, facts: &Facts) {
        self.principal = self
            .principal
            .take()
            .and_then(|common| both(common, &facts.principal));
        self.credential = self
            .credential
            .take()
            .and_then(|common| same_credential(common, facts.credential.as_deref()?));
        self.origin.add(&facts.origin);
        self.target.add(&facts.target);
    }
}

fn both(mut common: PrincipalFacts, other: &PrincipalFacts) -> Option<PrincipalFacts> {
    if common.name != other.name || common.kind != other.kind {
        return None;
    }
    keep(&mut common.impersonator, other.impersonator.as_ref());
    common.groups.retain(|group| other.groups.contains(group));
    Some(common)
}

/// That a token was minted may have come to be known only after its first use.
fn same_credential(
    mut common: CredentialFacts,
    other: &CredentialFacts,
) -> Option<CredentialFacts> {
    let is_same = common.id == other.id && common.kind == other.kind;
    common.minted = common.minted.or_else(|| other.minted.clone());
    is_same.then_some(common)
}

impl SharedOrigin {
    fn of(origin: &OriginFacts) -> Self {
        Self {
            ip: origin.ip.clone(),
            scope: Some(origin.scope),
            client: Some(origin.client.clone()),
            user_agent: Some(origin.user_agent.clone()),
        }
    }

    fn add(&mut self, origin: &OriginFacts) {
        keep(&mut self.ip, origin.ip.as_ref());
        keep(&mut self.scope, Some(&origin.scope));
        keep(&mut self.client, Some(&origin.client));
        keep(&mut self.user_agent, Some(&origin.user_agent));
    }
}

impl SharedTarget {
    fn of(target: &TargetFacts) -> Self {
        let TargetFacts {
            verb,
            resource,
            subresource,
            namespace,
            name,
        } = target.clone();
        Self {
            verb: Some(verb),
            resource,
            subresource,
            namespace,
            name,
        }
    }

    fn add(&mut self, target: &TargetFacts) {
        keep(&mut self.verb, Some(&target.verb));
        keep(&mut self.resource, target.resource.as_ref());
        keep(&mut self.subresource, target.subresource.as_ref());
        keep(&mut self.namespace, target.namespace.as_ref());
        keep(&mut self.name, target.name.as_ref());
    }
}

fn keep<T: PartialEq>(common: &mut Option<T>, other: Option<&T>) {
    if common.as_ref() != other {
        *common = None;
    }
}

/// Values of which there may be many: the first few distinct ones, and how many there are.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Several {
    first: Vec<Box<str>>,
    hashes: Vec<u64>,
}

impl Several {
    /// How many values are kept.
    pub const FIRST_MAX: usize = 8;
    /// How far distinct values are counted.
    pub const DISTINCT_MAX: usize = 64;

    /// The first distinct values, in order of arrival; at most [`Several::FIRST_MAX`].
    pub fn first(&self) -> &[Box<str>] {
        &self.first
    }

    /// How many distinct values there are; [`Several::DISTINCT_MAX`] means as many or more.
    pub fn distinct(&self) -> usize {
        self.hashes.len()
    }

    pub(super) fn add(&mut self, value: &str) {
        if self.hashes.len() == Self::DISTINCT_MAX {
            return;
        }
        let hash = xxh3_64(value.as_bytes());
        if let Err(place) = self.hashes.binary_search(&hash) {
            self.hashes.insert(place, hash);
            if self.first.len() < Self::FIRST_MAX {
                self.first.push(value.into());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::{alert::samples, event::Minting};

    #[test]
    fn keeps_what_all_have_in_common() {
        let first = Facts::clone(&samples::facts_at(1));
        let mut shared = Shared::of(&first);
        shared.add(&first);
        assert_eq!(shared, Shared::of(&first));

        let mut second = first.clone();
        second.target.verb = "list".into();
        second.target.name = None;
        Arc::make_mut(&mut second.origin).ip = Some("198.51.100.9".into());
        Arc::make_mut(&mut second.principal).groups = vec!["system:authenticated".into()];
        Arc::make_mut(&mut second.principal).impersonator = Some("bob".into());
        shared.add(&second);
        let principal = shared.principal.clone().unwrap();
        assert_eq!(principal.name, first.principal.name);
        assert_eq!((principal.impersonator, principal.groups.len()), (None, 1));
        assert_eq!(
            (shared.target.verb.clone(), shared.target.name.clone()),
            (None, None)
        );
        assert_eq!(
            (
                shared.target.resource.as_deref(),
                shared.origin.ip.as_deref()
            ),
            (Some("secrets"), None)
        );
        assert_eq!(
            (shared.origin.scope, shared.credential.is_some()),
            (Some("public"), true)
        );

        let minted = Arc::new(Minting {
            by: "eve".into(),
            at: first.evidence.time,
            from: None,
            audit_id: "1".into(),
            earlier: None,
        });
        if let Some(credential) = &mut second.credential {
            Arc::make_mut(credential).minted = Some(Arc::clone(&minted));
        }
        shared.add(&second);
        shared.add(&first);
        let credential = shared.credential.clone().unwrap();
        assert_eq!(
            credential.minted,
            Some(minted),
            "once known, it stays known"
        );

        Arc::make_mut(&mut second.principal).name = "mallory".into();
        second.credential = None;
        shared.add(&second);
        shared.add(&first);
        assert_eq!(
            (shared.principal, shared.credential),
            (None, None),
            "what is gone stays gone"
        );
    }

    #[test]
    fn counts_far_and_keeps_few() {
        let mut several = Several::default();
        for n in 0..200 {
            several.add(&format!("team-{}", n % 100));
        }
        assert_eq!(
            (several.first().len(), several.distinct()),
            (8, Several::DISTINCT_MAX)
        );
        assert_eq!(&*several.first()[7], "team-7");
        let names: Vec<Arc<str>> = vec!["a".into(), "b".into(), "a".into()];
        let mut two = Several::default();
        for name in &names {
            two.add(name);
        }
        assert_eq!((two.first().len(), two.distinct()), (2, 2));
    }
}
