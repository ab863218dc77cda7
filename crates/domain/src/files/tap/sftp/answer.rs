//! What a target answers.

use super::{
    super::sentence,
    framing::{DATA, HANDLE_BYTES},
    wire::{Attributes, Reader},
};

/// An answer.
pub(super) enum Answer<'a> {
    Status(u32, &'a [u8]),
    Handle(&'a [u8]),
    /// So many bytes of content follow.
    Data(u32),
    Name(u32, Reader<'a>),
    Attributes(Option<u64>),
    Other,
}

impl<'a> Answer<'a> {
    /// The first bytes after the id belong to it; `content` follows where it is content. `None`
    /// where it is none.
    pub(super) fn read(kind: u8, mut reader: Reader<'a>, content: u32, version: u32) -> Option<Self> {
        Some(match kind {
            101 => Self::Status(reader.number()?, reader.string().unwrap_or_default()),
            102 => Self::Handle(reader.string().filter(|handle| handle.len() <= HANDLE_BYTES)?),
            DATA => Self::Data(content),
            104 => Self::Name(reader.number()?, reader),
            105 => Self::Attributes(Attributes::read(&mut reader, version)?.size),
            201 => Self::Other,
            _ => return None,
        })
    }

    /// What was asked for was done.
    pub(super) fn is_ok(&self) -> bool {
        matches!(self, Self::Status(0, _) | Self::Other)
    }

    /// It was not even tried, or failed.
    pub(super) fn is_refusal(&self) -> bool {
        matches!(self, Self::Status(code, _) if *code != 0)
    }

    /// End of file, or of a folder.
    pub(super) fn is_end(&self) -> bool {
        matches!(self, Self::Status(1, _))
    }

    /// Why it is not what was asked for.
    pub(super) fn error(&self) -> String {
        match self {
            Self::Status(code, text) => {
                let said = sentence(text);
                if said.is_empty() { format!("status {code}") } else { said }
            }
            Self::Handle(_) | Self::Data(_) | Self::Name(..) | Self::Attributes(_) | Self::Other => {
                "the target's answer does not fit".to_owned()
            }
        }
    }
}
