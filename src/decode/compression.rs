//! Decompression: tells gzip, zstd and plain bytes apart by their first bytes, never by a name.
//!
//! Everything streams. A small input that unpacks to terabytes costs time, never memory: the
//! reader holds one buffer and one window (at most 128 MiB, for zstd).

use std::io::{self, BufRead, BufReader, Cursor, Read};

use flate2::bufread::GzDecoder;

const GZIP: [u8; 2] = [0x1f, 0x8b];
const ZSTD: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];
/// zstd's skippable frames, some of which writers put first: `5? 2a 4d 18`.
const ZSTD_SKIPPABLE: [u8; 3] = [0x2a, 0x4d, 0x18];
/// How much compressed input is read at a time.
const INPUT_BYTES: usize = 64 << 10;

/// A reader together with the first bytes that were looked at.
type Peeked<R> = io::Chain<Cursor<Vec<u8>>, R>;

/// The plain bytes of a compressed or uncompressed input.
///
/// Reading gives an error where compressed data is damaged or breaks off; what came before has
/// then been given out. [`is_corruption`] tells that from an error of the reader below.
pub struct Plain<R: Read>(Inner<R>);

enum Inner<R: Read> {
    Plain(Peeked<R>),
    Gzip(Box<Gzip<R>>),
    Zstd(zstd::Decoder<'static, BufReader<Peeked<R>>>),
}

/// Looks at the first bytes of `reader` and decompresses what needs it: gzip with any number of
/// members and zero bytes behind them, zstd with any number of frames, anything else as it is.
///
/// # Errors
/// When the first bytes cannot be read.
pub fn open<R: Read>(mut reader: R) -> io::Result<Plain<R>> {
    let mut magic = Vec::with_capacity(ZSTD.len());
    reader
        .by_ref()
        .take(ZSTD.len() as u64)
        .read_to_end(&mut magic)?;
    let is_gzip = magic.starts_with(&GZIP);
    let is_skippable = magic.first().is_some_and(|first| first & 0xf0 == 0x50)
        && magic.get(1..) == Some(&ZSTD_SKIPPABLE[..]);
    let is_zstd = magic == ZSTD || is_skippable;
    let peeked = Cursor::new(magic).chain(reader);
    Ok(Plain(if is_gzip {
        let input = BufReader::with_capacity(INPUT_BYTES, peeked);
        Inner::Gzip(Box::new(Gzip {
            member: Some(GzDecoder::new(input)),
        }))
    } else if is_zstd {
        let input = BufReader::with_capacity(INPUT_BYTES, peeked);
        Inner::Zstd(zstd::Decoder::with_buffer(input)?)
    } else {
        Inner::Plain(peeked)
    }))
}

/// Whether a read failed because the compressed data is damaged, and not because the disk or the
/// connection below failed.
pub fn is_corruption(error: &io::Error) -> bool {
    error.raw_os_error().is_none() && error.kind() != io::ErrorKind::Interrupted
}

impl<R: Read> Plain<R> {
    /// Whether the input is compressed.
    pub fn is_compressed(&self) -> bool {
        !matches!(self.0, Inner::Plain(_))
    }
}

impl<R: Read> Read for Plain<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        match &mut self.0 {
            Inner::Plain(reader) => reader.read(into),
            Inner::Gzip(reader) => reader.read(into),
            Inner::Zstd(reader) => reader.read(into),
        }
    }
}

/// gzip members one after the other. flate2's own multi-member reader takes zero bytes behind
/// the last member (tapes and block devices pad so) for a broken header; this one skips them.
struct Gzip<R: Read> {
    /// The member being read; gone once the input has ended or failed.
    member: Option<GzDecoder<BufReader<Peeked<R>>>>,
}

impl<R: Read> Read for Gzip<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        if into.is_empty() {
            return Ok(0);
        }
        while let Some(member) = &mut self.member {
            let count = member.read(into)?;
            if count > 0 {
                return Ok(count);
            }
            self.member = match self.member.take() {
                Some(ended) => next_member(ended.into_inner())?,
                None => None,
            };
        }
        Ok(0)
    }
}

fn next_member<B: BufRead>(mut input: B) -> io::Result<Option<GzDecoder<B>>> {
    loop {
        let bytes = input.fill_buf()?;
        if bytes.is_empty() {
            return Ok(None);
        }
        let zeros = bytes.iter().take_while(|byte| **byte == 0).count();
        if zeros < bytes.len() {
            input.consume(zeros);
            return Ok(Some(GzDecoder::new(input)));
        }
        input.consume(zeros);
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::{Compression, write::GzEncoder};

    use super::*;

    fn gzip(plain: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(plain).unwrap();
        encoder.finish().unwrap()
    }

    fn zstd(plain: &[u8]) -> Vec<u8> {
        zstd::encode_all(plain, 1).unwrap()
    }

    /// What could be read, and whether the end was reached without error.
    fn read(input: &[u8]) -> (Vec<u8>, io::Result<()>) {
        let mut reader = open(input).unwrap();
        let (mut all, mut chunk) = (Vec::new(), [0; 1000]);
        loop {
            match reader.read(&mut chunk) {
                Ok(0) => return (all, Ok(())),
                Ok(count) => all.extend_from_slice(&chunk[..count]),
                Err(error) => return (all, Err(error)),
            }
        }
    }

    #[test]
    fn reads_every_form_by_its_first_bytes() {
        let skippable = [0x53, 0x2a, 0x4d, 0x18, 3, 0, 0, 0, 9, 9, 9];
        for (input, plain) in [
            (b"plain\n".to_vec(), "plain\n"),
            (Vec::new(), ""),
            (b"\x1f".to_vec(), "\x1f"),
            (gzip(b"one"), "one"),
            ([gzip(b"one"), gzip(b""), gzip(b"two")].concat(), "onetwo"),
            (
                [gzip(b"one"), vec![0; 200_000], gzip(b"two"), vec![0; 7]].concat(),
                "onetwo",
            ),
            (zstd(b"one"), "one"),
            (
                [zstd(b"one"), skippable.to_vec(), zstd(b"two")].concat(),
                "onetwo",
            ),
            ([skippable.to_vec(), zstd(b"one")].concat(), "one"),
        ] {
            let (read, end) = read(&input);
            assert_eq!(
                (read, end.is_ok()),
                (plain.as_bytes().to_vec(), true),
                "{plain}"
            );
        }
    }

    #[test]
    fn a_corrupt_tail_keeps_what_came_before() {
        // Text that does not compress away, so that the cut falls into its middle.
        let random = |n: u64| n.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ (n << 7);
        let numbers: Vec<_> = (0..200_000).map(|n| random(n).to_string()).collect();
        let numbers = numbers.join("\n");
        let plain = numbers.as_bytes();
        for mut packed in [gzip(plain), zstd(plain)] {
            packed.truncate(packed.len() / 2);
            let (read, end) = read(&packed);
            assert!(is_corruption(&end.unwrap_err()));
            assert!(!read.is_empty() && plain.starts_with(&read));
        }
        let (read, end) = read(&[gzip(b"one"), b"rubbish".to_vec()].concat());
        assert_eq!(read, b"one");
        assert!(is_corruption(&end.unwrap_err()));
    }

    #[test]
    fn a_failing_disk_is_not_corruption() {
        assert!(!is_corruption(&io::Error::from_raw_os_error(5)));
    }
}
