//! How the slots of a pool are divided among its instances. Pure.
//!
//! Half of the slots are reserved, equally many for each instance. All instances share the rest. So an
//! instance with a long backlog, or with a destination that hangs, leaves the others slots of their own.

/// The division of a pool's slots.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct SlotQuota {
    reserved_each: usize,
    shared: usize,
}

/// The free slots of a quota.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct FreeSlots {
    /// The reserved ones of each instance, in the order of the instances.
    pub(super) reserved: Vec<usize>,
    /// Those that all instances share.
    pub(super) shared: usize,
}

impl SlotQuota {
    /// Divides `slots` among `instances`. Each instance has at least one of its own if there are enough.
    pub(super) fn of(slots: usize, instances: usize) -> Self {
        let reserved_each = match slots / (2 * instances.max(1)) {
            0 if slots >= instances => 1,
            reserved_each => reserved_each,
        };
        Self { reserved_each, shared: slots.saturating_sub(reserved_each * instances) }
    }

    /// What is free while each instance runs so many executions.
    pub(super) fn free(self, running: &[usize]) -> FreeSlots {
        let borrowed: usize = running.iter().map(|running| running.saturating_sub(self.reserved_each)).sum();
        FreeSlots {
            reserved: running.iter().map(|running| self.reserved_each.saturating_sub(*running)).collect(),
            shared: self.shared.saturating_sub(borrowed),
        }
    }
}

impl FreeSlots {
    /// Divides at most `slots` of them among the instances, of which each has room for so many executions: to
    /// each its own, and of the shared ones to each as many as to the others. The result has the order of the
    /// instances.
    pub(super) fn share_out(&self, slots: usize, rooms: &[usize]) -> Vec<usize> {
        let mut left = slots;
        let mut take = |wanted: usize| {
            let taken = wanted.min(left);
            left -= taken;
            taken
        };
        let each = self.reserved.iter().zip(rooms);
        let mut shares: Vec<_> = each.map(|(own, room)| take(*own.min(room))).collect();
        let mut common = take(self.shared);
        // Those with the least room first: what they leave is for the others.
        let mut order: Vec<_> = (0..shares.len()).collect();
        order.sort_by_key(|place| rooms.get(*place));
        for (after, place) in order.iter().rev().enumerate().rev() {
            let (Some(share), Some(room)) = (shares.get_mut(*place), rooms.get(*place)) else { continue };
            let part = common.div_ceil(after + 1).min(room - *share);
            *share += part;
            common -= part;
        }
        shares
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_single_instance_may_use_every_slot() {
        for slots in 1..20 {
            let quota = SlotQuota::of(slots, 1);
            for running in 0..=slots {
                let free = quota.free(&[running]);
                assert_eq!(free.reserved[0] + free.shared, slots - running);
            }
        }
    }

    #[test]
    fn an_instance_that_takes_all_shared_slots_leaves_each_of_the_others_its_own() {
        for (slots, instances) in [(8, 2), (8, 3), (8, 8), (3, 2), (100, 7)] {
            let quota = SlotQuota::of(slots, instances);
            let mut running = vec![0; instances];
            running[0] = quota.reserved_each + quota.shared;
            let free = quota.free(&running);
            assert_eq!((free.reserved[0], free.shared), (0, 0));
            assert!(free.reserved[1..].iter().all(|own| *own >= 1), "{slots} slots, {instances} instances");
            assert_eq!(free.reserved.iter().sum::<usize>(), slots - running[0]);
        }
    }

    #[test]
    fn shared_slots_are_divided_equally_among_those_that_have_room() {
        const MANY: usize = 1000;
        let free = FreeSlots { reserved: vec![2, 2, 2], shared: 5 };
        assert_eq!(free.share_out(100, &[MANY, MANY, MANY]), [4, 4, 3]);
        assert_eq!(free.share_out(100, &[0, MANY, 0]), [0, 7, 0]);
        assert_eq!(free.share_out(100, &[1, 3, MANY]), [1, 3, 6]);
        assert_eq!(free.share_out(5, &[MANY, MANY, MANY]), [2, 2, 1]);
        assert_eq!(free.share_out(0, &[MANY, MANY, MANY]), [0, 0, 0]);
        assert_eq!(free.share_out(100, &[0, 0, 0]), [0, 0, 0]);
    }

    #[test]
    fn if_there_are_more_instances_than_slots_all_slots_are_shared() {
        let free = SlotQuota::of(3, 4).free(&[1, 0, 0, 0]);
        assert_eq!(free, FreeSlots { reserved: vec![0; 4], shared: 2 });
    }
}
