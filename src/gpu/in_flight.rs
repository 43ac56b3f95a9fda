//! How much a queue may be behind.

/// Submits from one mark to the next.
const SUBMITS: usize = 32;

/// Bytes written from one mark to the next: each write waits in memory of its own until the queue gets to it.
const BYTES: u64 = 1 << 28;

/// Marks in a queue. Before work goes on past a mark, the mark before it must be reached: at most two stretches are on their way,
/// and a GPU that falls behind does not let memory grow.
#[derive(Debug)]
pub(super) struct InFlight<I> {
    submits: usize,
    bytes: u64,
    latest: Option<I>,
    last: Option<I>,
    /// The mark that must be reached, and how many were before it.
    due: Option<(usize, I)>,
    marks: usize,
}

impl<I> Default for InFlight<I> {
    fn default() -> Self {
        Self {
            submits: 0,
            bytes: 0,
            latest: None,
            last: None,
            due: None,
            marks: 0,
        }
    }
}

impl<I: Clone> InFlight<I> {
    /// Counts bytes that a submit will take. Says whether they are so many that they should be submitted by themselves.
    pub(super) fn write(&mut self, bytes: u64) -> bool {
        self.bytes = self.bytes.saturating_add(bytes);
        self.bytes >= BYTES
    }

    /// Counts a submit.
    pub(super) fn submit(&mut self, index: I) {
        self.submits += 1;
        self.latest = Some(index.clone());
        if self.submits >= SUBMITS || self.bytes >= BYTES {
            (self.submits, self.bytes) = (0, 0);
            self.marks += 1;
            let marks = self.marks;
            self.due = self.last.replace(index).map(|last| (marks, last));
        }
    }

    /// The latest submit.
    pub(super) fn latest(&self) -> Option<I> {
        self.latest.clone()
    }

    /// The mark that must be reached before more is queued, if any: its number, and the submit.
    pub(super) fn due(&self) -> Option<(usize, I)> {
        self.due.clone()
    }

    /// Says that a mark is reached.
    pub(super) fn reached(&mut self, mark: usize) {
        self.due.take_if(|(due, _)| *due <= mark);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A device that does nothing until it is waited for.
    #[test]
    fn a_slow_device_is_waited_for() {
        let mut in_flight = InFlight::default();
        let (mut done, mut most) = (0, 0);
        for index in 1..=1000 {
            if let Some((mark, due)) = in_flight.due() {
                done = done.max(due);
                in_flight.reached(mark);
            }
            in_flight.submit(index);
            most = most.max(index - done);
        }
        assert!((SUBMITS..=2 * SUBMITS).contains(&most), "{most}");
    }

    #[test]
    fn large_writes_are_waited_for_sooner() {
        let mut in_flight = InFlight::default();
        let (mut index, mut done, mut written) = (0, 0, vec![]);
        for _ in 0..100 {
            if let Some((mark, due)) = in_flight.due() {
                done = done.max(due);
                in_flight.reached(mark);
            }
            let bytes = BYTES / 3;
            let full = in_flight.write(bytes);
            index += 1;
            written.push((index, bytes));
            if full {
                in_flight.submit(index);
            }
            written.retain(|(index, _)| *index > done);
            let waiting: u64 = written.iter().map(|(_, bytes)| bytes).sum();
            assert!(waiting <= 2 * BYTES + 2 * bytes, "{waiting}");
        }
    }
}
