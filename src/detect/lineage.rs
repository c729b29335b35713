//! Where a token comes from: the request that minted it is remembered, and told with every
//! detection in whose evidence the token shows up.

use std::{collections::VecDeque, sync::Arc};

use hashbrown::HashMap;
use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::xxh3_128;

use super::{Detection, snapshot::kind};
use crate::{
    event::{Event, Minting, Slot},
    window::{Key, Owner, Rows, Unreadable, read},
};

/// How many tokens are remembered of those that nodes ask for, and as many of those that others
/// do: the kubelets' steady asking must not push out what somebody minted by hand.
const TOKENS_MAX: usize = 8_192;

pub(super) const OWNER: Owner = Owner {
    kind: kind::LINEAGE,
    of: 0,
};

/// A request that minted a token.
#[derive(Clone, Debug)]
pub struct Minted {
    token: Key,
    /// The credential of whoever asked.
    with: Option<Key>,
    /// Whether a node asked, as it does for its pods.
    is_of_node: bool,
    minting: Minting,
}

/// The tokens of late and who minted them.
#[derive(Default)]
pub(super) struct Lineage {
    known: HashMap<Key, Entry>,
    /// The tokens that nodes asked for, and those that others did, the oldest first.
    order: [VecDeque<Key>; 2],
    /// How many were remembered so far.
    number: u64,
    forgotten: u64,
    /// Those that came, and those that went, since the rows were last taken.
    came: Vec<Key>,
    went: Vec<Key>,
}

#[derive(Serialize, Deserialize)]
struct Entry {
    number: u64,
    is_of_node: bool,
    minting: Arc<Minting>,
}

/// A token as the API server names it, in one cluster.
fn key(cluster: &str, id: &str) -> Key {
    let mut bytes = Vec::with_capacity(cluster.len() + id.len() + 1);
    bytes.extend(cluster.as_bytes());
    bytes.push(0);
    bytes.extend(id.as_bytes());
    Key(xxh3_128(&bytes))
}

impl Minted {
    /// What an event says of a token that its request made; `None` for nearly every event.
    pub(super) fn of(event: &Event<'_>) -> Option<Self> {
        if event.slots().raw(Slot::Subresource) != "\"token\"" {
            return None;
        }
        let id = event.issued_credential()?;
        let cluster = &event.context().cluster;
        let own = event.credential_id();
        Some(Self {
            token: key(cluster, &id),
            with: own.map(|own| key(cluster, &own)),
            is_of_node: event.principal_kind().name() == "node",
            minting: Minting::of(event),
        })
    }
}

impl Lineage {
    /// Takes in that a token was minted. What is known of a token does not change.
    pub(super) fn remember(&mut self, minted: &Minted) {
        if self.known.contains_key(&minted.token) {
            return;
        }
        let mut minting = minted.minting.clone();
        let own = minted.with.and_then(|own| self.known.get(&own));
        minting.earlier = own.and_then(|own| Minting::earlier(&own.minting));
        let entry = Entry {
            number: self.number,
            is_of_node: minted.is_of_node,
            minting: Arc::new(minting),
        };
        self.number += 1;
        self.add(minted.token, entry);
        self.came.push(minted.token);
        let order = &mut self.order[usize::from(minted.is_of_node)];
        if order.len() > TOKENS_MAX
            && let Some(oldest) = order.pop_front()
        {
            self.known.remove(&oldest);
            self.went.push(oldest);
            self.forgotten += 1;
        }
    }

    fn add(&mut self, token: Key, entry: Entry) {
        self.order[usize::from(entry.is_of_node)].push_back(token);
        self.known.insert(token, entry);
    }

    /// Adds to the evidence of a detection who minted the tokens that were used.
    pub(super) fn tell(&self, detection: &mut Detection) {
        if self.known.is_empty() {
            return;
        }
        for facts in &mut detection.evidence {
            let Some(credential) = &facts.credential else {
                continue;
            };
            let Some(entry) = self.known.get(&key(&facts.cluster, &credential.id)) else {
                continue;
            };
            if let Some(credential) = &mut Arc::make_mut(facts).credential {
                Arc::make_mut(credential).minted = Some(Arc::clone(&entry.minting));
            }
        }
    }

    /// How many were let go because there were too many.
    pub(super) const fn forgotten(&self) -> u64 {
        self.forgotten
    }

