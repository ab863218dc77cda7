//! When nobody answers any more.
//!
//! Everybody leaving at the same moment looks exactly like a cable pulled out behind the next
//! switch. The second is far more likely, and taking it for the first would end every session of
//! the network. So a pass in which nobody answers, right after passes in which several devices
//! did, is said to be blind. Known to miss: a cut behind which some devices still answer, and a
//! network of one or two devices.

use std::collections::VecDeque;

/// With fewer devices than this, all leaving at once is an everyday event.
const SEVERAL: usize = 3;
/// How many of the latest passes are remembered.
const PASSES: usize = 4;

/// How many devices answered in the latest passes that were believed.
#[derive(Debug, Default)]
pub(super) struct Silence {
    answered: VecDeque<usize>,
    scope: String,
}

impl Silence {
    /// Takes the number of devices (other than this machine) that answered a pass that completed.
    /// Returns the reason when the pass cannot be believed.
    pub(super) fn judge(&mut self, scope: &str, answered: usize) -> Option<String> {
        if self.scope != scope {
            self.answered.clear();
            scope.clone_into(&mut self.scope);
        }
        let before = self.answered.iter().copied().max().unwrap_or(0);
        if answered == 0 && before >= SEVERAL {
            return Some(format!(
                "nobody answers any more, although {before} devices did before: this machine is probably cut off \
                 from the network ({scope})"
            ));
        }
        if self.answered.len() == PASSES {
            self.answered.pop_front();
        }
        self.answered.push_back(answered);
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sudden_silence_is_not_believed_until_somebody_answers() {
        let mut silence = Silence::default();
        assert_eq!(silence.judge("net", 0), None, "an empty network is empty");
        assert_eq!(silence.judge("net", 40), None);
        for _ in 0..20 {
            assert!(silence.judge("net", 0).is_some());
        }
        assert_eq!(silence.judge("net", 1), None);
        assert_eq!(silence.judge("other net", 0), None, "another network has another past");
    }

    #[test]
    fn the_last_two_may_leave_together() {
        let mut silence = Silence::default();
        assert_eq!(silence.judge("net", 2), None);
        assert_eq!(silence.judge("net", 0), None);
    }
}
