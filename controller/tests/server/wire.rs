//! Messages as bytes: what the descriptors of the protocol say of them, and what could be sent in their place.

use bytes::{Buf, BufMut, Bytes};
use octavius_protocol::DESCRIPTORS;
use prost::{
    Message,
    encoding::{WireType, encode_key, encode_varint},
};
use prost_types::{
    DescriptorProto, FileDescriptorSet,
    field_descriptor_proto::{Label, Type},
};
use std::collections::BTreeMap;
use tonic::{
    Status,
    codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder},
};

/// Sends and receives messages as they are.
#[derive(Clone, Copy, Default)]
pub(crate) struct Raw;

impl Codec for Raw {
    type Encode = Bytes;
    type Decode = Bytes;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        Self
    }

    fn decoder(&mut self) -> Self {
        Self
    }
}

impl Encoder for Raw {
    type Item = Bytes;
    type Error = Status;

    fn encode(&mut self, message: Bytes, into: &mut EncodeBuf<'_>) -> Result<(), Status> {
        into.put(message);
        Ok(())
    }
}

impl Decoder for Raw {
    type Item = Bytes;
    type Error = Status;

    fn decode(&mut self, from: &mut DecodeBuf<'_>) -> Result<Option<Bytes>, Status> {
        Ok(Some(from.copy_to_bytes(from.remaining())))
    }
}

/// All messages of the protocol, and each call with the message that it takes.
pub(crate) struct Protocol {
    messages: BTreeMap<String, DescriptorProto>,
    /// The name of a request's message by `Service/Method`.
    pub(crate) requests: BTreeMap<String, String>,
}

/// A field that holds no message of ours, where it is in a request, and what it holds.
#[derive(Clone, Debug)]
pub(crate) struct Leaf {
    /// `definition.retry.pause`.
    pub(crate) name: String,
    numbers: Vec<u32>,
    kind: Kind,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Whole,
    Fraction,
    Choice,
    Text,
    Span,
    Point,
}

/// What is put into a field.
#[derive(Clone, Debug)]
pub(crate) struct Nonsense {
    /// A request with nothing but this.
    pub(crate) bytes: Vec<u8>,
    pub(crate) says: String,
    /// Nothing in the world could be meant by it: it has to be refused by the field's name.
    pub(crate) never: bool,
}

impl Protocol {
    pub(crate) fn read() -> Self {
        let set = FileDescriptorSet::decode(DESCRIPTORS).unwrap();
        let (mut messages, mut requests) = (BTreeMap::new(), BTreeMap::new());
        for file in set.file.into_iter().filter(|file| file.package() == "octavius.v1") {
            for message in file.message_type {
                let name = format!(".octavius.v1.{}", message.name());
                for nested in message.nested_type.clone() {
                    messages.insert(format!("{name}.{}", nested.name()), nested);
                }
                messages.insert(name, message);
            }
            for service in file.service {
                for method in &service.method {
                    let call = format!("{}/{}", service.name(), method.name());
                    requests.insert(call, method.input_type().to_owned());
                }
            }
        }
        Self { messages, requests }
    }

    /// All fields of a message, down to those that hold no message of ours.
    pub(crate) fn leaves(&self, message: &str) -> Vec<Leaf> {
        let mut leaves = Vec::new();
        for field in &self.messages[message].field {
            let number = u32::try_from(field.number()).unwrap();
            let leaf = |kind| Leaf { name: field.name().to_owned(), numbers: vec![number], kind };
            match (field.r#type(), field.type_name()) {
                (Type::Message, ".google.protobuf.Duration") => leaves.push(leaf(Kind::Span)),
                (Type::Message, ".google.protobuf.Timestamp") => leaves.push(leaf(Kind::Point)),
                (Type::Message, name) => {
                    for inner in self.leaves(name) {
                        let name = format!("{}.{}", field.name(), inner.name);
                        let numbers = [vec![number], inner.numbers].concat();
                        leaves.push(Leaf { name, numbers, ..inner });
                    }
                }
                (Type::String | Type::Bytes, _) => leaves.push(leaf(Kind::Text)),
                (Type::Double | Type::Float, _) => leaves.push(leaf(Kind::Fraction)),
                (Type::Enum, _) => leaves.push(leaf(Kind::Choice)),
                (Type::Uint32 | Type::Uint64 | Type::Int32 | Type::Int64 | Type::Bool, _) => {
                    leaves.push(leaf(Kind::Whole));
                }
                (other, _) => panic!("this test does not know what could be wrong with {other:?}"),
            }
            assert_ne!(field.label(), Label::Required);
        }
        leaves
    }
}

impl Leaf {
    /// What could be sent there: behind a right request it takes the place of what is right, or is one element more.
    pub(crate) fn nonsense(&self) -> Vec<Nonsense> {
        let made = |says: String, wire: WireType, value: Vec<u8>, never: bool| {
            let (last, outer) = self.numbers.split_last().unwrap();
            let mut bytes = Vec::new();
            encode_key(*last, wire, &mut bytes);
            bytes.extend(value);
            for number in outer.iter().rev() {
                let inner = std::mem::take(&mut bytes);
                encode_key(*number, WireType::LengthDelimited, &mut bytes);
                bytes.extend(sized(&inner));
            }
            Nonsense { bytes, says: format!("{} is {says}", self.name), never }
        };
        let time = |seconds: i64, nanos: i32, never: bool| {
            let value = prost_types::Duration { seconds, nanos }.encode_to_vec(); // a point in time is the same
            made(format!("{seconds} s {nanos} ns"), WireType::LengthDelimited, sized(&value), never)
        };
        let whole =
            |value: u64, never| made(value.to_string(), WireType::Varint, varint(value), never);
        match self.kind {
            Kind::Whole => [0, 1, u64::from(u32::MAX), i64::MAX as u64, u64::MAX]
                .map(|n| whole(n, false))
                .into(),
            Kind::Choice => [99, u64::MAX].map(|n| whole(n, true)).into(),
            Kind::Fraction => [f64::NAN, f64::INFINITY, -1.0, f64::MIN_POSITIVE]
                .map(|n| made(n.to_string(), WireType::SixtyFourBit, n.to_le_bytes().into(), false))
                .into(),
            Kind::Text => ["", "\0", "../../etc", "a\n\u{1b}[2J\r", &"é".repeat(150_000)]
                .map(|text| {
                    let says: String = text.chars().take(20).collect();
                    let value = sized(text.as_bytes());
                    made(format!("{says:?}"), WireType::LengthDelimited, value, false)
                })
                .into(),
            Kind::Span => vec![
                time(i64::MIN, i32::MIN, true),
                time(1, -1, true),
                time(0, i32::MAX, true),
                time(-1, 0, true),
                time(i64::MAX, 999_999_999, false),
            ],
            Kind::Point => vec![
                time(i64::MIN, i32::MIN, true),
                time(i64::MAX, 1, true),
                time(1, -1, true),
                time(1, i32::MAX, true),
            ],
        }
    }
}

fn varint(value: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    encode_varint(value, &mut bytes);
    bytes
}

/// `bytes` behind their number.
fn sized(bytes: &[u8]) -> Vec<u8> {
    [varint(bytes.len() as u64), bytes.to_vec()].concat()
}
