//! The part of TensorBoard's `Event` message that holds scalars, read by hand from its protocol buffer form.
//!
//! Sources: `tensorflow/core/util/event.proto`, `tensorflow/core/framework/{summary,tensor,types}.proto`.

/// A scalar of an event.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Scalar {
    pub(crate) tag: String,
    pub(crate) value: f64,
}

/// What an event says.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct Event {
    /// Seconds since 1970.
    pub(crate) wall_time: f64,
    pub(crate) step: i64,
    pub(crate) scalars: Vec<Scalar>,
    /// Tags that this event declares to be something else than scalars.
    pub(crate) other_kinds: Vec<String>,
}

/// One field of a message.
enum Field<'a> {
    Varint(u64),
    Fixed64(u64),
    Bytes(&'a [u8]),
    Fixed32(u32),
}

/// Reads an event; what is malformed ends it there, and what came before counts.
pub(crate) fn parse(message: &[u8]) -> Event {
    let mut event = Event::default();
    for (number, field) in Fields(message) {
        match (number, field) {
            (1, Field::Fixed64(bits)) => event.wall_time = f64::from_bits(bits),
            (2, Field::Varint(step)) => event.step = step as i64,
            (5, Field::Bytes(summary)) => {
                for (number, field) in Fields(summary) {
                    if let (1, Field::Bytes(value)) = (number, field) {
                        parse_value(value, &mut event);
                    }
                }
            }
            _ => {}
        }
    }
    event
}

fn parse_value(message: &[u8], event: &mut Event) {
    let (mut tag, mut value, mut plugin) = (String::new(), None, None);
    for (number, field) in Fields(message) {
        match (number, field) {
            (1, Field::Bytes(text)) => tag = String::from_utf8_lossy(text).into_owned(),
            (2, Field::Fixed32(bits)) => value = Some(f64::from(f32::from_bits(bits))),
            (8, Field::Bytes(tensor)) => value = parse_tensor(tensor),
            (9, Field::Bytes(metadata)) => plugin = plugin_name(metadata),
            _ => {}
        }
    }
    if plugin.as_deref().is_some_and(|name| name != "scalars") {
        event.other_kinds.push(tag);
    } else if let Some(value) = value {
        event.scalars.push(Scalar { tag, value });
    }
}

fn plugin_name(metadata: &[u8]) -> Option<String> {
    let plugin_data = bytes_field(metadata, 1)?;
    let name = bytes_field(plugin_data, 1)?;
    (!name.is_empty()).then(|| String::from_utf8_lossy(name).into_owned())
}

fn bytes_field(message: &[u8], wanted: u32) -> Option<&[u8]> {
    Fields(message).find_map(|(number, field)| match field {
        Field::Bytes(bytes) if number == wanted => Some(bytes),
        _ => None,
    })
}

/// The value of a tensor of one element; `None` for any other.
fn parse_tensor(message: &[u8]) -> Option<f64> {
    let (mut kind, mut content, mut listed) = (0, None, Vec::new());
    for (number, field) in Fields(message) {
        match (number, field) {
            (1, Field::Varint(dtype)) => kind = dtype,
            (2, Field::Bytes(shape)) if elements(shape) != 1 => return None,
            (4, Field::Bytes(bytes)) if !bytes.is_empty() => content = Some(bytes),
            (5 | 6 | 7 | 10 | 11 | 13 | 16 | 17, field) => listed.push((number, field)),
            _ => {}
        }
    }
    match (content, &listed[..]) {
        (Some(bytes), _) => from_content(kind, bytes),
        (None, [(number, field)]) => from_list(kind, *number, field),
        _ => None,
    }
}

fn elements(shape: &[u8]) -> u64 {
    Fields(shape).fold(1, |product, (number, field)| match field {
        Field::Bytes(dimension) if number == 2 => {
            let size = Fields(dimension).find_map(|(number, field)| match field {
                Field::Varint(size) if number == 1 => Some(size),
                _ => None,
            });
            product * size.unwrap_or(0).min(2)
        }
        _ => product,
    })
}

/// Numbers of `DataType` in `types.proto`.
fn from_content(kind: u64, bytes: &[u8]) -> Option<f64> {
    Some(match (kind, bytes) {
        (1, b) => f64::from(f32::from_le_bytes(b.try_into().ok()?)),
        (2, b) => f64::from_le_bytes(b.try_into().ok()?),
        (3, b) => f64::from(i32::from_le_bytes(b.try_into().ok()?)),
        (4 | 10, [b]) => f64::from(*b),
        (5, b) => f64::from(i16::from_le_bytes(b.try_into().ok()?)),
        (6, [b]) => f64::from(*b as i8),
        (9, b) => i64::from_le_bytes(b.try_into().ok()?) as f64,
        (14, b) => bfloat16(u16::from_le_bytes(b.try_into().ok()?)),
        (17, b) => f64::from(u16::from_le_bytes(b.try_into().ok()?)),
        (19, b) => half(u16::from_le_bytes(b.try_into().ok()?)),
        (22, b) => f64::from(u32::from_le_bytes(b.try_into().ok()?)),
        (23, b) => u64::from_le_bytes(b.try_into().ok()?) as f64,
        _ => return None,
    })
}