    /// Adds the rows that changed since this was last called.
    pub(super) fn changes(&mut self, rows: &mut Rows) {
        for token in self.came.drain(..) {
            if let Some(entry) = self.known.get(&token) {
                rows.put(OWNER, &token.0.to_le_bytes(), entry);
            }
        }
        for token in self.went.drain(..) {
            rows.remove(OWNER, &token.0.to_le_bytes());
        }
    }

    /// Takes up what all rows hold.
    ///
    /// # Errors
    /// When a row is not what [`changes`](Self::changes) wrote.
    pub(super) fn restore<'a>(
        &mut self,
        rows: impl Iterator<Item = (&'a [u8], &'a [u8])>,
    ) -> Result<(), Unreadable> {
        let mut entries = Vec::new();
        for (token, value) in rows {
            let token = token.try_into().map_err(|_| Unreadable { owner: OWNER })?;
            let entry: Entry = read(OWNER, value)?;
            entries.push((Key(u128::from_le_bytes(token)), entry));
        }
        entries.sort_by_key(|(_, entry)| entry.number);
        for (token, entry) in entries {
            self.number = entry.number + 1;
            self.add(token, entry);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::units::Time;

    fn minted(token: u128, with: Option<u128>, by: &str, is_of_node: bool) -> Minted {
        Minted {
            token: Key(token),
            with: with.map(Key),
            is_of_node,
            minting: Minting {
                by: by.into(),
                at: Time::from_micros(token as i64),
                from: None,
                audit_id: format!("audit-{token}").into(),
                earlier: None,
            },
        }
    }

    fn chain(lineage: &Lineage, token: u128) -> Vec<String> {
        let first = lineage.known.get(&Key(token));
        let mut next = first.map(|entry| Arc::clone(&entry.minting));
        let mut names = Vec::new();
        while let Some(minting) = next {
            names.push(minting.by.to_string());
            next = minting.earlier.clone();
        }
        names
    }

    #[test]
    fn a_chain_is_followed_so_far() {
        let mut lineage = Lineage::default();
        lineage.remember(&minted(1, None, "bob", false));
        for token in 2..100 {
            let by = format!("account-{token}");
            lineage.remember(&minted(token, Some(token - 1), &by, false));
        }
        assert_eq!(chain(&lineage, 1), ["bob"]);
        assert_eq!(chain(&lineage, 3), ["account-3", "account-2", "bob"]);
        assert_eq!(chain(&lineage, 99).len(), Minting::CHAIN_MAX);
        lineage.remember(&minted(1, None, "mallory", false));
        assert_eq!(chain(&lineage, 1), ["bob"], "the first word stands");
    }

    #[test]
    fn nodes_do_not_push_out_what_was_minted_by_hand() {
        let mut lineage = Lineage::default();
        lineage.remember(&minted(1, None, "bob", false));
        for token in 2..2 * TOKENS_MAX as u128 {
            lineage.remember(&minted(token, None, "system:node:a", true));
        }
        assert_eq!(lineage.known.len(), TOKENS_MAX + 1);
        assert_eq!(lineage.forgotten() as usize, TOKENS_MAX - 2);
        assert_eq!(chain(&lineage, 1), ["bob"]);
        assert!(chain(&lineage, 2).is_empty());
    }

    #[test]
    fn goes_on_from_its_rows() {
        let mut lineage = Lineage::default();
        let mut kept = std::collections::BTreeMap::new();
        for token in (1..TOKENS_MAX as u128 + 40).rev() {
            lineage.remember(&minted(token, Some(token + 1), "ann", false));
            let mut rows = Rows::default();
            lineage.changes(&mut rows);
            for row in rows.iter() {
                let key = row.key.to_vec();
                match row.value {
                    Some(value) => kept.insert(key, value.to_vec()),
                    None => kept.remove(&key),
                };
            }
        }
        let mut other = Lineage::default();
        let rows = kept.iter().map(|(key, value)| (&**key, &**value));
        other.restore(rows).unwrap();
        assert_eq!(
            (other.number, &other.order),
            (lineage.number, &lineage.order)
        );
        assert_eq!(chain(&other, 9), chain(&lineage, 9));
        assert!(other.restore([(&[1][..], &[2][..])].into_iter()).is_err());
    }
}
