//! Passes over the whole audit log. Each reads and hashes every row, so there are few at a time; and one reader of a
//! tenant, however slowly they read, holds up nobody of another.

use parking_lot::Mutex;
use sophon_types::TenantId;
use std::collections::HashSet;
use std::sync::Arc;

/// Passes of tenants at one time; the operator's is one more.
const AT_ONCE: usize = 4;

/// The passes under way: one of each tenant, and one of the operator, who is of none.
#[derive(Debug, Clone, Default)]
pub(crate) struct Passes(Arc<Mutex<HashSet<Option<TenantId>>>>);

/// The right to a pass; given back on drop.
#[derive(Debug)]
pub(crate) struct Pass {
    passes: Passes,
    of: Option<TenantId>,
}

impl Passes {
    /// A pass of this tenant, or of the operator; none where one is under way, or too many are.
    pub(crate) fn begin(&self, of: Option<TenantId>) -> Option<Pass> {
        let mut under_way = self.0.lock();
        let tenants = under_way.iter().filter(|of| of.is_some()).count();
        if (of.is_some() && tenants >= AT_ONCE) || !under_way.insert(of.clone()) {
            return None;
        }
        drop(under_way);
        Some(Pass { passes: self.clone(), of })
    }
}

impl Drop for Pass {
    fn drop(&mut self) {
        self.passes.0.lock().remove(&self.of);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tenant_has_one_pass_and_holds_up_nobody_else() {
        let passes = Passes::default();
        let begin = |tenant: &str| passes.begin(Some(tenant.parse().unwrap()));
        let mut held: Vec<_> = ["a1", "a2", "a3", "a4"].map(|tenant| begin(tenant).unwrap()).into();
        assert!(begin("a1").is_none() && begin("a5").is_none());
        let own = passes.begin(None).unwrap();
        assert!(passes.begin(None).is_none());
        held.pop();
        assert!(begin("a5").is_some());
        drop((held, own));
        assert!(passes.0.lock().is_empty());
    }
}
