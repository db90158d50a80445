//! The order in which streams have become idle.

/// Streams that have nothing to write, by the time since which that is so.
///
/// With more active senders than streams, nearly every signal needs the stream that has been idle
/// longest, and every signal on a stream ends its idle time. So both take constant time: this is a
/// doubly linked list, whose nodes are in a vector by the number of the stream.
#[derive(Debug, Default)]
pub(super) struct IdleOrder {
    /// The ends of the list: after them comes the stream that has been idle longest, and before them
    /// the one that has become idle last.
    ends: Neighbours,
    /// The neighbours of each stream that is in the list.
    streams: Vec<Neighbours>,
}

/// The neighbours of a node; `None` is the end of the list.
#[derive(Debug, Default, Clone, Copy)]
struct Neighbours {
    before: Option<usize>,
    after: Option<usize>,
}

impl IdleOrder {
    /// A stream, which must not be idle yet, has become idle.
    pub(super) fn push(&mut self, stream: usize) {
        if stream >= self.streams.len() {
            self.streams.resize(stream + 1, Neighbours::default());
        }
        self.connect(self.ends.before, Some(stream));
        self.connect(Some(stream), None);
    }

    /// An idle stream is needed by its own sender or has lost it.
    pub(super) fn remove(&mut self, stream: usize) {
        let Neighbours { before, after } = *self.node(Some(stream));
        self.connect(before, after);
    }

    /// The stream that has been idle longest.
    pub(super) fn first(&self) -> Option<usize> {
        self.ends.after
    }

    fn connect(&mut self, before: Option<usize>, after: Option<usize>) {
        self.node(before).after = after;
        self.node(after).before = before;
    }

    fn node(&mut self, stream: Option<usize>) -> &mut Neighbours {
        stream.and_then(|stream| self.streams.get_mut(stream)).unwrap_or(&mut self.ends)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// All streams in the order in which they would be given away.
    fn drain(order: &mut IdleOrder) -> Vec<usize> {
        std::iter::from_fn(|| order.first().inspect(|first| order.remove(*first))).collect()
    }

    #[test]
    fn the_stream_that_has_been_idle_longest_is_first() {
        let mut order = IdleOrder::default();
        assert_eq!(order.first(), None);
        for stream in [2, 0, 3, 1] {
            order.push(stream);
        }
        assert_eq!(order.first(), Some(2));
        assert_eq!(drain(&mut order), [2, 0, 3, 1]);
        assert_eq!(order.first(), None);
    }

    #[test]
    fn a_stream_that_was_used_comes_last() {
        let mut order = IdleOrder::default();
        (0..4).for_each(|stream| order.push(stream));
        // The first, one in the middle, and the last.
        for stream in [0, 2, 2] {
            order.remove(stream);
            order.push(stream);
        }
        assert_eq!(drain(&mut order), [1, 3, 0, 2]);
    }

    #[test]
    fn a_stream_that_is_busy_is_never_chosen() {
        let mut order = IdleOrder::default();
        (0..4).for_each(|stream| order.push(stream));
        for stream in [0, 3, 1] {
            order.remove(stream);
        }
        assert_eq!(drain(&mut order), [2]);
        order.push(3);
        assert_eq!(drain(&mut order), [3]);
    }
}
