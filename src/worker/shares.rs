//! How the slots of a pool are shared out among its instances. Pure.
//!
//! Half of them belong to the instances, to each as many as to any other; what remains is for whoever
//! has more that is due. So an instance whose backlog is long, or whose destination hangs, leaves the
//! others slots of their own.

/// The shares.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Shares {
    of_each: usize,
    common: usize,
}

/// What is left of them: of its own share for each instance, and of what is common.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Left {
    pub(super) own: Vec<usize>,
    pub(super) common: usize,
}

impl Shares {
    /// Of so many slots, for so many instances. Each has one of its own at least, where there are as many.
    pub(super) fn of(slots: usize, instances: usize) -> Self {
        let of_each = match slots / (2 * instances.max(1)) {
            0 if slots >= instances => 1,
            of_each => of_each,
        };
        Self { of_each, common: slots.saturating_sub(of_each * instances) }
    }

    /// What is left while the instances have so many executions under way.
    pub(super) fn left(self, running: &[usize]) -> Left {
        let borrowed: usize = running.iter().map(|running| running.saturating_sub(self.of_each)).sum();
        Left {
            own: running.iter().map(|running| self.of_each.saturating_sub(*running)).collect(),
            common: self.common.saturating_sub(borrowed),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_single_instance_may_use_every_slot() {
        for slots in 1..20 {
            let shares = Shares::of(slots, 1);
            for running in 0..=slots {
                let left = shares.left(&[running]);
                assert_eq!(left.own[0] + left.common, slots - running);
            }
        }
    }

    #[test]
    fn whoever_takes_all_that_is_common_leaves_each_of_the_others_its_own() {
        for (slots, instances) in [(8, 2), (8, 3), (8, 8), (3, 2), (100, 7)] {
            let shares = Shares::of(slots, instances);
            let mut running = vec![0; instances];
            running[0] = shares.of_each + shares.common;
            let left = shares.left(&running);
            assert_eq!((left.own[0], left.common), (0, 0));
            assert!(left.own[1..].iter().all(|own| *own >= 1), "{slots} slots, {instances} instances");
            assert_eq!(left.own.iter().sum::<usize>(), slots - running[0]);
        }
    }

    #[test]
    fn where_there_are_more_instances_than_slots_all_of_them_are_common() {
        assert_eq!(Shares::of(3, 4).left(&[1, 0, 0, 0]), Left { own: vec![0; 4], common: 2 });
    }
}
