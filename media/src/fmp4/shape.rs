//! Which boxes may be where, checked before a box goes to the general parser.
//!
//! That parser goes down into any box that it knows, as deep as a file says, and sets memory
//! aside for counts that a file claims. Files come from units, and a unit can be in wrong hands:
//! so only the tree that the writer writes is let through, whose depth is fixed.

type Kind = [u8; 4];

/// Boxes that have boxes in them: kind, bytes before the first, kinds that may follow.
const TREE: [(Kind, usize, &[Kind]); 11] = [
    (*b"moov", 0, &[*b"mvhd", *b"trak", *b"mvex"]),
    (*b"mvex", 0, &[*b"mehd", *b"trex"]),
    (*b"trak", 0, &[*b"tkhd", *b"mdia"]),
    (*b"mdia", 0, &[*b"mdhd", *b"hdlr", *b"minf"]),
    (*b"minf", 0, &[*b"vmhd", *b"dinf", *b"stbl"]),
    (*b"dinf", 0, &[*b"dref"]),
    (*b"stbl", 0, &[*b"stsd", *b"stts", *b"stsc", *b"stsz", *b"stco"]),
    (*b"stsd", 8, &[*b"avc1"]),
    (*b"avc1", 78, &[*b"avcC"]),
    (*b"moof", 0, &[*b"mfhd", *b"traf"]),
    (*b"traf", 0, &[*b"tfhd", *b"tfdt", *b"trun"]),
];

/// Tables of samples, which a fragmented file leaves empty: kind and length of the body.
const EMPTY: [(Kind, usize); 4] = [(*b"stts", 8), (*b"stsc", 8), (*b"stsz", 12), (*b"stco", 8)];

/// The header of the box that `data` begins with: its kind and the length of the whole box.
/// `None` where there are fewer than 8 bytes. A length of 0 (to the end of the file) or 1 (64
/// bits) is returned as it stands: the writer writes neither.
pub(super) fn header(data: &[u8]) -> Option<(Kind, u32)> {
    let (len, rest) = data.split_first_chunk::<4>()?;
    let kind = rest.first_chunk::<4>()?;
    Some((*kind, u32::from_be_bytes(*len)))
}

/// Checks a box of this kind with this body, and all boxes within it.
///
/// The tree has no cycles, so this goes down as far as `TREE` does and no further.
pub(super) fn check(kind: Kind, body: &[u8]) -> Result<(), &'static str> {
    if let Some((_, len)) = EMPTY.iter().find(|(k, _)| *k == kind) {
        return if body.len() == *len && body.iter().all(|b| *b == 0) {
            Ok(())
        } else {
            Err("a table of samples that should be empty")
        };
    }
    let Some((_, skip, allowed)) = TREE.iter().find(|(k, _, _)| *k == kind) else {
        return Ok(());
    };
    let mut rest = body.get(*skip..).ok_or("a box is too short")?;
    while !rest.is_empty() {
        let (kind, len) = header(rest).ok_or("a box is cut off")?;
        if !allowed.contains(&kind) {
            return Err("a box that has no place here");
        }
        let whole = usize::try_from(len).ok().and_then(|len| rest.split_at_checked(len));
        let (this, after) = whole.ok_or("a box reaches over the end of the one around it")?;
        check(kind, this.get(8..).ok_or("a box is too short")?)?;
        rest = after;
    }
    Ok(())
}
