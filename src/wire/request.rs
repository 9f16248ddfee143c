//! The one view of a command. A socket, a peer lane, the journal, a MULTI queue and a script all hand over the same thing:
//! raw bytes and where in them the arguments stand. Nothing is copied to make it.

/// One argument's place in the bytes of its request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    pub start: u32,
    pub len: u32,
}

impl Span {
    #[inline]
    fn of(self, bytes: &[u8]) -> &[u8] {
        &bytes[self.start as usize..self.start as usize + self.len as usize]
    }
}

/// The arguments of a command, its name first, borrowed from wherever they lie.
#[derive(Clone, Copy, Debug)]
pub struct Args<'a> {
    bytes: &'a [u8],
    spans: &'a [Span],
}

impl<'a> Args<'a> {
    /// Every span lies inside `bytes`: whoever parses makes it so, and `at` checks it again.
    #[inline]
    pub fn new(bytes: &'a [u8], spans: &'a [Span]) -> Self {
        Self { bytes, spans }
    }

    /// Number of arguments, the command's name included.
    #[inline]
    pub fn len(&self) -> usize {
        self.spans.len()
    }

    #[inline]
    pub fn is_empty(&self) -> bool {
        self.spans.is_empty()
    }

    /// # Panics
    /// If there is no argument `i`: arity was checked before.
    #[inline]
    pub fn at(&self, i: usize) -> &'a [u8] {
        self.spans[i].of(self.bytes)
    }

    #[inline]
    pub fn get(&self, i: usize) -> Option<&'a [u8]> {
        self.spans.get(i).map(|span| span.of(self.bytes))
    }

    pub fn iter(&self) -> impl ExactSizeIterator<Item = &'a [u8]> + Clone + use<'a> {
        let bytes = self.bytes;
        self.spans.iter().map(move |span| span.of(bytes))
    }

    /// Bytes from the first word to the end of the last, in the order in which they came.
    pub fn extent(&self) -> usize {
        match (self.spans.first(), self.spans.last()) {
            (Some(first), Some(last)) => (last.start - first.start + last.len) as usize,
            _ => 0,
        }
    }

    /// Appends the bytes of the request, as they came, to `bytes` and its words to `spans`, relative to where those bytes begin.
    pub fn copy_to(&self, bytes: &mut Vec<u8>, spans: &mut Vec<Span>) {
        let Some(start) = self.spans.first().map(|first| first.start) else { return };
        bytes.extend_from_slice(&self.bytes[start as usize..start as usize + self.extent()]);
        spans.extend(self.spans.iter().map(|span| Span { start: span.start - start, len: span.len }));
    }

    /// The arguments from `first` on, `first` becoming number 0.
    pub fn from(&self, first: usize) -> Self {
        Self { bytes: self.bytes, spans: &self.spans[first.min(self.spans.len())..] }
    }
}

/// A command that owns its bytes: an inline request, a queued one, one on its way to another lane.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Request {
    bytes: Vec<u8>,
    spans: Vec<Span>,
}

impl Request {
    pub fn args(&self) -> Args<'_> {
        Args::new(&self.bytes, &self.spans)
    }

    /// Of bytes in which the words stand, each so many bytes behind its span.
    pub fn adopted(bytes: Vec<u8>, mut spans: Vec<Span>, behind: usize) -> Self {
        if behind > 0 {
            let behind = u32::try_from(behind).expect("requests are bounded below 4 GiB");
            spans.iter_mut().for_each(|span| span.start += behind);
        }
        Self { bytes, spans }
    }

    /// With room for so many bytes and words.
    pub fn with_capacity(bytes: usize, words: usize) -> Self {
        Self { bytes: Vec::with_capacity(bytes), spans: Vec::with_capacity(words) }
    }

    /// # Panics
    /// If the whole no longer fits 32-bit spans; every source of requests is bounded below that.
    pub fn push(&mut self, arg: &[u8]) {
        let start = u32::try_from(self.bytes.len()).expect("requests are bounded below 4 GiB");
        let len = u32::try_from(arg.len()).expect("requests are bounded below 4 GiB");
        self.bytes.extend_from_slice(arg);
        self.spans.push(Span { start, len });
    }
}

impl From<Args<'_>> for Request {
    fn from(args: Args<'_>) -> Self {
        let mut request = Self::default();
        args.copy_to(&mut request.bytes, &mut request.spans);
        request
    }
}

impl<'a> FromIterator<&'a [u8]> for Request {
    fn from_iter<I: IntoIterator<Item = &'a [u8]>>(args: I) -> Self {
        let mut request = Self::default();
        args.into_iter().for_each(|arg| request.push(arg));
        request
    }
}