fn from_list(kind: u64, number: u32, field: &Field<'_>) -> Option<f64> {
    let varint = |field: &Field<'_>| match field {
        Field::Varint(value) => Some(*value),
        Field::Bytes(packed) => Varint::read(packed).and_then(|(value, rest)| rest.is_empty().then_some(value)),
        _ => None,
    };
    match (number, field) {
        (5, Field::Fixed32(bits)) => Some(f64::from(f32::from_bits(*bits))),
        (5, Field::Bytes(packed)) => Some(f64::from(f32::from_le_bytes((*packed).try_into().ok()?))),
        (6, Field::Fixed64(bits)) => Some(f64::from_bits(*bits)),
        (6, Field::Bytes(packed)) => Some(f64::from_le_bytes((*packed).try_into().ok()?)),
        (7, field) => Some(f64::from(varint(field)? as i32)),
        (10, field) => Some(varint(field)? as i64 as f64),
        (13, field) if kind == 14 => Some(bfloat16(varint(field)? as u16)),
        (13, field) => Some(half(varint(field)? as u16)),
        (11 | 16 | 17, field) => Some(varint(field)? as f64),
        _ => None,
    }
}

fn bfloat16(bits: u16) -> f64 {
    f64::from(f32::from_bits(u32::from(bits) << 16))
}

/// IEEE 754 half precision.
fn half(bits: u16) -> f64 {
    let sign = if bits >> 15 == 1 { -1.0 } else { 1.0 };
    let (exponent, fraction) = (i32::from(bits >> 10 & 31), f64::from(bits & 1023));
    sign * match exponent {
        0 => fraction * 2f64.powi(-24),
        31 if fraction == 0.0 => f64::INFINITY,
        31 => f64::NAN,
        _ => (1.0 + fraction / 1024.0) * 2f64.powi(exponent - 15),
    }
}

/// The fields of a message, up to its end or to what is malformed.
struct Fields<'a>(&'a [u8]);

impl<'a> Iterator for Fields<'a> {
    type Item = (u32, Field<'a>);

    fn next(&mut self) -> Option<Self::Item> {
        let (key, rest) = Varint::read(self.0)?;
        let (field, rest) = match key & 7 {
            0 => Varint::read(rest).map(|(value, rest)| (Field::Varint(value), rest))?,
            1 => rest.split_first_chunk().map(|(eight, rest)| (Field::Fixed64(u64::from_le_bytes(*eight)), rest))?,
            2 => {
                let (len, rest) = Varint::read(rest)?;
                rest.split_at_checked(usize::try_from(len).ok()?).map(|(bytes, rest)| (Field::Bytes(bytes), rest))?
            }
            5 => rest.split_first_chunk().map(|(four, rest)| (Field::Fixed32(u32::from_le_bytes(*four)), rest))?,
            _ => return None,
        };
        self.0 = rest;
        Some((u32::try_from(key >> 3).ok()?, field))
    }
}

struct Varint;

impl Varint {
    fn read(bytes: &[u8]) -> Option<(u64, &[u8])> {
        let mut value = 0u64;
        for (place, byte) in bytes.iter().take(10).enumerate() {
            value |= u64::from(byte & 127).checked_shl(7 * place as u32).unwrap_or(0);
            if byte & 128 == 0 {
                return Some((value, &bytes[place + 1..]));
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn hex(text: &str) -> Vec<u8> {
        (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap()).collect()
    }

    /// Value of the tag `t` in an event that TensorBoard 2.20 wrote for a tensor: what is between its tag and metadata.
    fn tensor(value: &str) -> Option<f64> {
        parse_tensor(&hex(value))
    }

    #[test]
    fn a_scalar_of_tensorboardx_is_read() {
        let event = parse(&hex("09c0a1118d5ec1da4110012a0f0a0d0a06782f6c6f7373150000003f"));
        assert_eq!((event.step, event.wall_time.floor()), (1, 1_795_521_076.0));
        assert_eq!(event.scalars, [Scalar { tag: "x/loss".to_owned(), value: 0.5 }]);
    }

    #[test]
    fn a_scalar_of_tensorflow_2_is_read() {
        let text = "0962b7108d5ec1da4110032a260a240a0776322f6c6f7373\
                    420a080112002a040000803e4a0d0a090a077363616c6172732001";
        // As above with field 5 (`float_val`); Keras writes field 4 (`tensor_content`).
        let content = text.replace("2a040000803e", "22040000803e");
        for text in [text, &content] {
            let event = parse(&hex(text));
            assert_eq!(event.scalars, [Scalar { tag: "v2/loss".to_owned(), value: 0.25 }]);
            assert_eq!((event.step, event.other_kinds.len()), (3, 0));
        }
    }

    #[test]
    fn tensors_of_one_number_are_read_whatever_their_type() {
        for (value, wanted) in [
            ("080112002a040000003f", 0.5),
            ("080212003208000000000000e03f", 0.5),
            ("080312003a0afdffffffffffffffff01", -3.0),
            ("08091200520afdffffffffffffffff01", -3.0),
            ("081312006a028070", 0.5),
            ("080412003a0107", 7.0),
            ("080a12005a0101", 1.0),
            ("080e12002202803f", 1.0),
            ("08132202007c", f64::INFINITY),
        ] {
            assert_eq!(tensor(value), Some(wanted), "{value}");
        }
        for value in ["080112041202080222080000803f00000040", "08071200420474657874", "0801", "08011200220100"] {
            assert_eq!(tensor(value), None, "{value}");
        }
    }

    #[test]
    fn histograms_images_and_texts_are_no_scalars() {
        let custom = parse(&hex("09000000000000f83f10feffffffffffffffff012a1d0a1b0a0174420a080112002a040000003f\
             4a0a0a080a06637573746f6d"));
        assert_eq!((custom.step, custom.scalars.len(), custom.other_kinds), (-2, 0, vec!["t".to_owned()]));
        let text =
            parse(&hex("092eb5118d5ec1da4110012a2a0a280a0e742f746578745f73756d6d617279420c080712041202080142026869\
             4a080a060a0474657874"));
        assert!(text.scalars.is_empty());
    }

    proptest! {
        #[test]
        fn no_bytes_make_the_reader_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _ = (parse(&bytes), parse_tensor(&bytes));
        }
    }
}
